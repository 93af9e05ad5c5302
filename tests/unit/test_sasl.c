/* SASL both ways: strict base64, exact bounds, what upstreams are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* decode() is static, and what it writes too much libcrypto writes, where no sanitizer looks. */
#include "../../src/smtp/sasl.c"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 section 4, bit by bit. */
static size_t slow_encode(const char *in, size_t n, char *out)
{
	size_t put = 0;

	for (size_t bit = 0; bit < 8 * n; bit += 6) {
		unsigned value = 0;
		for (size_t i = bit; i < bit + 6; i++)
			value = value << 1 |
				(i < 8 * n ? ((unsigned)(unsigned char)in[i / 8] >> (7 - i % 8)) & 1 : 0);
		out[put++] = alphabet[value];
	}
	while (put % 4 != 0)
		out[put++] = '=';
	return put;
}

static bool is_wiped(const void *bytes, size_t n)
{
	const char *p = bytes;

	for (size_t i = 0; i < n; i++)
		if (p[i] != '\0')
			return false;
	return true;
}

struct plain_case {
	const char *label, *message;
	size_t n;
	const char *user, *password; /* user NULL: refused */
};

#define CASE(label, message, user, password)                                                                 \
	{                                                                                                    \
		label, message, sizeof(message) - 1, user, password                                          \
	}

static const struct plain_case plain_cases[] = {
    CASE("user and password", "\0scan\0secret", "scan", "secret"),
    CASE("the user as authzid", "scan\0scan\0secret", "scan", "secret"),
    CASE("an empty password", "\0scan\0", "scan", ""),
    CASE("bytes above 127", "\0sc\xc3\xa4n\0p\xff", "sc\xc3\xa4n", "p\xff"),
    CASE("another authzid", "root\0scan\0secret", NULL, NULL),
    CASE("an authzid that only begins alike", "scan2\0scan\0secret", NULL, NULL),
    CASE("an empty user", "\0\0secret", NULL, NULL),
    CASE("nothing", "", NULL, NULL),
    CASE("no NUL", "scan", NULL, NULL),
    CASE("one NUL", "scan\0secret", NULL, NULL),
    CASE("three NULs", "\0scan\0secret\0", NULL, NULL),
    CASE("a NUL inside the password", "\0scan\0sec\0ret", NULL, NULL),
};

static void decodes_plain(void **state)
{
	struct sasl_login login;
	char line[64];

	(void)state;
	for (size_t i = 0; i < LENGTH(plain_cases); i++) {
		const struct plain_case *c = &plain_cases[i];
		size_t n = slow_encode(c->message, c->n, line);
		memset(&login, 'x', sizeof login);
		if (sasl_decode_plain((struct str){line, n}, &login) != (c->user != NULL))
			fail_msg("%s: %s", c->label, c->user != NULL ? "refused" : "taken");
		if (c->user == NULL && !is_wiped(&login, sizeof login))
			fail_msg("%s: not wiped", c->label);
		if (c->user != NULL &&
		    (strcmp(login.user, c->user) != 0 || strcmp(login.password, c->password) != 0))
			fail_msg("%s: \"%s\" \"%s\"", c->label, login.user, login.password);
	}
	assert_false(sasl_decode_plain(str_of("="), &login));
}

static const char *const bad_base64[][2] = {
    {"one byte", "A"},
    {"two bytes without padding", "AG"},
    {"a byte missing", "AGEAYgA"},
    {"padding missing", "AGEAYg"},
    {"padding alone", "===="},
    {"three paddings", "Y==="},
    {"padding inside", "AG=AYg=="},
    {"padding in an early group", "AA==AGEAYg=="},
    {"a group too much", "AGEAYg======"},
    {"a blank at the end", "AGEAYgA= "},
    {"blanks to a multiple of four", "AGEAYg==    "},
    {"blanks before", "    AGEAYg=="},
    {"a line break", "AGEA\r\n\r\nYg=="},
    {"a dash", "AGEA-g=="},
    {"an underscore", "AGEA_g=="},
    {"a byte above 127", "AGEA\xe4g=="},
    {"an asterisk", "*"},
    {"four bytes of none of it", "\t\t\t\t"},
};

