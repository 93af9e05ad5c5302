/* A private key and its certificate, wherever the config says that they are: files, what systemd hands over, or a key that
 * never leaves its hardware (an OpenSSL provider's URI, such as a TPM's "handle:0x81000001"). */
#ifndef MFDRELAY_NET_KEY_H
#define MFDRELAY_NET_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <openssl/types.h>
#include "base/err.h"
#include "base/str.h"

struct key_pair {
	X509 *certificate;	/* the first of the file */
	EVP_PKEY *key;
	OSSL_LIB_CTX *library;	/* what the key's provider is loaded into; NULL: OpenSSL's default */
	OSSL_PROVIDER *providers[2];	/* loaded into library */
	const char *query;	/* by which OpenSSL finds its algorithms there; static */
};

/* Whether source is a provider's URI: neither a path, nor file: or credential:. */
bool key_is_uri(const char *source);

/* The file behind a source that is no URI: "/absolute/path", "file:PATH" or "credential:NAME", into dst. Returns 0, or -1
 * with err. */
int key_path(char *dst, size_t size, const char *source, struct err *err);

/* Load both: certificate is the path of a PEM file, key a source as above. A key that others can read, that wants a passphrase
 * or that does not belong to the certificate is refused. "handle:" and "object:" (tpm2-openssl) and "pkcs11:" load their
 * provider; another scheme is one that openssl.cnf has a provider for. A provider is a library that is opened and may open a
 * device, so a process in the sandbox can't load a URI any more. May block as long as the hardware does. Returns 0, and the
 * caller frees with key_pair_free; or -1 with err. */
int key_pair_load(struct key_pair *out, const char *certificate, const char *key, struct err *err);

#define KEY_SIGNATURE_MAX 1024	/* octets: RSA of 8192 bits */

/* Sign text with SHA-256 and RSA: by PSS with a salt of 32 octets (PS256 of RFC 7518), or by PKCS #1 version 1.5 (RS256). The
 * signature is verified with the certificate before it is given out. Refused are keys that are not RSA or have less than 2048
 * bits: Microsoft's login host takes none of them. signature has room for KEY_SIGNATURE_MAX octets. Blocks as long as the key
 * takes: 0.4 ms for one of 2048 bits in a file, 5 ms for one of 4096, tenths of a second in a TPM. Returns 0 with *n, or -1 with
 * err. */
int key_pair_sign(const struct key_pair *pair, bool pss, struct str text, unsigned char *signature, size_t *n, struct err *err);

/* Empty after it; fine on an empty one. */
void key_pair_free(struct key_pair *pair);

#endif
