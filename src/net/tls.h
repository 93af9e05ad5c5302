/* TLS contexts, and what a connection needs of OpenSSL. No function here or elsewhere can switch the verification
 * of a client off. */
#ifndef MFDRELAY_NET_TLS_H
#define MFDRELAY_NET_TLS_H

#include <stddef.h>
#include <openssl/ssl.h>
#include "base/err.h"

/* A context for connections to an upstream: TLS 1.2 or later, chain verified against ca_file (PEM; NULL: the
 * system's store), session tickets kept off, partial chains of the file trusted (a self-signed certificate listed
 * there is). Returns NULL with err. The caller frees with SSL_CTX_free. */
SSL_CTX *tls_client_context(const char *ca_file, struct err *err);

/* A context for a listener, from PEM files (certificate with its chain, private key): TLS 1.2 or later, security
 * level 2, RSA suites kept for devices without elliptic curves. Returns NULL with err. */
SSL_CTX *tls_server_context(const char *certificate_file, const char *key_file, struct err *err);

/* The oldest error of OpenSSL's queue as words into err->text after what; clears the queue. Returns -1. */
int tls_error(struct err *err, const char *what);

/* A client's SSL of ctx (any context: the verification is set here) for one connection to host, a DNS name (sent
 * as SNI) or an address, with or without brackets. The handshake fails unless chain and host are verified.
 * Returns NULL with err. The caller frees with SSL_free. */
SSL *tls_client_new(SSL_CTX *ctx, const char *host, struct err *err);

/* What the verification of ssl (of tls_client_new) found wrong: "certificate of HOST ...", or NULL. Borrowed from
 * ssl. */
const char *tls_verify_failure(const SSL *ssl);

/* An error code of OpenSSL in plain words into dst. Returns dst. */
const char *tls_reason(char *dst, size_t size, unsigned long error);

#endif
