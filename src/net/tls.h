/* TLS contexts, and what a connection needs of OpenSSL. No function here or elsewhere can switch the verification
 * of a client off. */
#ifndef MFDRELAY_NET_TLS_H
#define MFDRELAY_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>
#include "base/err.h"

/* A context for connections to an upstream: TLS 1.2 or later, chain verified against ca_file (PEM; NULL: the
 * system's store), session tickets kept off, partial chains of the file trusted (a self-signed certificate listed
 * there is). Returns NULL with err. The caller frees with SSL_CTX_free. */
SSL_CTX *tls_client_context(const char *ca_file, struct err *err);

/* Have a client's context show a certificate (PEM, its chain behind it) to a server that asks for one; key is a file, as
 * net/key.h takes it. Returns 0, or -1 with err. */
int tls_show_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key, struct err *err);

/* A context for a listener, from PEM files (certificate with its chain; private key, as net/key.h takes it; they may be one):
 * TLS 1.2 or later, security level 2, RSA suites kept for devices without elliptic curves. Returns NULL with err. */
SSL_CTX *tls_server_context(const char *certificate_file, const char *key, struct err *err);

/* Load a second pair, with another kind of key. Returns 0, or -1 with err. */
int tls_add_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key, struct err *err);

/* A context for devices from before TLS 1.2: TLS 1.0 or later, security level 0. Whoever can change what is on the wire can
 * change what is said over it: it protects no more than plain text does, and is to have an RSA key that no other context
 * has. Returns NULL with err. */
SSL_CTX *tls_legacy_context(const char *certificate_file, const char *key_file, struct err *err);

/* What a client has said in its hello, for the log of a handshake that fails. */
struct tls_hello {
	bool seen;		/* one came whole; else the rest is zero */
	unsigned short version;	/* the latest that it offers: 0x0300 is SSL 3.0, 0x0301 TLS 1.0, ... 0x0304 TLS 1.3 */
	unsigned suites;	/* how many it offers; signalling values are not counted */
	bool rsa_suites;	/* among them one that this library has and a certificate with an RSA key can serve */
	bool ecdsa_suites;	/* likewise with an ECDSA key */
	bool fallback;		/* it says that a try with a later version has failed before */
	bool signatures;	/* it can check signatures that security level 2 allows; without any word of it, it cannot */
	char names[160];	/* some of the suites */
	char sni[64];		/* what it calls us; "": nothing */
};

/* A listener's SSL of ctx for one connection, which takes no version before min_version (TLS1_VERSION ...; 0: as ctx says).
 * Returns NULL with err. The caller frees with SSL_free. */
SSL *tls_server_new(SSL_CTX *ctx, int min_version, struct err *err);

/* What the client of ssl (of tls_server_new) has offered. Borrowed from ssl. */
const struct tls_hello *tls_client_hello(const SSL *ssl);

/* Give ssl, whose handshake has not begun, n bytes that were read from its socket before. Returns false when memory is
 * short. */
bool tls_unread(SSL *ssl, int fd, const void *bytes, size_t n);

/* A pem_password_cb that knows none. A daemon has nobody to ask: without it OpenSSL would prompt on the terminal. */
int tls_no_passphrase(char *dst, int size, int writing, void *cookie);

/* The oldest error of OpenSSL's queue as words into err->text after what; clears the queue. Returns -1. */
int tls_error(struct err *err, const char *what);

/* A client's SSL of ctx (any context: the verification is set here) for one connection to host, a DNS name (sent
 * as SNI) or an address, with or without brackets. The handshake fails unless chain and host are verified.
 * Returns NULL with err. The caller frees with SSL_free. */
SSL *tls_client_new(SSL_CTX *ctx, const char *host, struct err *err);

/* What a client has verified of the other side. */
struct tls_peer {
	char names[200];	/* those of its certificate, as a list */
	char issuer[100];	/* who has signed it (RFC 2253) */
	int64_t ends_ms;	/* wall clock: when it expires */
	unsigned chain;		/* certificates from it up to the one that is trusted */
};

/* Returns false where the handshake of ssl is not done. */
bool tls_describe_peer(const SSL *ssl, struct tls_peer *out);

/* What the verification of ssl (of tls_client_new) found wrong: "certificate of HOST ...", or NULL. Borrowed from
 * ssl. */
const char *tls_verify_failure(const SSL *ssl);

/* An error code of OpenSSL in plain words into dst. Returns dst. */
const char *tls_reason(char *dst, size_t size, unsigned long error);

#endif
