/* TLS of a listener: its two contexts, and what is said of a handshake that fails. */
#ifndef MFDRELAY_LISTENER_HANDSHAKE_H
#define MFDRELAY_LISTENER_HANDSHAKE_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include "config/config.h"

struct conn;
struct tls_hello;

struct handshakes {
	SSL_CTX *modern;	/* TLS 1.2 and later; NULL: there is no certificate (yet) */
	SSL_CTX *legacy;	/* for whom the config lets in with less; NULL: for nobody, or there is no certificate (yet) */
};

/* Load the certificates that config names, or those that this relay has made in its spool. What cannot be loaded is logged,
 * and goes without: plain devices are served all the same. */
void handshakes_load(struct handshakes *handshakes, const struct config *config);
void handshakes_free(struct handshakes *handshakes);

/* The context for a peer whose oldest version is tls_min, or NULL. handshakes may be NULL. */
SSL_CTX *handshakes_context(const struct handshakes *handshakes, enum tls_min tls_min);

/* tls_min as OpenSSL has it. */
int handshake_min_version(enum tls_min tls_min);

/* In an error: the device had been greeted when its hello came, as plain devices are, and most that begin with TLS fail at that. */
#define HANDSHAKE_GREETED "our greeting came before its hello"

/* What an admin can do about a handshake that has failed with error, in dst; "" where nothing is known. tls_min is what the
 * device had to have, where says where in the config it could be let in with less. Returns dst. Pure. */
const char *handshake_remedy(char *dst, size_t size, const struct tls_hello *hello, enum tls_min tls_min, const char *error,
    const char *where);

/* Log that conn's handshake has failed, and why. withheld: how many such lines were kept back before it. */
void handshake_log_failed(const struct conn *conn, const char *peer, const struct device *device, enum tls_min tls_min,
    const char *why, uint64_t withheld);

#endif
