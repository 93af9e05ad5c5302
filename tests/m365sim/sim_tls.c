#include "sim_tls.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "text.h"

#define DAY 86400L

#define YEAR (365 * DAY)

const char *const identity_names[] = {"good", "wrong-name", "expired", "not-yet", "untrusted", "unknown-ca",
    "no-chain", "weak-key", "weak-hash", NULL};

static const char good_names[] =
    "DNS:smtp.office365.com,DNS:localhost,IP:127.0.0.1,DNS:login.microsoftonline.com,"
    "DNS:login.microsoftonline.us,DNS:login.partner.microsoftonline.cn,"
    "DNS:smtp.hve.mx.microsoft,DNS:smtp-hve.office365.com,DNS:smtp.azurecomm.net,"
    "DNS:*.mail.protection.outlook.com";

/* What a certificate says of itself; names NULL: a CA. */
struct recipe {
	const char *common_name, *names;
	long from, until;
	enum { BY_CA, BY_ITSELF, BY_STRANGER, BY_MIDDLE } signer;
	bool weak_key, weak_hash;
};

static const struct recipe authority = {"m365sim test CA", NULL, -DAY, 10 * YEAR, BY_ITSELF, false, false};
static const struct recipe stranger = {"a CA of nobody", NULL, -DAY, YEAR, BY_ITSELF, false, false};
static const struct recipe middle = {"m365sim issuing CA", NULL, -DAY, YEAR, BY_CA, false, false};
static const struct recipe identities[IDENTITY_COUNT] = {
    [IDENTITY_GOOD] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_CA, false, false},
    [IDENTITY_WRONG_NAME] = {"other.example", "DNS:other.example", -DAY, YEAR, BY_CA, false, false},
    [IDENTITY_EXPIRED] = {"smtp.office365.com", good_names, -30 * DAY, -DAY, BY_CA, false, false},
    [IDENTITY_NOT_YET] = {"smtp.office365.com", good_names, DAY, YEAR, BY_CA, false, false},
    [IDENTITY_UNTRUSTED] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_ITSELF, false, false},
    [IDENTITY_UNKNOWN_CA] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_STRANGER, false, false},
    [IDENTITY_NO_CHAIN] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_MIDDLE, false, false},
    [IDENTITY_WEAK_KEY] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_CA, true, false},
    [IDENTITY_WEAK_HASH] = {"smtp.office365.com", good_names, -DAY, YEAR, BY_CA, false, true},
};

static EVP_PKEY *ca_key, *server_key, *weak_key;
static X509 *ca;
static SSL_CTX *contexts[IDENTITY_COUNT];
static X509_STORE *clients; /* the connector's CA; NULL: none */

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

/* issuer NULL: self-signed. */
static X509 *make_certificate(const struct recipe *recipe, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *certificate = X509_new();
	const char *names = recipe->names;
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
	X509_gmtime_adj(X509_getm_notBefore(certificate), recipe->from);
	X509_gmtime_adj(X509_getm_notAfter(certificate), recipe->until);
	X509_set_pubkey(certificate, key);
	set_name(X509_get_subject_name(certificate), recipe->common_name);
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
	if (X509_sign(certificate, issuer_key, recipe->weak_hash ? EVP_sha1() : EVP_sha256()))
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
		ca_key = EVP_EC_gen("P-256");
		ca = ca_key ? make_certificate(&authority, ca_key, NULL, ca_key) : NULL;
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
static SSL_CTX *make_context(X509 *certificate, EVP_PKEY *key, bool weak)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	/* OpenSSL would not show such a thing to anybody. */
	if (context && weak)
		SSL_CTX_set_security_level(context, 0);
	if (!certificate || !context || SSL_CTX_use_certificate(context, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey(context, key) != 1) {
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

/* other: the stranger's or the middle's certificate, signed by the key that signs here. */
static SSL_CTX *make_identity(const struct recipe *recipe, X509 *other)
{
	EVP_PKEY *key = recipe->weak_key ? weak_key : server_key;
	X509 *issuer = recipe->signer == BY_CA ? ca : recipe->signer == BY_ITSELF ? NULL : other;
	EVP_PKEY *issuer_key = recipe->signer == BY_CA ? ca_key : server_key;

	return make_context(
	    make_certificate(recipe, key, issuer, issuer_key), key, recipe->weak_key || recipe->weak_hash);
}

int sim_tls_init(const char *dir, const char *connector_ca)
{
	X509 *strange, *between;
	int i;

	server_key = EVP_EC_gen("P-256");
	weak_key = EVP_RSA_gen(1024);
	if (!server_key || !weak_key || make_ca(dir) < 0) {
		fprintf(stderr, "m365sim: can't make keys and certificates in %s\n", dir);
		return -1;
	}
	if (connector_ca) {
		clients = X509_STORE_new();
		if (!clients || X509_STORE_load_file(clients, connector_ca) != 1) {
			fprintf(stderr, "m365sim: no CA certificate in %s\n", connector_ca);
			return -1;
		}
	}
	strange = make_certificate(&stranger, server_key, NULL, server_key);
	between = make_certificate(&middle, server_key, ca, ca_key);
	for (i = 0; i < IDENTITY_COUNT; i++)
		contexts[i] =
		    make_identity(&identities[i], identities[i].signer == BY_STRANGER ? strange : between);
	X509_free(strange);
	X509_free(between);
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
	X509_STORE_free(clients);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(server_key);
	EVP_PKEY_free(weak_key);
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

/* What it is worth is asked later. */
static int accept_any(int good, X509_STORE_CTX *context)
{
	(void)good;
	(void)context;
	return 1;
}

void sim_tls_ask_client(SSL *ssl)
{
	SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_any);
}

static bool leads_to_clients_ca(X509 *certificate, STACK_OF(X509) * chain)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	bool good = context && X509_STORE_CTX_init(context, clients, certificate, chain) == 1 &&
		    X509_verify_cert(context) == 1;

	X509_STORE_CTX_free(context);
	return good;
}

const char *sim_tls_client_name(SSL *ssl)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	int at;

	if (!clients || !certificate || !leads_to_clients_ca(certificate, SSL_get_peer_cert_chain(ssl)))
		return NULL;
	at = X509_NAME_get_index_by_NID(X509_get_subject_name(certificate), NID_commonName, -1);
	if (at < 0)
		return NULL;
	return (const char *)ASN1_STRING_get0_data(
	    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(certificate), at)));
}

void sim_tls_signing_key(unsigned char *key)
{
	unsigned char *der = NULL;
	int n = i2d_PrivateKey(ca_key, &der);

	if (n <= 0 || EVP_Digest(der, (size_t)n, key, NULL, EVP_sha256(), NULL) != 1)
		abort();
	OPENSSL_free(der);
}
