#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/rsa.h>

#include <cmocka.h>

#include "certs.h"
#include "net/tls.h"

static char dir[] = "/tmp/mfdrelay-tls-XXXXXX";
static char good_crt[64], good_key[64], other_key[64], locked_key[64], weak_crt[64], weak_key[64],
    garbage[64];

static const char *in_dir(char *dst, const char *name)
{
	snprintf(dst, 64, "%s/%s", dir, name);
	return dst;
}

static int make_files(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	struct cert good = cert_make(NULL, "relay.test", "DNS:relay.test", -CERT_DAY, CERT_DAY);
	struct cert other = cert_make(NULL, "other", NULL, -CERT_DAY, CERT_DAY);
	struct cert weak = cert_of_key(EVP_RSA_gen(1024), NULL, "weak", NULL, -CERT_DAY, CERT_DAY);
	cert_write(&good, in_dir(good_crt, "good.crt"), in_dir(good_key, "good.key"), NULL);
	cert_write(&other, NULL, in_dir(other_key, "other.key"), NULL);
	cert_write(&good, NULL, in_dir(locked_key, "locked.key"), "geheim");
	cert_write(&weak, in_dir(weak_crt, "weak.crt"), in_dir(weak_key, "weak.key"), NULL);
	FILE *file = fopen(in_dir(garbage, "garbage"), "w");
	fputs("-----BEGIN CERTIFICATE-----\nno base64 at all !\n-----END CERTIFICATE-----\n", file);
	fclose(file);
	cert_free(&good);
	cert_free(&other);
	cert_free(&weak);
	return 0;
}

static int remove_files(void **state)
{
	const char *files[] = {good_crt, good_key, other_key, locked_key, weak_crt, weak_key, garbage};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		unlink(files[i]);
	return rmdir(dir);
}

static void server_contexts(void **state)
{
	const struct {
		const char *label, *certificate, *key, *want; /* want NULL: accepted */
	} rows[] = {
	    {"a certificate and its key", good_crt, good_key, NULL},
	    {"no such certificate", "/nonexistent.crt", good_key,
		"/nonexistent.crt: the certificate can't be read: No such"},
	    {"no such key", good_crt, "/nonexistent.key",
		"/nonexistent.key: the private key can't be read: No such"},
	    {"garbage instead of a certificate", garbage, good_key,
		"garbage: not a usable certificate (PEM is needed, an RSA key of 2048 bits or more)"},
	    {"the key of another certificate", good_crt, other_key, "other.key: not a usable private key"},
	    {"a key with a passphrase is refused without asking", good_crt, locked_key,
		"PEM without a passphrase"},
	    {"a key too weak for security level 2", weak_crt, weak_key, "ee key too small"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct err err = {""};
		SSL_CTX *ctx = tls_server_context(rows[i].certificate, rows[i].key, &err);
		if (rows[i].want == NULL) {
			assert_non_null(ctx);
			assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
			assert_int_equal(SSL_CTX_get_security_level(ctx), 2);
		} else {
			assert_null(ctx);
			if (strstr(err.text, rows[i].want) == NULL)
				fail_msg("%s: %s", rows[i].label, err.text);
		}
		assert_int_equal(ERR_peek_error(), 0);
		SSL_CTX_free(ctx);
	}
}

/* The suites that devices without elliptic curves need (TLS_RSA_*). */
static void rsa_suites_are_kept(void **state)
{
	(void)state;
	SSL_CTX *ctx = tls_server_context(good_crt, good_key, NULL);
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
	int found = 0;

	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
		found += SSL_CIPHER_get_kx_nid(sk_SSL_CIPHER_value(ciphers, i)) == NID_kx_rsa;
	assert_true(found > 0);
	SSL_CTX_free(ctx);
}

static void the_legacy_context_is_for_old_devices_alone(void **state)
{
	struct err err = {""};

	(void)state;
	SSL_CTX *ctx = tls_legacy_context(weak_crt, weak_key, &err);
	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_VERSION);
	assert_int_equal(SSL_CTX_get_security_level(ctx), 0);
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
		assert_true(SSL_CIPHER_get_auth_nid(cipher) != NID_auth_null);
		assert_true(SSL_CIPHER_get_bits(cipher, NULL) >= 128);
	}
	SSL *ssl = tls_server_new(ctx, TLS1_1_VERSION, &err);
	assert_non_null(ssl);
	assert_int_equal(SSL_get_min_proto_version(ssl), TLS1_1_VERSION);
	assert_false(tls_client_hello(ssl)->seen);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

