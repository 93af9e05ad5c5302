#include "sim_tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "text.h"

#define DAY 86400L

const char *const identity_names[] = {"good", "wrong-name", "expired", "untrusted", NULL};

static const char good_names[] =
    "DNS:smtp.office365.com,DNS:localhost,IP:127.0.0.1,DNS:login.microsoftonline.com,"
    "DNS:login.microsoftonline.us,DNS:login.partner.microsoftonline.cn,"
    "DNS:smtp.hve.mx.microsoft,DNS:smtp-hve.office365.com,DNS:smtp.azurecomm.net,"
    "DNS:*.mail.protection.outlook.com";

static EVP_PKEY *ca_key, *server_key;
static X509 *ca;
static SSL_CTX *contexts[IDENTITY_COUNT];

static void set_name(X509_NAME *name, const char *common_name)
{
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"m365sim", -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	if (!extension)
		abort();
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

/* issuer NULL: self-signed. names NULL: a CA. */
static X509 *make_certificate(const char *common_name, const char *names, EVP_PKEY *key, X509 *issuer,
    EVP_PKEY *issuer_key, long from, long until)
{
	X509 *certificate = X509_new();
	unsigned char serial[8];
	BIGNUM *number;

	if (!certificate)
		return NULL;
	text_random(serial, sizeof(serial));
	serial[0] &= 0x7f;
	number = BN_bin2bn(serial, sizeof(serial), NULL);
	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), until);
	X509_set_pubkey(certificate, key);
	set_name(X509_get_subject_name(certificate), common_name);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate));
	add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
	add_extension(certificate, issuer ? issuer : certificate, NID_authority_key_identifier, "keyid");
	add_extension(certificate, certificate, NID_basic_constraints,
	    names ? "critical,CA:FALSE" : "critical,CA:TRUE");
	add_extension(certificate, certificate, NID_key_usage,
	    names ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
	if (names) {
		add_extension(certificate, certificate, NID_ext_key_usage, "serverAuth");
		add_extension(certificate, certificate, NID_subject_alt_name, names);
	}
	if (X509_sign(certificate, issuer_key, EVP_sha256()))
		return certificate;
	X509_free(certificate);
	return NULL;
}

static FILE *open_private(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? NULL : fdopen(fd, "w");
}

static void write_ca(const char *cert_path, const char *key_path)
{
	char *draft = text_format("%s.tmp", cert_path);
	FILE *file = open_private(key_path);

	if (file) {
		PEM_write_PrivateKey(file, ca_key, NULL, NULL, 0, NULL, NULL);
		fclose(file);
	}
	file = fopen(draft, "w");
	if (file) {
		PEM_write_X509(file, ca);
		fclose(file);
		rename(draft, cert_path);
	}
	free(draft);
}

static void read_ca(const char *cert_path, const char *key_path)
{
	FILE *file = fopen(key_path, "r");

	if (file) {
		ca_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
		fclose(file);
	}
	file = ca_key ? fopen(cert_path, "r") : NULL;
	if (file) {
		ca = PEM_read_X509(file, NULL, NULL, NULL);
		fclose(file);
	}
}

static int make_ca(const char *dir)
{
	char *cert_path = text_format("%s/ca.pem", dir), *key_path = text_format("%s/ca-key.pem", dir);

	read_ca(cert_path, key_path);
	if (!ca) {
		EVP_PKEY_free(ca_key);
		ca_key = EVP_RSA_gen(2048);
		ca = ca_key
			 ? make_certificate("m365sim test CA", NULL, ca_key, NULL, ca_key, -DAY, 3650 * DAY)
			 : NULL;
		if (ca)
			write_ca(cert_path, key_path);
	}
	free(cert_path);
	free(key_path);
	return ca ? 0 : -1;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
    unsigned in_n, void *arg)
{
	static const unsigned char http[] = "\x08http/1.1";

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_n, http, sizeof(http) - 1, in,
		in_n) == OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_NOACK;
}

/* Takes certificate over. */
static SSL_CTX *make_context(X509 *certificate)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (!certificate || !context || SSL_CTX_use_certificate(context, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey(context, server_key) != 1) {
		SSL_CTX_free(context);
		context = NULL;
	} else {
		SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
		SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
		SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
	}
	X509_free(certificate);
	return context;
}

int sim_tls_init(const char *dir)
{
	const long year = 365 * DAY;
	int i;

	server_key = EVP_EC_gen("P-256");
	if (!server_key || make_ca(dir) < 0) {
		fprintf(stderr, "m365sim: can't make keys and certificates in %s\n", dir);
		return -1;
	}
	contexts[IDENTITY_GOOD] = make_context(
	    make_certificate("smtp.office365.com", good_names, server_key, ca, ca_key, -DAY, year));
	contexts[IDENTITY_WRONG_NAME] = make_context(
	    make_certificate("other.example", "DNS:other.example", server_key, ca, ca_key, -DAY, year));
	contexts[IDENTITY_EXPIRED] = make_context(
	    make_certificate("smtp.office365.com", good_names, server_key, ca, ca_key, -30 * DAY, -DAY));
	contexts[IDENTITY_UNTRUSTED] = make_context(
	    make_certificate("smtp.office365.com", good_names, server_key, NULL, server_key, -DAY, year));
	for (i = 0; i < IDENTITY_COUNT; i++)
		if (!contexts[i])
			return -1;
	return 0;
}

void sim_tls_free(void)
{
	int i;

	for (i = 0; i < IDENTITY_COUNT; i++)
		SSL_CTX_free(contexts[i]);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(server_key);
}

SSL *sim_tls_new(enum identity identity, const char *max_version)
{
	static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
	SSL *ssl = SSL_new(contexts[identity]);

	if (!ssl)
		abort();
	if (max_version && !strncmp(max_version, "1.", 2) && max_version[2] >= '0' && max_version[2] <= '3') {
		SSL_set_security_level(ssl, 0);
		SSL_set_min_proto_version(ssl, TLS1_VERSION);
		SSL_set_max_proto_version(ssl, versions[max_version[2] - '0']);
	}
	return ssl;
}

void sim_tls_signing_key(unsigned char *key)
{
	unsigned char *der = NULL;
	int n = i2d_PrivateKey(ca_key, &der);

	if (n <= 0 || EVP_Digest(der, (size_t)n, key, NULL, EVP_sha256(), NULL) != 1)
		abort();
	OPENSSL_free(der);
}
