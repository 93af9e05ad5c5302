#include "net/key.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include "base/secret.h"
#include "net/tls.h"

#define KEY_MAX	     65536 /* octets; one of 16,384 bits has 13,000 in PEM form */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* beyond it a signature takes seconds */

/* Whose URI it is. */
static const struct provider {
	const char *scheme, *name, *query; /* query: its algorithms before all others */
} providers[] = {{"handle:", "tpm2", "?provider=tpm2"}, {"object:", "tpm2", "?provider=tpm2"},
    {"pkcs11:", "pkcs11", "?provider=pkcs11"}};

static bool starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool key_is_uri(const char *source)
{
	return source[0] != '/' && strchr(source, ':') != NULL && !starts(source, "file:") &&
	       !starts(source, "credential:");
}

int key_path(char *dst, size_t size, const char *source, struct err *err)
{
	if (source[0] != '/')
		return secret_path(dst, size, source, err);
	int n = snprintf(dst, size, "%s", source);
	return n >= 0 && (size_t)n < size ? 0 : err_set(err, "%.64s...: the path is too long", source);
}

/* --- the key in a file --- */

static int check_file(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > KEY_MAX)
		return err_set(err, "%s: not a plain file with a key; name a PEM file", path);
	if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		return err_set(err, "%s: others can read this key; run: chmod o= %s", path, path);
	return 0;
}

static EVP_PKEY *read_key(int fd, const char *path, struct err *err)
{
	FILE *file = fdopen(fd, "r");
	EVP_PKEY *key;
	char what[300];

	if (file == NULL) {
		err_sys(err, "%s", path);
		close(fd);
		return NULL;
	}
	key = PEM_read_PrivateKey(file, NULL, tls_no_passphrase, NULL);
	fclose(file);
	snprintf(what, sizeof what, "%.200s: no private key in PEM form without a passphrase", path);
	if (key == NULL)
		tls_error(err, what);
	return key;
}

static EVP_PKEY *load_file(const char *source, struct err *err)
{
	char path[4096];

	if (key_path(path, sizeof path, source, err) < 0)
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		err_sys(err, "%s: the private key can't be read by this user", path);
		return NULL;
	}
	if (check_file(fd, path, err) < 0) {
		close(fd);
		return NULL;
	}
	return read_key(fd, path, err);
}

/* --- the key of a provider --- */

static const struct provider *provider_of(const char *uri)
{
	for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
		if (starts(uri, providers[i].scheme))
			return &providers[i];
	return NULL;
}

/* A library of its own: in the default one it would also serve TLS its random numbers and digests. */
static int load_provider(struct key_pair *pair, const struct provider *provider, struct err *err)
{
	char what[300];

	pair->library = OSSL_LIB_CTX_new();
	snprintf(what, sizeof what,
	    "OpenSSL's provider \"%s\" can't be used; is it installed (tpm2: the package tpm2-openssl), and "
	    "may this user "
	    "open its device?",
	    provider->name);
	if (pair->library != NULL) {
		pair->providers[0] = OSSL_PROVIDER_load(pair->library, "default");
		pair->providers[1] = OSSL_PROVIDER_load(pair->library, provider->name);
	}
	return pair->providers[0] != NULL && pair->providers[1] != NULL ? 0 : tls_error(err, what);
}

static EVP_PKEY *load_uri(struct key_pair *pair, const char *uri, struct err *err)
{
	const struct provider *provider = provider_of(uri);
	EVP_PKEY *key = NULL;
	char what[300];

	if (provider != NULL && load_provider(pair, provider, err) < 0)
		return NULL;
	pair->query = provider != NULL ? provider->query : NULL;
	OSSL_STORE_CTX *store =
	    OSSL_STORE_open_ex(uri, pair->library, pair->query, UI_null(), NULL, NULL, NULL, NULL);
	while (store != NULL && key == NULL && !OSSL_STORE_eof(store)) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(store);
		if (info == NULL)
			break;
		if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
	}
	OSSL_STORE_close(store);
	snprintf(what, sizeof what, "%.160s: no private key is found there", uri);
	if (key == NULL)
		tls_error(err, what);
	return key;
}

/* --- both --- */

