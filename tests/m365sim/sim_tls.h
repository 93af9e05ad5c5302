/* The simulator's own CA and what it signs. The CA is kept in DIR (ca.pem, and ca-key.pem for the owner
 * alone), so that a restarted simulator is trusted by whoever trusted it before; certificates are made new
 * at each start. */
#ifndef M365SIM_SIM_TLS_H
#define M365SIM_SIM_TLS_H

#include <openssl/ssl.h>

enum identity {
	IDENTITY_GOOD,		/* localhost, 127.0.0.1, and the names of the real hosts */
	IDENTITY_WRONG_NAME,	/* by our CA, for other.example */
	IDENTITY_EXPIRED,	/* by our CA, until yesterday */
	IDENTITY_NOT_YET,	/* by our CA, from tomorrow */
	IDENTITY_UNTRUSTED,	/* right names, signed by itself */
	IDENTITY_UNKNOWN_CA,	/* right names, by a CA of which nobody knows */
	IDENTITY_NO_CHAIN,	/* right names, by a CA of our CA that is not sent along */
	IDENTITY_WEAK_KEY,	/* by our CA, RSA of 1024 bits */
	IDENTITY_WEAK_HASH,	/* by our CA, with SHA-1 */
	IDENTITY_COUNT
};

extern const char *const identity_names[];	/* "good", "wrong-name", ..., NULL */

/* Returns 0, or -1 with a reason on stderr. */
int sim_tls_init(const char *dir, const char *connector_ca);
void sim_tls_free(void);

/* A server's side of a connection. max_version: NULL, or "1.0" to "1.3". */
SSL *sim_tls_new(enum identity identity, const char *max_version);

/* Before the handshake: ask the client for a certificate, as an MX host does, without insisting on one. */
void sim_tls_ask_client(SSL *ssl);

/* The common name of the client's certificate, if with the chain it sent it leads to the CA of connector_ca; NULL: no such.
 * Borrowed from ssl. */
const char *sim_tls_client_name(SSL *ssl);

/* A key of this CA for signing tokens; the same after a restart. */
#define SIM_TLS_SIGNING_KEY 32
void sim_tls_signing_key(unsigned char *key);

#endif
