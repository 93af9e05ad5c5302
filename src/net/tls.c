#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/mem.h"

#define HOST_MAX  253 /* RFC 1035: the longest name */
#define NAMES_MAX 6   /* names of a certificate that are worth showing */

/* What the verification of one connection saw: hangs on its SSL and goes with it. */
struct verification {
	char host[HOST_MAX + 1];
	struct err failure; /* empty: nothing wrong */
};

/* OpenSSL's reasons are for programmers; these are the ones that admins meet. */
static const struct hint {
	int reason;
	const char *words;
} hints[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, "the other side has no TLS 1.2 or later"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the other side does not take our TLS versions (1.2 or later)"},
    {SSL_R_WRONG_VERSION_NUMBER, "the other side's answer is not TLS"},
    {SSL_R_HTTP_REQUEST, "the other side speaks HTTP, not TLS"},
    {SSL_R_NO_SHARED_CIPHER, "no cipher suite in common"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the other side's signature algorithms are too old"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the other side found nothing in common with us"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the other side does not trust the issuer of our certificate"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the other side does not accept our certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the other side does not accept our certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the other side says that our certificate has expired"},
};

static int verification_index = -1;

const char *tls_reason(char *dst, size_t size, unsigned long error)
{
	const char *reason = ERR_reason_error_string(error);
	const char *words = NULL;

	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
		if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == hints[i].reason)
			words = hints[i].words;
	}
	if (ERR_SYSTEM_ERROR(error))
		snprintf(dst, size, "%s", strerror(ERR_GET_REASON(error)));
	else if (words != NULL)
		snprintf(dst, size, "%s (%s)", words, reason != NULL ? reason : "");
	else if (reason != NULL)
		snprintf(dst, size, "%s", reason);
	else
		snprintf(dst, size, "OpenSSL error %lx", error);
	return dst;
}

int tls_error(struct err *err, const char *what)
{
	unsigned long error = ERR_get_error();
	char reason[256];

	if (error == 0)
		err_set(err, "%s", what);
	else
		err_set(err, "%s: %s", what, tls_reason(reason, sizeof reason, error));
	ERR_clear_error();
	return -1;
}

static void free_verification(
    void *parent, void *p, CRYPTO_EX_DATA *data, int index, long number, void *extra)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)number;
	(void)extra;
	free(p);
}

/* What both sides have in common: devices.md 1.3, "modern". */
static SSL_CTX *new_context(const SSL_METHOD *method, struct err *err)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(method);
	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		tls_error(err, "OpenSSL gave no TLS context");
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
				     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	return ctx;
}

static int load_ca_file(SSL_CTX *ctx, const char *ca_file, struct err *err)
{
	char what[300];

	snprintf(what, sizeof what, "%.200s: holds no usable CA certificate (PEM is needed)", ca_file);
	if (access(ca_file, R_OK) < 0)
		return err_sys(err, "%s: the CA file can't be read", ca_file);
	if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
		return tls_error(err, what);
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

SSL_CTX *tls_client_context(const char *ca_file, struct err *err)
{
	SSL_CTX *ctx = new_context(TLS_client_method(), err);
	int result;

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (ca_file != NULL)
		result = load_ca_file(ctx, ca_file, err);
	else if (SSL_CTX_set_default_verify_paths(ctx) == 1)
		result = 0;
	else
		result =
		    tls_error(err, "the system's CA certificates can't be read (package ca-certificates)");
	if (result < 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* A daemon has nobody to ask: without this OpenSSL would prompt on the terminal. */
static int no_passphrase(char *dst, int size, int writing, void *cookie)
{
	(void)dst;
	(void)size;
	(void)writing;
	(void)cookie;
	return -1;
}

static int load_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key_file, struct err *err)
{
	char what[400];

	if (access(certificate_file, R_OK) < 0)
		return err_sys(err, "%s: the certificate can't be read", certificate_file);
	if (access(key_file, R_OK) < 0)
		return err_sys(err, "%s: the private key can't be read", key_file);
	snprintf(what, sizeof what, "%.300s: not a usable certificate (PEM is needed)", certificate_file);
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate_file) != 1)
		return tls_error(err, what);
	snprintf(what, sizeof what,
	    "%.200s: not a usable private key (PEM without a passphrase, fitting the certificate, "
	    "is needed)",
	    key_file);
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return tls_error(err, what);
	return 0;
}