static X509 *load_certificate(const char *path, struct err *err)
{
	FILE *file = fopen(path, "re");
	X509 *certificate;
	char what[300];

	if (file == NULL) {
		err_sys(err, "%s: the certificate can't be read by this user", path);
		return NULL;
	}
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	snprintf(what, sizeof what, "%.200s: no certificate in PEM form", path);
	if (certificate == NULL)
		tls_error(err, what);
	return certificate;
}

/* Only a clear no counts: not every provider can compare. */
static bool is_other_key(const struct key_pair *pair)
{
	bool other = EVP_PKEY_eq(X509_get0_pubkey(pair->certificate), pair->key) == 0;

	ERR_clear_error();
	return other;
}

int key_pair_load(struct key_pair *out, const char *certificate, const char *key, struct err *err)
{
	*out = (struct key_pair){.key = NULL};
	ERR_clear_error();
	out->certificate = load_certificate(certificate, err);
	if (out->certificate != NULL)
		out->key = key_is_uri(key) ? load_uri(out, key, err) : load_file(key, err);
	ERR_clear_error();
	if (out->key != NULL && !is_other_key(out))
		return 0;
	if (out->key != NULL)
		err_set(err, "%.200s: this private key does not belong to the certificate %.200s", key,
		    certificate);
	key_pair_free(out);
	return -1;
}

/* --- signing --- */

static int check_rsa(const struct key_pair *pair, struct err *err)
{
	const EVP_PKEY *key = X509_get0_pubkey(pair->certificate);
	int bits = key != NULL ? EVP_PKEY_get_bits(key) : 0;

	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
		return err_set(err,
		    "the certificate's key is not RSA, and Microsoft's login host takes no other; make a new "
		    "pair: "
		    "openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=mfdrelay -keyout KEY -out "
		    "CERTIFICATE");
	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
		return err_set(
		    err, "the RSA key has %d bits; make one of %d to %d", bits, RSA_BITS_MIN, RSA_BITS_MAX);
	return 0;
}

/* RFC 7518 sections 3.3 and 3.5. */
static bool set_padding(EVP_PKEY_CTX *context, bool pss)
{
	if (!pss)
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0;
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static bool sign(const struct key_pair *pair, bool pss, struct str text, unsigned char *signature, size_t *n)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	bool good = context != NULL &&
		    EVP_DigestSignInit_ex(
			context, &key, "SHA256", pair->library, pair->query, pair->key, NULL) == 1 &&
		    set_padding(key, pss) &&
		    EVP_DigestSign(context, signature, n, (const unsigned char *)text.p, text.n) == 1;

	EVP_MD_CTX_free(context);
	return good;
}

static bool verify(
    const struct key_pair *pair, bool pss, struct str text, const unsigned char *signature, size_t n)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	bool good = context != NULL &&
		    EVP_DigestVerifyInit(
			context, &key, EVP_sha256(), NULL, X509_get0_pubkey(pair->certificate)) == 1 &&
		    set_padding(key, pss) &&
		    EVP_DigestVerify(context, signature, n, (const unsigned char *)text.p, text.n) == 1;

	EVP_MD_CTX_free(context);
	return good;
}

int key_pair_sign(const struct key_pair *pair, bool pss, struct str text, unsigned char *signature, size_t *n,
    struct err *err)
{
	*n = KEY_SIGNATURE_MAX;
	if (check_rsa(pair, err) < 0)
		return -1;
	ERR_clear_error();
	if (!sign(pair, pss, text, signature, n))
		return tls_error(err, "the private key did not sign");
	if (verify(pair, pss, text, signature, *n))
		return 0;
	ERR_clear_error();
	return err_set(err, "what the private key signs does not fit the certificate: it is another's key%s",
	    pss ? ", or its hardware has its own way with PS256 (try assertion_alg = \"RS256\")" : "");
}

void key_pair_free(struct key_pair *pair)
{
	X509_free(pair->certificate);
	EVP_PKEY_free(pair->key);
	/* OpenSSL 3.0 leaks those that its library context is freed with. */
	for (size_t i = 0; i < sizeof pair->providers / sizeof pair->providers[0]; i++)
		if (pair->providers[i] != NULL)
			OSSL_PROVIDER_unload(pair->providers[i]);
	OSSL_LIB_CTX_free(pair->library);
	*pair = (struct key_pair){.key = NULL};
}