static void reads_base64_strictly(void **state)
{
	struct sasl_login login;
	char text[16];

	(void)state;
	assert_true(sasl_decode_plain(str_of("AGEAYg=="), &login));
	for (size_t i = 0; i < LENGTH(bad_base64); i++) {
		memset(text, 'x', sizeof text);
		if (sasl_decode_plain(str_of(bad_base64[i][1]), &login))
			fail_msg("%s: taken as PLAIN", bad_base64[i][0]);
		if (sasl_decode_login(str_of(bad_base64[i][1]), text, sizeof text) || text[0] != '\0')
			fail_msg("%s: taken as LOGIN", bad_base64[i][0]);
	}
	assert_false(sasl_decode_plain((struct str){"AGEA\0g==", 8}, &login));
}

static void bounds_the_fields_of_plain(void **state)
{
	static char message[1200], line[1700];
	struct sasl_login login;

	(void)state;
	for (size_t user = 254; user <= 257; user++) {
		for (size_t password = 254; password <= 257; password++) {
			for (size_t authzid = 0; authzid <= user; authzid += user) {
				memset(message, 'a', sizeof message);
				message[authzid] = message[authzid + 1 + user] = '\0';
				size_t n = slow_encode(message, authzid + user + password + 2, line);
				bool want = user <= SASL_USER_MAX && password <= SASL_PASSWORD_MAX;
				assert_int_equal(sasl_decode_plain((struct str){line, n}, &login), want);
				assert_int_equal(strlen(login.user), want ? user : 0);
				assert_int_equal(strlen(login.password), want ? password : 0);
			}
		}
	}
}

/* Lengths around every bound, into a block of just that size: the sanitizer sees one byte too many. */
static void bounds_an_answer_of_login(void **state)
{
	char answer[300], line[400];

	(void)state;
	memset(answer, 'a', sizeof answer);
	for (size_t size = 1; size <= 256; size += size < 12 || size >= 250 ? 1 : 7) {
		char *dst = malloc(size);
		for (size_t n = size > 6 ? size - 6 : 0; n < size + 6; n++) {
			size_t length = slow_encode(answer, n, line);
			assert_int_equal(sasl_decode_login((struct str){line, length}, dst, size), n < size);
			assert_int_equal(strlen(dst), n < size ? n : 0);
		}
		free(dst);
	}
}

static void decodes_login(void **state)
{
	char text[SASL_USER_MAX + 1], nul[8];

	(void)state;
	assert_true(sasl_decode_login(str_of("c2Nhbg=="), text, sizeof text));
	assert_string_equal(text, "scan");
	assert_true(sasl_decode_login(str_of(""), text, sizeof text));
	assert_string_equal(text, "");
	size_t n = slow_encode("a\0b", 3, nul);
	assert_false(sasl_decode_login((struct str){nul, n}, text, sizeof text));
	assert_string_equal(text, "");
}

static void decodes_into_its_room_only(void **state)
{
	char dst[64], line[128], value[64];
	size_t decoded;

	(void)state;
	memset(value, 'a', sizeof value);
	for (size_t room = 0; room <= 33; room += 3) {
		for (size_t n = 0; n < 40; n++) {
			size_t length = slow_encode(value, n, line);
			memset(dst, '#', sizeof dst);
			assert_int_equal(decode((struct str){line, length}, dst, room, &decoded), n <= room);
			for (size_t i = room; i < sizeof dst; i++)
				assert_int_equal(dst[i], '#');
			if (n <= room)
				assert_int_equal(decoded, n);
		}
	}
}

static void refuses_lines_without_end(void **state)
{
	static char line[SASL_LINE_MAX * 4];
	struct sasl_login login;
	char text[256];

	(void)state;
	memset(line, 'A', sizeof line);
	for (size_t n = 1024; n <= sizeof line; n += 1024) {
		assert_false(sasl_decode_plain((struct str){line, n}, &login));
		assert_false(sasl_decode_login((struct str){line, n}, text, sizeof text));
		assert_true(
		    strlen(sasl_challenge_text(text, sizeof text, (struct str){line, n})) < sizeof text);
	}
}

