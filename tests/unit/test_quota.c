/* The text of spool/quota: what is written is read again, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "spool/quota.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char sample[] = "mfdrelay-quota 1\n"
			     "written-ms: 1795459980123\n"
			     "windows: 2\n"
			     "window: mailbox scanner@contoso.com\n"
			     "minute: 0=3 60=1\n"
			     "hour: 0=4 1=8\n"
			     "day: 0=12 96=1000000000\n"
			     "window: upstream cloud\n"
			     "minute: \n"
			     "hour: \n"
			     "day: 3=1\n"
			     "end: 2\n";

static int parse(const char *text, size_t n, struct quota *out, struct err *err)
{
	/* Without anything behind it: a read too far is found. */
	char *exact = xcalloc(1, n + 1);

	memcpy(exact, text, n);
	exact = n > 0 ? xrealloc(exact, n) : exact;
	int result = quota_parse((struct str){exact, n}, out, err);
	free(exact);
	return result;
}

static void what_is_written_is_read_again(void **state)
{
	struct quota quota;
	struct err err = {""};
	size_t n;

	(void)state;
	assert_int_equal(parse(sample, sizeof sample - 1, &quota, &err), 0);
	assert_int_equal(quota.written_ms, 1795459980123);
	assert_int_equal(quota.count, 2);
	assert_string_equal(quota.windows[0].name, "mailbox scanner@contoso.com");
	assert_int_equal(quota.windows[0].usage.sent[QUOTA_MINUTE][60], 1);
	assert_int_equal(quota.windows[0].usage.sent[QUOTA_DAY][96], QUOTA_COUNT_MAX);
	assert_int_equal(quota.windows[1].usage.sent[QUOTA_DAY][3], 1);
	char *text = quota_format(&quota, &n);
	assert_int_equal(n, sizeof sample - 1);
	assert_memory_equal(text, sample, n);
	free(text);
	quota_free(&quota);
}

static void no_windows_are_a_file_too(void **state)
{
	struct quota empty = {.written_ms = -5}, out;
	struct err err = {""};
	size_t n;

	(void)state;
	char *text = quota_format(&empty, &n);
	assert_int_equal(parse(text, n, &out, &err), 0);
	assert_int_equal(out.count, 0);
	assert_int_equal(out.written_ms, 0);
	quota_free(&out);
	free(text);
}

static void a_full_window_fits_its_fields(void **state)
{
	struct quota_window window = {.name = xstrdup("upstream x")};
	struct quota quota = {.windows = &window, .count = 1}, out;
	struct err err = {""};
	size_t n;

	(void)state;
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
		for (unsigned age = 0; age < quota_shapes[span].buckets; age++)
			window.usage.sent[span][age] = UINT32_MAX;
	char *text = quota_format(&quota, &n);
	assert_int_equal(parse(text, n, &out, &err), 0);
	assert_int_equal(out.windows[0].usage.sent[QUOTA_DAY][50], QUOTA_COUNT_MAX);
	quota_free(&out);
	free(text);
	free(window.name);
}

static void every_cut_is_refused(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof sample - 1; n++) {
		struct quota quota;
		struct err err = {""};
		assert_int_equal(parse(sample, n, &quota, &err), -1);
		assert_int_equal(quota.count, 0);
		assert_string_not_equal(err.text, "");
	}
}

static void what_is_damaged_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *from, *to, *want;
	} cases[] = {
	    {"quota 1", "quota 2", "line 1: "},
	    {"written-ms: 1", "written-ms: -1", "line 2: "},
	    {"windows: 2", "windows: 3", "line 12: "},
	    {"windows: 2", "windows: 1", "line 8: "},
	    {"windows: 2", "windows: 9999", "line 3: more windows than the text holds"},
	    {"windows: 2", "windows: 99999", "line 3: "},
	    {"window: mailbox scanner@contoso.com", "window: ", "line 4: "},
	    {"0=3 60=1", "0=3 61=1", "line 5: not a list of AGE=COUNT"},
	    {"0=3 60=1", "60=1 0=3", "line 5: "},
	    {"0=3 60=1", "0=3 0=3", "line 5: "},
	    {"0=3 60=1", "0=3 60=0", "line 5: "},
	    {"0=3 60=1", "0=3 60=", "line 5: "},
	    {"0=3 60=1", "0=3 =1", "line 5: "},
	    {"0=3 60=1", "0=3 60", "line 5: "},
	    {"0=3 60=1", "0=3  60=1", "line 5: "},
	    {"0=3 60=1", "0=3 60=1 ", "line 5: "},
	    {"0=3 60=1", " 0=3", "line 5: "},
	    {"1000000000", "1000000001", "line 7: "},
	    {"end: 2", "end: 1", "line 12: the number at the end"},
	    {"end: 2\n", "end: 2\n\n", "line 12: more text follows"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *at = strstr(sample, cases[i].from);
		struct quota quota;
		struct err err = {""};

		assert_non_null(at);
		char *text = xasprintf(
		    "%.*s%s%s", (int)(at - sample), sample, cases[i].to, at + strlen(cases[i].from));
		assert_int_equal(parse(text, strlen(text), &quota, &err), -1);
		if (strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("%s for %s: %s", cases[i].to, cases[i].from, err.text);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_again),
	    cmocka_unit_test(no_windows_are_a_file_too),
	    cmocka_unit_test(a_full_window_fits_its_fields),
	    cmocka_unit_test(every_cut_is_refused),
	    cmocka_unit_test(what_is_damaged_is_refused_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
