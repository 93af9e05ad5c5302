/* The device code grant: its answers as Microsoft gives them and as it should not, and where refresh tokens are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "sender/device_answer.h"
#include "sender/refresh_store.h"
#include "sender/token_answer.h"

#define CODE(more)                                                                                           \
	"{\"user_code\":\"GTHK-QPMN\",\"device_code\":\"GMMhmHCXhWEzkobqIHGG_EnNYYsAkukHspeYUk9E8\"" more "}"
#define PAGE ",\"verification_uri\":\"https://microsoft.com/devicelogin\""

static const struct {
	const char *label;
	int status;
	const char *body;
	long interval_s, expires_s; /* 0: a failure */
	const char *cause;
} codes[] = {
    {"as Microsoft gives it", 200, CODE(PAGE ",\"expires_in\":900,\"interval\":5,\"message\":\"x\""), 5, 900,
	NULL},
    {"numbers as strings", 200, CODE(PAGE ",\"expires_in\":\"600\",\"interval\":\"7\""), 7, 600, NULL},
    {"without numbers", 200, CODE(PAGE), 5, 900, NULL},
    {"numbers that nobody would wait for", 200, CODE(PAGE ",\"expires_in\":86400,\"interval\":3600"), 60,
	3600, NULL},
    {"numbers that would hammer", 200, CODE(PAGE ",\"expires_in\":-1,\"interval\":0"), 5, 900, NULL},
    {"no page", 200, CODE(""), 0, 0, "login-answer-unusable"},
    {"a page that plays with the terminal", 200, CODE(",\"verification_uri\":\"https://x\\u001b[2J\""), 0, 0,
	"login-answer-unusable"},
    {"no code", 200, "{\"user_code\":\"A\"" PAGE "}", 0, 0, "login-answer-unusable"},
    {"a code of another type", 200, "{\"device_code\":5,\"user_code\":\"A\"" PAGE "}", 0, 0,
	"login-answer-unusable"},
    {"no JSON", 200, "<html>", 0, 0, "login-answer-unusable"},
    {"an unknown tenant", 400, "{\"error\":\"invalid_request\",\"error_codes\":[90002]}", 0, 0,
	"tenant-unknown"},
    {"a gateway's error", 502, "<html>", 0, 0, "login-host-silent"},
};

static void answers_with_a_code_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		struct device_code code;
		struct failure why;
		int result = device_read_code(codes[i].status, str_of(codes[i].body), &code, &why);

		if ((result == 0) != (codes[i].expires_s > 0))
			fail_msg("%s: %s", codes[i].label, result == 0 ? "taken" : why.text);
		if (result < 0) {
			if (strcmp(why.cause->name, codes[i].cause) != 0)
				fail_msg("%s: got %s", codes[i].label, why.cause->name);
			continue;
		}
		assert_string_equal(code.user_code, "GTHK-QPMN");
		assert_string_equal(code.url, "https://microsoft.com/devicelogin");
		assert_int_equal(code.interval_s, codes[i].interval_s);
		assert_int_equal(code.expires_s, codes[i].expires_s);
		secret_free(&code.code);
	}
}

static void polls_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(device_read_poll(str_of("{\"error\":\"authorization_pending\"}")), DEVICE_PENDING);
	assert_int_equal(device_read_poll(str_of("{\"error\":\"slow_down\"}")), DEVICE_SLOWER);
	assert_int_equal(device_read_poll(str_of("{\"error\":\"expired_token\"}")), DEVICE_FAILED);
	assert_int_equal(device_read_poll(str_of("{\"error\":{}}")), DEVICE_FAILED);
	assert_int_equal(device_read_poll(str_of("")), DEVICE_FAILED);
}

static void refresh_tokens_are_read(void **state)
{
	struct secret refresh;
	struct failure why;

	(void)state;
	assert_int_equal(token_read_refresh(str_of("{\"refresh_token\":\"0.AX.y\"}"), &refresh, &why), 0);
	assert_string_equal(refresh.bytes, "0.AX.y");
	secret_free(&refresh);
	assert_int_equal(token_read_refresh(str_of("{\"access_token\":\"eyJ\"}"), &refresh, &why), -1);
	assert_non_null(strstr(why.text, "offline_access"));
	assert_int_equal(token_read_refresh(str_of("{\"refresh_token\":\"a\\nb\"}"), &refresh, &why), -1);
	assert_null(refresh.bytes);
}

static char folder[] = "/tmp/test_device.XXXXXX";

static struct secret secret_of(const char *text)
{
	struct secret secret;

	secret_set(&secret, str_of(text));
	return secret;
}

static void expect_stored(const char *text)
{
	struct secret now;
	int64_t stored_s = 0;
	struct err err;

	assert_int_equal(refresh_read(&now, &stored_s, folder, "road", &err), 0);
	assert_string_equal(now.bytes, text);
	assert_in_range(stored_s, time(NULL) - 60, time(NULL) + 1);
	secret_free(&now);
}

static void a_newer_sign_in_is_not_written_over(void **state)
{
	struct secret one = secret_of("one"), two = secret_of("two"), three = secret_of("three"), now;
	struct err err = {""};
	char path[64];
	int64_t stored_s;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(refresh_check(folder, "road", &err), -1);
	assert_non_null(strstr(err.text, "the daemon has never run"));
	snprintf(path, sizeof path, "%s/var", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(refresh_check(folder, "road", &err), 0);
	assert_int_equal(refresh_read(&now, &stored_s, folder, "road", &err), -1);
	assert_non_null(strstr(err.text, "run: mfdrelay login road"));
	assert_int_equal(refresh_write(folder, "road", NULL, &one, &err), 0);
	expect_stored("one");
	assert_int_equal(refresh_write(folder, "road", &one, &two, &err), 0);
	expect_stored("two");
	assert_int_equal(
	    refresh_write(folder, "road", &one, &three, &err), 0); /* which used "one", and comes late */
	expect_stored("two");
	snprintf(path, sizeof path, "%s/var/sign-in.road", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(path);
	snprintf(path, sizeof path, "%s/var", folder);
	assert_int_equal(rmdir(path), 0); /* nothing else is left there */
	rmdir(folder);
	secret_free(&one);
	secret_free(&two);
	secret_free(&three);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_with_a_code_are_read),
	    cmocka_unit_test(polls_are_told_apart),
	    cmocka_unit_test(refresh_tokens_are_read),
	    cmocka_unit_test(a_newer_sign_in_is_not_written_over),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