static void random_base64_comes_back(void **state)
{
	char value[256], line[400], back[256];
	struct secret secret;

	(void)state;
	srandom(4648);
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)random() % (sizeof value - 1);
		for (size_t i = 0; i < n; i++)
			value[i] = (char)(1 + random() % 255);
		size_t length = slow_encode(value, n, line);
		sasl_base64(&secret, (struct str){value, n});
		assert_int_equal(secret.n, length);
		assert_memory_equal(secret.bytes, line, length);
		assert_int_equal(secret.bytes[length], '\0');
		assert_true(sasl_decode_login((struct str){secret.bytes, secret.n}, back, sizeof back));
		assert_int_equal(strlen(back), n);
		assert_memory_equal(back, value, n);
		secret_free(&secret);
	}
}

static void check_secret(struct secret *got, const char *want, size_t n)
{
	static char line[16384];
	size_t length = slow_encode(want, n, line);

	assert_int_equal(got->n, length);
	assert_memory_equal(got->bytes, line, length);
	assert_int_equal(got->bytes[length], '\0');
	secret_free(got);
}

static void makes_xoauth2(void **state)
{
	static const char want[] = "user=scanner@contoso.com\001auth=Bearer ey.J0\001\001";
	struct secret token, got;

	(void)state;
	secret_set(&token, str_of("ey.J0"));
	sasl_xoauth2(&got, "scanner@contoso.com", &token);
	check_secret(&got, want, sizeof want - 1);
	secret_free(&token);
}

/* The example of Microsoft's page on OAuth for SMTP. */
static void makes_xoauth2_as_published(void **state)
{
	struct secret token, got;

	(void)state;
	secret_set(&token, str_of("EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA"));
	sasl_xoauth2(&got, "test@contoso.onmicrosoft.com", &token);
	assert_string_equal(got.bytes, "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVy"
				       "IEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==");
	secret_free(&got);
	secret_free(&token);
}

static void makes_a_long_xoauth2(void **state)
{
	static char want[8192];
	struct secret token, got;
	size_t n = 0;

	(void)state;
	secret_set(&token, (struct str){memset(want, 't', 4001), 4001});
	sasl_xoauth2(&got, "a@b", &token);
	memcpy(want, "user=a@b\001auth=Bearer ", 21);
	memset(want + 21, 't', 4001);
	n = 21 + 4001;
	memcpy(want + n, "\001\001", 2);
	check_secret(&got, want, n + 2);
	secret_free(&token);
}

static void makes_plain(void **state)
{
	struct secret password, got;
	struct sasl_login login;

	(void)state;
	secret_set(&password, str_of("s3cret"));
	sasl_plain(&got, "scan", &password);
	assert_true(sasl_decode_plain((struct str){got.bytes, got.n}, &login));
	assert_string_equal(login.user, "scan");
	assert_string_equal(login.password, "s3cret");
	check_secret(&got, "\0scan\0s3cret", 12);
	secret_free(&password);
	sasl_login_wipe(&login);
	assert_true(is_wiped(&login, sizeof login));
}

static void shows_a_challenge(void **state)
{
	static const char json[] = "{\"status\":\"400\",\"schemes\":\"Bearer\"}";
	char line[128], text[64], little[8];
	size_t n = slow_encode(json, sizeof json - 1, line);

	(void)state;
	assert_string_equal(sasl_challenge_text(text, sizeof text, (struct str){line, n}), json);
	assert_string_equal(sasl_challenge_text(little, sizeof little, (struct str){line, n}), "{\"statu");
	n = slow_encode("a\r\nb\0c\xff", 7, line);
	assert_string_equal(sasl_challenge_text(text, sizeof text, (struct str){line, n}), "a??b?c?");
	assert_string_equal(sasl_challenge_text(text, sizeof text, str_of("")), "");
	assert_string_equal(sasl_challenge_text(text, sizeof text, str_of("not base64")), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(decodes_plain),
	    cmocka_unit_test(reads_base64_strictly),
	    cmocka_unit_test(bounds_the_fields_of_plain),
	    cmocka_unit_test(bounds_an_answer_of_login),
	    cmocka_unit_test(decodes_login),
	    cmocka_unit_test(decodes_into_its_room_only),
	    cmocka_unit_test(refuses_lines_without_end),
	    cmocka_unit_test(random_base64_comes_back),
	    cmocka_unit_test(makes_xoauth2),
	    cmocka_unit_test(makes_xoauth2_as_published),
	    cmocka_unit_test(makes_a_long_xoauth2),
	    cmocka_unit_test(makes_plain),
	    cmocka_unit_test(shows_a_challenge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
