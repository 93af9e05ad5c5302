/* The client assertion: its parts, and its signature as any verifier would check it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/clock.h"
#include "base/mem.h"
#include "certs.h"
#include "net/key.h"
#include "sender/assertion.h"

#define URL    "https://login.test/contoso.com/oauth2/v2.0/token"
#define CLIENT "11111111-2222-3333-4444-555555555555"
#define NOW    1800000000

static char folder[] = "/tmp/test_assertion.XXXXXX";
static char *rsa_crt, *rsa_key, *other_key, *ec_crt, *ec_key, *small_crt, *small_key;

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void make_pair(EVP_PKEY *key, char **crt_path, char **key_path_, const char *name)
{
	struct cert cert = cert_of_key(key, NULL, "app", NULL, -CERT_DAY, CERT_DAY);
	char *crt_name = xasprintf("%s.crt", name), *key_name = xasprintf("%s.key", name);

	*crt_path = in_folder(crt_name);
	*key_path_ = in_folder(key_name);
	cert_write(&cert, *crt_path, *key_path_, NULL);
	assert_int_equal(chmod(*key_path_, 0600), 0);
	cert_free(&cert);
	free(crt_name);
	free(key_name);
}

static int set_up(void **state)
{
	char *unused;

	(void)state;
	assert_non_null(mkdtemp(folder));
	make_pair(EVP_RSA_gen(2048), &rsa_crt, &rsa_key, "rsa");
	make_pair(EVP_RSA_gen(2048), &unused, &other_key, "other");
	free(unused);
	make_pair(EVP_EC_gen("P-256"), &ec_crt, &ec_key, "ec");
	make_pair(EVP_RSA_gen(1024), &small_crt, &small_key, "small");
	return 0;
}

static int tear_down(void **state)
{
	char *command = xasprintf("rm -rf %s", folder);
	int result = system(command);

	(void)state;
	free(command);
	free(rsa_crt);
	free(rsa_key);
	free(other_key);
	free(ec_crt);
	free(ec_key);
	free(small_crt);
	free(small_key);
	return result;
}

static size_t decode(unsigned char *dst, const char *text, size_t n)
{
	char padded[4096];
	int got;
	size_t padding = (4 - n % 4) % 4;

	assert_true(n + padding < sizeof padded);
	for (size_t i = 0; i < n; i++)
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	memcpy(padded + n, "===", padding);
	got = EVP_DecodeBlock(dst, (unsigned char *)padded, (int)(n + padding));
	assert_true(got >= 0);
	return (size_t)got - padding;
}

static json_t *json_of(const char *text, size_t n)
{
	unsigned char bytes[4096];
	json_t *json = json_loadb((char *)bytes, decode(bytes, text, n), 0, NULL);

	assert_non_null(json);
	return json;
}

static const char *string_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static void check_thumbprint(const char *text, const X509 *certificate, const EVP_MD *digest)
{
	unsigned char want[EVP_MAX_MD_SIZE], got[EVP_MAX_MD_SIZE + 3];
	unsigned n;

	assert_int_equal(X509_digest(certificate, digest, want, &n), 1);
	assert_null(strpbrk(text, "+/="));
	assert_int_equal(decode(got, text, strlen(text)), n);
	assert_memory_equal(got, want, n);
}

/* By the public key alone, with the parameters of RFC 7518. */
static bool verifies(
    X509 *certificate, enum assertion_alg alg, const char *text, size_t n, const char *signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key;
	unsigned char bytes[1024];
	size_t length = decode(bytes, signature, strlen(signature));

	assert_int_equal(
	    EVP_DigestVerifyInit(context, &key, EVP_sha256(), NULL, X509_get0_pubkey(certificate)), 1);
	if (alg == ASSERTION_PS256) {
		EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_mgf1_md(key, EVP_sha256());
		EVP_PKEY_CTX_set_rsa_pss_saltlen(key, 32);
	}
	bool good = EVP_DigestVerify(context, bytes, length, (const unsigned char *)text, n) == 1;
	EVP_MD_CTX_free(context);
	return good;
}

static void check_claims(const json_t *claims)
{
	assert_string_equal(string_of(claims, "aud"), URL);
	assert_string_equal(string_of(claims, "iss"), CLIENT);
	assert_string_equal(string_of(claims, "sub"), CLIENT);
	assert_int_equal(strlen(string_of(claims, "jti")), 36);
	assert_int_equal(json_integer_value(json_object_get(claims, "nbf")), NOW);
	assert_int_equal(json_integer_value(json_object_get(claims, "iat")), NOW);
	assert_int_equal(json_integer_value(json_object_get(claims, "exp")), NOW + 600);
}

static void check_one(enum assertion_alg alg, const char *name, char *id, size_t size)
{
	struct key_pair pair;
	struct err err = {""};
	struct secret made;

	assert_int_equal(key_pair_load(&pair, rsa_crt, rsa_key, &err), 0);
	const struct assertion what = {&pair, alg, URL, CLIENT, NOW};
	assert_int_equal(assertion_make(&made, &what, &err), 0);
	const char *first = strchr(made.bytes, '.'), *second = strrchr(made.bytes, '.');
	assert_true(first != NULL && second > first &&
		    strspn(made.bytes, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
				       "stuvwxyz0123456789-_.") == made.n);
	json_t *header = json_of(made.bytes, (size_t)(first - made.bytes));
	json_t *claims = json_of(first + 1, (size_t)(second - first - 1));
	assert_string_equal(string_of(header, "alg"), name);
	assert_string_equal(string_of(header, "typ"), "JWT");
	check_thumbprint(string_of(header, "x5t#S256"), pair.certificate, EVP_sha256());
	check_thumbprint(string_of(header, "x5t"), pair.certificate, EVP_sha1());
	check_claims(claims);
	assert_true(verifies(pair.certificate, alg, made.bytes, (size_t)(second - made.bytes), second + 1));
	assert_false(verifies(pair.certificate, alg == ASSERTION_PS256 ? ASSERTION_RS256 : ASSERTION_PS256,
	    made.bytes, (size_t)(second - made.bytes), second + 1));
	snprintf(id, size, "%s", string_of(claims, "jti"));
	json_decref(header);
	json_decref(claims);
	secret_free(&made);
	key_pair_free(&pair);
}