SSL_CTX *tls_server_context(const char *certificate_file, const char *key_file, struct err *err)
{
	SSL_CTX *ctx = new_context(TLS_server_method(), err);

	if (ctx == NULL)
		return NULL;
	/* Before the certificate is loaded: the level decides which keys are taken. */
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (load_certificate(ctx, certificate_file, key_file, err) < 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* Append to dst what fits of n bytes, which come from the other side and are not to be trusted. */
static void append(char *dst, size_t size, const char *bytes, size_t n)
{
	size_t used = strlen(dst);

	for (size_t i = 0; i < n && used + 1 < size; i++)
		dst[used++] = bytes[i] > ' ' && bytes[i] < 0x7f ? bytes[i] : '?';
	dst[used] = '\0';
}

static void append_address(char *dst, size_t size, const ASN1_OCTET_STRING *address)
{
	int n = ASN1_STRING_length(address);
	char text[INET6_ADDRSTRLEN] = "?";

	if (n == 4 || n == 16)
		inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof text);
	append(dst, size, text, strlen(text));
}

/* The names that certificate is for, as a list: its alternative names, or the common name where it has none.
 */
static void list_names(char *dst, size_t size, const X509 *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
	char common[256];

	dst[0] = '\0';
	for (int i = 0; i < count && i < NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (i > 0)
			strncat(dst, ", ", size - strlen(dst) - 1);
		if (name->type == GEN_DNS)
			append(dst, size, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
			    (size_t)ASN1_STRING_length(name->d.dNSName));
		else if (name->type == GEN_IPADD)
			append_address(dst, size, name->d.iPAddress);
		else
			append(dst, size, "?", 1);
	}
	if (count > NAMES_MAX)
		strncat(dst, ", ...", size - strlen(dst) - 1);
	if (count == 0 && X509_NAME_get_text_by_NID(
			      X509_get_subject_name(certificate), NID_commonName, common, sizeof common) > 0)
		append(dst, size, common, strlen(common));
	if (dst[0] == '\0')
		strncat(dst, "no name at all", size - 1);
	GENERAL_NAMES_free(names);
}

static void print_name(char *dst, size_t size, const X509_NAME *name)
{
	BIO *out = BIO_new(BIO_s_mem());
	int n = 0;

	if (out != NULL && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_read(out, dst, (int)size - 1);
	dst[n > 0 ? n : 0] = '\0';
	BIO_free(out);
}

static void describe(struct verification *verification, X509_STORE_CTX *store)
{
	int error = X509_STORE_CTX_get_error(store);
	const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	char names[200] = "", subject[100] = "", issuer[100] = "";

	if (certificate != NULL &&
	    (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
		list_names(names, sizeof names, certificate);
		err_set(&verification->failure, "certificate of %s is for another name: %s",
		    verification->host, names);
		return;
	}
	if (certificate != NULL) {
		print_name(subject, sizeof subject, X509_get_subject_name(certificate));
		print_name(issuer, sizeof issuer, X509_get_issuer_name(certificate));
	}
	err_set(&verification->failure, "certificate of %s: %s (subject %s; issuer %s)", verification->host,
	    X509_verify_cert_error_string(error), subject, issuer);
}

/* Only takes notes: what OpenSSL found stands. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct verification *verification = SSL_get_ex_data(ssl, verification_index);

	if (!ok && verification != NULL && verification->failure.text[0] == '\0')
		describe(verification, store);
	return ok;
}

static bool set_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
		return true;
	ERR_clear_error();
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* host without brackets or a final dot. false: it is no name, and an empty one would mean "any" to OpenSSL.
 */
static bool plain_host(char *dst, size_t size, const char *host)
{
	size_t n = strlen(host);

	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host++;
		n -= 2;
	} else if (n > 1 && host[n - 1] == '.') {
		n--;
	}
	if (n == 0 || n >= size)
		return false;
	memcpy(dst, host, n);
	dst[n] = '\0';
	return true;
}

SSL *tls_client_new(SSL_CTX *ctx, const char *host, struct err *err)
{
	struct verification *verification = xcalloc(1, sizeof *verification);
	SSL *ssl = NULL;

	ERR_clear_error();
	if (verification_index < 0)
		verification_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_verification);
	if (!plain_host(verification->host, sizeof verification->host, host)) {
		err_set(err, "certificate can't be verified: \"%.64s\" is not a host name", host);
	} else if ((ssl = SSL_new(ctx)) == NULL ||
		   SSL_set_ex_data(ssl, verification_index, verification) != 1) {
		tls_error(err, "OpenSSL gave no TLS connection");
	} else if (!set_host(ssl, verification->host)) {
		verification = NULL;
		tls_error(err, "certificate can't be verified: the host name is refused");
	} else {
		SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
		return ssl;
	}
	free(verification);
	SSL_free(ssl);
	return NULL;
}

const char *tls_verify_failure(const SSL *ssl)
{
	const struct verification *verification;

	if (verification_index < 0)
		return NULL;
	verification = SSL_get_ex_data(ssl, verification_index);
	return verification != NULL && verification->failure.text[0] != '\0' ? verification->failure.text
									     : NULL;
}