#define HELLO_HEAD 46 /* octets before the suites: record, message, version, random, session, their length */

static void put_16(unsigned char *at, size_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

/* A hello of TLS 1.2 with count suites from first on, and nothing else. Returns its length. */
static size_t make_hello(unsigned char *dst, unsigned first, size_t count)
{
	size_t n = HELLO_HEAD + 2 * count + 2;

	memset(dst, 0, n);
	dst[0] = 22;
	put_16(dst + 1, 0x0301);
	put_16(dst + 3, n - 5);
	dst[5] = 1;
	put_16(dst + 7, n - 9);
	put_16(dst + 9, 0x0303);
	put_16(dst + 44, 2 * count);
	for (size_t i = 0; i < count; i++)
		put_16(dst + HELLO_HEAD + 2 * i, first + i);
	dst[n - 2] = 1;
	return n;
}

/* Among them those that OpenSSL knows without a name. */
static void any_suite_can_be_offered(void **state)
{
	static unsigned char bytes[16384];
	const unsigned count = 4096;

	(void)state;
	SSL_CTX *ctx = tls_server_context(good_crt, good_key, NULL);
	for (unsigned first = 0; first < 65536; first += count) {
		SSL *ssl = tls_server_new(ctx, 0, NULL);
		BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
		BIO_write(in, bytes, (int)make_hello(bytes, first, count));
		SSL_set_bio(ssl, in, out);
		SSL_accept(ssl);
		assert_true(tls_client_hello(ssl)->seen);
		assert_int_equal(tls_client_hello(ssl)->version, TLS1_2_VERSION);
		assert_true(tls_client_hello(ssl)->suites <= count);
		ERR_clear_error();
		SSL_free(ssl);
	}
	SSL_CTX_free(ctx);
}

static void client_contexts(void **state)
{
	struct err err;

	(void)state;
	SSL_CTX *ctx = tls_client_context(good_crt, &err);
	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_PEER);
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
	SSL_CTX_free(ctx);
	ctx = tls_client_context(NULL, &err);
	assert_non_null(ctx);
	assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_PEER);
	SSL_CTX_free(ctx);
	assert_null(tls_client_context("/nonexistent.pem", &err));
	assert_non_null(strstr(err.text, "/nonexistent.pem: the CA file can't be read: No such file"));
	assert_null(tls_client_context(garbage, &err));
	assert_non_null(strstr(err.text, "holds no usable CA certificate"));
}

/* Even a context that verifies nothing gives a connection that does. */
static void a_connection_always_verifies(void **state)
{
	struct err err;
	char long_name[300];

	(void)state;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = tls_client_new(ctx, "smtp.test.", &err);
	assert_non_null(ssl);
	assert_int_equal(SSL_get_verify_mode(ssl), SSL_VERIFY_PEER);
	assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), "smtp.test");
	assert_null(tls_verify_failure(ssl));
	SSL_free(ssl);
	ssl = tls_client_new(ctx, "[::1]", &err);
	assert_non_null(ssl);
	assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	SSL_free(ssl);
	assert_null(tls_client_new(ctx, "", &err));
	assert_non_null(strstr(err.text, "certificate can't be verified"));
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	assert_null(tls_client_new(ctx, long_name, &err));
	SSL_CTX_free(ctx);
}

static void errors_in_words(void **state)
{
	struct err err;
	char text[256];

	(void)state;
	ERR_clear_error();
	ERR_raise(ERR_LIB_SSL, SSL_R_UNSUPPORTED_PROTOCOL);
	ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
	assert_int_equal(tls_error(&err, "handshake"), -1);
	assert_string_equal(
	    err.text, "handshake: the other side has no TLS 1.2 or later (unsupported protocol)");
	assert_int_equal(ERR_peek_error(), 0);
	assert_int_equal(tls_error(&err, "nothing queued"), -1);
	assert_string_equal(err.text, "nothing queued");
	assert_non_null(strstr(tls_reason(text, sizeof text, ERR_PACK(99, 0, 999)), "OpenSSL error"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(server_contexts),
	    cmocka_unit_test(rsa_suites_are_kept),
	    cmocka_unit_test(the_legacy_context_is_for_old_devices_alone),
	    cmocka_unit_test(any_suite_can_be_offered),
	    cmocka_unit_test(client_contexts),
	    cmocka_unit_test(a_connection_always_verifies),
	    cmocka_unit_test(errors_in_words),
	};
	return cmocka_run_group_tests(tests, make_files, remove_files);
}