static void an_assertion_holds_what_microsoft_asks_for_and_its_signature_verifies(void **state)
{
	char ids[3][40];

	(void)state;
	check_one(ASSERTION_PS256, "PS256", ids[0], sizeof ids[0]);
	check_one(ASSERTION_PS256, "PS256", ids[1], sizeof ids[1]);
	check_one(ASSERTION_RS256, "RS256", ids[2], sizeof ids[2]);
	assert_string_not_equal(ids[0], ids[1]); /* fresh each time */
}

static void expect_refusal(const char *crt, const char *key, const char *words)
{
	struct key_pair pair;
	struct err err = {""};
	unsigned char signature[KEY_SIGNATURE_MAX];
	size_t n;

	if (key_pair_load(&pair, crt, key, &err) == 0 &&
	    key_pair_sign(&pair, true, str_of("x"), signature, &n, &err) == 0)
		fail_msg("%s with %s is taken", crt, key);
	if (strstr(err.text, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, err.text);
	assert_null(pair.key != NULL ? NULL : pair.certificate); /* a failed load leaves nothing */
	key_pair_free(&pair);
}

static void pairs_that_cannot_prove_anything_are_refused_with_the_remedy(void **state)
{
	char *open_key = in_folder("open.key"), *locked = in_folder("locked.key"),
	     *folder_path = in_folder(".");
	struct cert cert = cert_make(NULL, "x", NULL, 0, CERT_DAY);

	(void)state;
	cert_write(&cert, NULL, open_key, NULL);
	cert_write(&cert, NULL, locked, "secret");
	assert_int_equal(chmod(open_key, 0604), 0);
	assert_int_equal(chmod(locked, 0600), 0);
	expect_refusal(rsa_crt, other_key, "does not belong to the certificate");
	expect_refusal(ec_crt, ec_key, "not RSA");
	expect_refusal(small_crt, small_key, "has 1024 bits");
	expect_refusal(rsa_crt, "/nowhere/key", "No such file");
	expect_refusal("/nowhere/crt", rsa_key, "No such file");
	expect_refusal(rsa_crt, rsa_crt, "others can read");
	expect_refusal(rsa_key, rsa_key, "no certificate in PEM form");
	expect_refusal(rsa_crt, open_key, "chmod o=");
	expect_refusal(rsa_crt, locked, "without a passphrase");
	expect_refusal(rsa_crt, folder_path, "not a plain file");
	expect_refusal(rsa_crt, "relative", "file:/absolute/path");
	expect_refusal(rsa_crt, "pkcs11:token=none", "provider \"pkcs11\" can't be used");
	expect_refusal(rsa_crt, "nothing:here", "no private key is found there");
	cert_free(&cert);
	free(open_key);
	free(locked);
	free(folder_path);
}

/* The key agrees with the certificate in name only: as a provider that can't compare might have it. */
static void a_signature_that_the_certificate_does_not_verify_goes_nowhere(void **state)
{
	struct key_pair pair;
	struct err err = {""};
	struct secret made;
	FILE *file = fopen(other_key, "r");

	(void)state;
	assert_int_equal(key_pair_load(&pair, rsa_crt, rsa_key, &err), 0);
	EVP_PKEY_free(pair.key);
	pair.key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	const struct assertion what = {&pair, ASSERTION_PS256, URL, CLIENT, NOW};
	assert_int_equal(assertion_make(&made, &what, &err), -1);
	assert_null(made.bytes);
	assert_non_null(strstr(err.text, "does not fit the certificate"));
	key_pair_free(&pair);
}

static void a_key_is_named_by_path_file_credential_or_uri(void **state)
{
	struct key_pair pair;
	struct err err = {""};
	char *file = xasprintf("file:%s", rsa_key);

	(void)state;
	assert_false(key_is_uri("/a:b"));
	assert_false(key_is_uri("file:/a"));
	assert_false(key_is_uri("credential:a"));
	assert_true(key_is_uri("handle:0x81000001"));
	assert_true(key_is_uri("pkcs11:token=a"));
	assert_int_equal(key_pair_load(&pair, rsa_crt, file, &err), 0);
	key_pair_free(&pair);
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	assert_int_equal(key_pair_load(&pair, rsa_crt, "credential:rsa.key", &err), 0);
	key_pair_free(&pair);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_assertion_holds_what_microsoft_asks_for_and_its_signature_verifies),
	    cmocka_unit_test(pairs_that_cannot_prove_anything_are_refused_with_the_remedy),
	    cmocka_unit_test(a_signature_that_the_certificate_does_not_verify_goes_nowhere),
	    cmocka_unit_test(a_key_is_named_by_path_file_credential_or_uri),
	};

	return cmocka_run_group_tests_name("assertion", tests, set_up, tear_down);
}
