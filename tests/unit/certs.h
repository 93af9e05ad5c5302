/* Certificates made on the spot, for the tests that need TLS. */
#ifndef MFDRELAY_TESTS_CERTS_H
#define MFDRELAY_TESTS_CERTS_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define CERT_DAY 86400L

struct cert {
	EVP_PKEY *key;
	X509 *x509;
};

static inline void cert_extend(X509 *x509, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert(extension != NULL);
	X509_add_ext(x509, extension, -1);
	X509_EXTENSION_free(extension);
}

/* A certificate for key (owned by the result) that is good from now + from_s to now + to_s. issuer NULL: a CA, signed by
 * itself. san NULL: none. */
static inline struct cert cert_of_key(EVP_PKEY *key, const struct cert *issuer, const char *name, const char *san,
    long from_s, long to_s)
{
	static long serial = 1;
	struct cert cert = {key, X509_new()};
	X509 *issuer_x509 = issuer != NULL ? issuer->x509 : cert.x509;

	X509_set_version(cert.x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert.x509), from_s);
	X509_gmtime_adj(X509_getm_notAfter(cert.x509), to_s);
	X509_set_pubkey(cert.x509, cert.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.x509), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
	    -1, 0);
	X509_set_issuer_name(cert.x509, X509_get_subject_name(issuer_x509));
	if (issuer == NULL)
		cert_extend(cert.x509, cert.x509, NID_basic_constraints, "critical,CA:TRUE");
	if (san != NULL)
		cert_extend(cert.x509, issuer_x509, NID_subject_alt_name, san);
	int signature = X509_sign(cert.x509, issuer != NULL ? issuer->key : cert.key, EVP_sha256());
	assert(signature > 0);
	(void)signature;
	return cert;
}

static inline struct cert cert_make(const struct cert *issuer, const char *name, const char *san, long from_s, long to_s)
{
	return cert_of_key(EVP_EC_gen("P-256"), issuer, name, san, from_s, to_s);
}

static inline void cert_free(struct cert *cert)
{
	EVP_PKEY_free(cert->key);
	X509_free(cert->x509);
}

/* Write certificate and key as PEM files; either path may be NULL. passphrase NULL: none. */
static inline void cert_write(const struct cert *cert, const char *certificate_path, const char *key_path,
    const char *passphrase)
{
	FILE *file;

	if (certificate_path != NULL && (file = fopen(certificate_path, "w")) != NULL) {
		PEM_write_X509(file, cert->x509);
		fclose(file);
	}
	if (key_path != NULL && (file = fopen(key_path, "w")) != NULL) {
		PEM_write_PrivateKey(file, cert->key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
		    (const unsigned char *)passphrase, passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL);
		fclose(file);
	}
}

/* A server's context without any of the daemon's rules, for peers that behave badly. */
static inline SSL_CTX *cert_context(const struct cert *cert)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_use_certificate(ctx, cert->x509);
	SSL_CTX_use_PrivateKey(ctx, cert->key);
	return ctx;
}

#endif
