#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/civil.h"
#include "base/mem.h"
#include "base/octets.h"
#include "net/key.h"

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

static void free_notes(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long number, void *extra)
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

int tls_no_passphrase(char *dst, int size, int writing, void *cookie)
{
	(void)dst;
	(void)size;
	(void)writing;
	(void)cookie;
	return -1;
}

/* key is a file, as net/key.h takes it. */
static int load_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key, struct err *err)
{
	char key_file[PATH_MAX];
	char what[400];

	if (key_path(key_file, sizeof key_file, key, err) < 0)
		return -1;
	if (access(certificate_file, R_OK) < 0)
		return err_sys(err, "%s: the certificate can't be read", certificate_file);
	if (access(key_file, R_OK) < 0)
		return err_sys(err, "%s: the private key can't be read", key_file);
	SSL_CTX_set_default_passwd_cb(ctx, tls_no_passphrase);
	snprintf(what, sizeof what,
	    "%.300s: not a usable certificate (PEM is needed, an RSA key of 2048 bits or more)",
	    certificate_file);
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

int tls_show_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key, struct err *err)
{
	return load_certificate(ctx, certificate_file, key, err);
}

static int on_client_hello(SSL *ssl, int *alert, void *arg);

/* The level comes before the certificate, as it decides which keys are taken. */
static SSL_CTX *server_context(int level, const char *certificate_file, const char *key, struct err *err)
{
	SSL_CTX *ctx = new_context(TLS_server_method(), err);

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_security_level(ctx, level);
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
	if (load_certificate(ctx, certificate_file, key, err) < 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

SSL_CTX *tls_server_context(const char *certificate_file, const char *key, struct err *err)
{
	return server_context(2, certificate_file, key, err);
}

int tls_add_certificate(SSL_CTX *ctx, const char *certificate_file, const char *key, struct err *err)
{
	return load_certificate(ctx, certificate_file, key, err);
}

/* devices.md 1.3, "legacy". */
SSL_CTX *tls_legacy_context(const char *certificate_file, const char *key_file, struct err *err)
{
	static const char suites[] = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:"
				     "!aNULL:!eNULL:!PSK:!SRP:!DSS:@SECLEVEL=0";
	SSL_CTX *ctx = server_context(0, certificate_file, key_file, err);

	if (ctx == NULL)
		return NULL;
	if (SSL_CTX_set_cipher_list(ctx, suites) != 1 ||
	    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION) != 1) {
		tls_error(err, "OpenSSL has nothing older than TLS 1.2");
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS);
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

/* --- the client's hello --- */

#define FALLBACK_SCSV	   0x5600
#define RENEGOTIATION_SCSV 0x00ff

static int hello_index = -1;

/* Values that browsers sprinkle in, to keep servers tolerant (RFC 8701). */
static bool is_grease(unsigned value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

static bool has_extension(SSL *ssl, unsigned type, const unsigned char **bytes, size_t *n)
{
	return SSL_client_hello_get0_ext(ssl, type, bytes, n) == 1;
}

static void note_version(struct tls_hello *hello, SSL *ssl)
{
	const unsigned char *bytes;
	size_t n;

	hello->version = (unsigned short)SSL_client_hello_get0_legacy_version(ssl);
	if (!has_extension(ssl, TLSEXT_TYPE_supported_versions, &bytes, &n))
		return;
	for (size_t i = 1; i + 1 < n; i += 2) {
		unsigned version = octets_16(bytes + i);
		if (!is_grease(version) && version > hello->version)
			hello->version = (unsigned short)version;
	}
}

/* Level 2 wants more than SHA-1 and MD5; a hello of TLS 1.2 without the list stands for SHA-1 (RFC 5246, 7.4.1.4.1). */
static void note_signatures(struct tls_hello *hello, SSL *ssl)
{
	const unsigned char *bytes;
	size_t n;

	if (!has_extension(ssl, TLSEXT_TYPE_signature_algorithms, &bytes, &n))
		return;
	for (size_t i = 2; i + 1 < n; i += 2)
		if (bytes[i] > 2)
			hello->signatures = true;
}

static void note_suite(struct tls_hello *hello, const SSL_CIPHER *cipher, bool has_groups)
{
	int exchange = SSL_CIPHER_get_kx_nid(cipher), proof = SSL_CIPHER_get_auth_nid(cipher);
	bool reachable = exchange == NID_kx_any || (exchange == NID_kx_ecdhe && has_groups);

	if (exchange == NID_kx_rsa || (reachable && proof != NID_auth_ecdsa))
		hello->rsa_suites = true;
	if (reachable && proof != NID_auth_rsa)
		hello->ecdsa_suites = true;
}

static void note_name(struct tls_hello *hello, const char *name)
{
	size_t used = strlen(hello->names);

	if (used + strlen(name) + 2 < sizeof hello->names)
		snprintf(hello->names + used, sizeof hello->names - used, "%s%s", used > 0 ? " " : "", name);
}

/* Those of SSLv2's form have three bytes, of which the first is 0 for the suites of TLS. */
static void note_suites(struct tls_hello *hello, SSL *ssl)
{
	const unsigned char *bytes, *groups;
	size_t group_bytes, n = SSL_client_hello_get0_ciphers(ssl, &bytes);
	size_t each = SSL_client_hello_isv2(ssl) ? 3 : 2;
	bool has_groups = has_extension(ssl, TLSEXT_TYPE_supported_groups, &groups, &group_bytes);

	for (size_t i = 0; i + each <= n; i += each) {
		const unsigned char *id = bytes + i + each - 2;
		unsigned suite = octets_16(id);
		char number[8];
		if (suite == FALLBACK_SCSV)
			hello->fallback = true;
		if (suite == FALLBACK_SCSV || suite == RENEGOTIATION_SCSV || is_grease(suite))
			continue;
		const SSL_CIPHER *cipher = each == 3 && bytes[i] != 0 ? NULL : SSL_CIPHER_find(ssl, id);
		/* Some that the library has are without a standard name (GOST). */
		const char *name = cipher != NULL ? SSL_CIPHER_standard_name(cipher) : NULL;
		hello->suites++;
		snprintf(number, sizeof number, "0x%04X", suite);
		note_name(hello, name != NULL ? name : number);
		if (cipher != NULL)
			note_suite(hello, cipher, has_groups);
	}
}

/* RFC 6066: list length, type 0, length, name. */
static void note_sni(struct tls_hello *hello, SSL *ssl)
{
	const unsigned char *bytes;
	size_t n;

	if (has_extension(ssl, TLSEXT_TYPE_server_name, &bytes, &n) && n > 5 && bytes[2] == 0)
		append(hello->sni, sizeof hello->sni, (const char *)bytes + 5, n - 5);
}

/* Only takes notes. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_hello *hello = hello_index >= 0 ? SSL_get_ex_data(ssl, hello_index) : NULL;

	(void)alert;
	(void)arg;
	if (hello == NULL || hello->seen)
		return SSL_CLIENT_HELLO_SUCCESS;
	hello->seen = true;
	note_version(hello, ssl);
	note_signatures(hello, ssl);
	note_suites(hello, ssl);
	note_sni(hello, ssl);
	return SSL_CLIENT_HELLO_SUCCESS;
}

SSL *tls_server_new(SSL_CTX *ctx, int min_version, struct err *err)
{
	struct tls_hello *hello = xcalloc(1, sizeof *hello);
	SSL *ssl;

	ERR_clear_error();
	if (hello_index < 0)
		hello_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_notes);
	ssl = SSL_new(ctx);
	if (ssl != NULL && SSL_set_ex_data(ssl, hello_index, hello) == 1) {
		if (min_version == 0 || SSL_set_min_proto_version(ssl, min_version) == 1)
			return ssl;
	} else {
		free(hello);
	}
	SSL_free(ssl);
	tls_error(err, "OpenSSL gave no TLS connection");
	return NULL;
}

const struct tls_hello *tls_client_hello(const SSL *ssl)
{
	static const struct tls_hello nothing = {.seen = false};
	const struct tls_hello *hello = hello_index >= 0 ? SSL_get_ex_data(ssl, hello_index) : NULL;

	return hello != NULL ? hello : &nothing;
}

/* --- bytes that were read before their time --- */

/* A filter over the socket. OpenSSL's own (BIO_f_buffer) reads ahead, and what lies there no loop knows of. */
struct unread {
	size_t n, at;
	unsigned char bytes[];
};

static int unread_read(BIO *bio, char *dst, int size)
{
	struct unread *unread = BIO_get_data(bio);
	size_t n = size > 0 ? (size_t)size : 0;
	int got;

	BIO_clear_retry_flags(bio);
	if (unread != NULL && unread->at < unread->n) {
		if (n > unread->n - unread->at)
			n = unread->n - unread->at;
		memcpy(dst, unread->bytes + unread->at, n);
		unread->at += n;
		return (int)n;
	}
	got = BIO_read(BIO_next(bio), dst, size);
	BIO_copy_next_retry(bio);
	return got;
}

static long unread_control(BIO *bio, int command, long number, void *pointer)
{
	return BIO_ctrl(BIO_next(bio), command, number, pointer);
}

static int unread_free(BIO *bio)
{
	free(BIO_get_data(bio));
	BIO_set_data(bio, NULL);
	return 1;
}

static BIO *unread_new(const void *bytes, size_t n)
{
	static BIO_METHOD *method;
	struct unread *unread;
	BIO *bio;

	if (method == NULL) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "unread");
		if (method == NULL || BIO_meth_set_read(method, unread_read) != 1 ||
		    BIO_meth_set_ctrl(method, unread_control) != 1 ||
		    BIO_meth_set_destroy(method, unread_free) != 1)
			return NULL;
	}
	bio = BIO_new(method);
	if (bio == NULL)
		return NULL;
	unread = xcalloc(1, sizeof *unread + n);
	unread->n = n;
	memcpy(unread->bytes, bytes, n);
	BIO_set_data(bio, unread);
	BIO_set_init(bio, 1);
	return bio;
}

bool tls_unread(SSL *ssl, int fd, const void *bytes, size_t n)
{
	BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = BIO_new_socket(fd, BIO_NOCLOSE);
	BIO *unread = unread_new(bytes, n);

	if (in == NULL || out == NULL || unread == NULL) {
		BIO_free(in);
		BIO_free(out);
		BIO_free(unread);
		return false;
	}
	SSL_set_bio(ssl, BIO_push(unread, in), out);
	return true;
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

static int64_t time_ms(const ASN1_TIME *time)
{
	struct tm parts;

	return ASN1_TIME_to_tm(time, &parts) == 1 ? civil_seconds(&parts) * 1000 : 0;
}

bool tls_describe_peer(const SSL *ssl, struct tls_peer *out)
{
	const X509 *certificate = SSL_is_init_finished(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;

	*out = (struct tls_peer){.names = ""};
	if (certificate == NULL)
		return false;
	list_names(out->names, sizeof out->names, certificate);
	print_name(out->issuer, sizeof out->issuer, X509_get_issuer_name(certificate));
	out->ends_ms = time_ms(X509_get0_notAfter(certificate));
	out->chain = (unsigned)sk_X509_num(SSL_get0_verified_chain(ssl));
	return true;
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
		verification_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_notes);
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
