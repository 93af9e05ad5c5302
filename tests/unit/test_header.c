/* Lines, tokens, parameters and dates of a header; encoded words and charsets. What they are for: test_repair.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "smtp/header.h"
#include "smtp/words.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

static void assert_buf(struct buf *buf, const char *want)
{
	if (!str_eq(buf_str(buf), want))
		fail_msg("\"%.*s\" is not \"%s\"", (int)buf->n, buf->p, want);
	buf_free(buf);
}

static void tells_fields_from_other_lines(void **state)
{
	static const struct {
		const char *line;
		enum header_line kind;
		size_t name_n, value;
	} cases[] = {
	    {"", HEADER_EMPTY, 0, 0},
	    {" x: y", HEADER_FOLDED, 0, 0},
	    {"\t", HEADER_FOLDED, 0, 0},
	    {"Subject: x", HEADER_FIELD, 7, 8},
	    {"Subject:", HEADER_FIELD, 7, 8},
	    {"Subject \t:x", HEADER_FIELD, 7, 10},
	    {"X-a_b.c1:", HEADER_FIELD, 8, 9},
	    {"X-Foo/Bar(1)=[\"]!~: 1", HEADER_FIELD, 18, 19},
	    {"Subject", HEADER_OTHER, 0, 0},
	    {"Sub ject: x", HEADER_OTHER, 0, 0},
	    {": x", HEADER_OTHER, 0, 0},
	    {"12:30 door open", HEADER_OTHER, 0, 0},
	    {"http://mfd/", HEADER_OTHER, 0, 0},
	    {"S\xfc: x", HEADER_OTHER, 0, 0},
	    {"S\x7f: x", HEADER_OTHER, 0, 0},
	    {"--b:1", HEADER_OTHER, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t name_n = 0, value = 0;
		if (header_classify(str_of(cases[i].line), &name_n, &value) != cases[i].kind ||
		    name_n != cases[i].name_n || value != cases[i].value)
			fail_msg("\"%s\": %zu %zu", cases[i].line, name_n, value);
	}
}

static void reads_dates_strictly(void **state)
{
	static const struct {
		const char *text, *want; /* in UTC; NULL: none */
	} cases[] = {
	    {"Fri, 27 Nov 2026 14:29:00 +0100", "Fri, 27 Nov 2026 13:29:00 +0000"},
	    {"  27 nov 2026 00:29 -0930 (night)", "Fri, 27 Nov 2026 09:59:00 +0000"},
	    {"Mon, 1 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +0000"},
	    {"29 Feb 2024 23:59:60 EST", "Fri, 01 Mar 2024 05:00:00 +0000"},
	    {"Sun, 01 Mar 2026 00:00:00 +0000", "Sun, 01 Mar 2026 00:00:00 +0000"},
	    {"Thu, 1 Jan 1970 00:00:00 +0000", "Thu, 01 Jan 1970 00:00:00 +0000"},
	    {"27 Nov 26 14:29:00 +0100", NULL},
	    {"27 Nov 20266 14:29:00 +0100", NULL},
	    {"27 Nov 2026 14:29:00 +01", NULL},
	    {"27 Nov 2026 14:29:00 +01000", NULL},
	    {"27 Nov 2026 14:29:00 est", NULL},
	    {"27 Nov 2026 14:29:00 Z", NULL},
	    {"27 Nov 2026 14:29:00", NULL},
	    {"27 Nov 2026 24:29:00 +0100", NULL},
	    {"32 Nov 2026 14:29:00 +0100", NULL},
	    {"27 Nof 2026 14:29:00 +0100", NULL},
	    {"Fr 27 Nov 2026 14:29:00 +0100", NULL},
	    {"27 Nov 2026 14:29:00 +0100 x", NULL},
	    {"2026-11-27 14:29:00 +0100", NULL},
	    {"", NULL},
	};
	char text[40];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int64_t ms = 0;
		bool is_date = header_date(str_of(cases[i].text), &ms);
		if (is_date != (cases[i].want != NULL) ||
		    (is_date && strcmp(clock_rfc5322(text, sizeof text, ms), cases[i].want) != 0))
			fail_msg("\"%s\": %s", cases[i].text, is_date ? text : "none");
	}
}

static void every_day_is_read_as_it_is_written(void **state)
{
	char text[40];
	int64_t got;

	(void)state;
	for (int64_t day = -400; day < 60000; day++) {
		int64_t ms = (day * 86400 + 4711) * 1000;
		assert_true(header_date(str_of(clock_rfc5322(text, sizeof text, ms)), &got));
		assert_true(got == ms);
	}
}

static void folds_and_unfolds(void **state)
{
	struct buf out = {0};
	char word[100];

	(void)state;
	header_unfold(&out, str_of("  a\r\n b\r\n\tc\r\nd \r\n"));
	assert_buf(&out, "a b\tc d");
	header_fold(&out, str_of("Subject"), str_of(""));
	assert_buf(&out, "Subject:\r\n");
	memset(word, 'w', 70);
	word[70] = '\0';
	struct buf value = {0}, again = {0};
	for (int i = 0; i < 4; i++) {
		buf_add_text(&value, i > 0 ? "  " : "");
		buf_add_text(&value, word);
	}
	header_fold(&out, str_of("X-A"), buf_str(&value));
	assert_int_equal(header_longest_line(buf_str(&out)), 75);
	header_unfold(&again, (struct str){out.p + 4, out.n - 4});
	assert_int_equal(again.n, value.n);
	assert_memory_equal(again.p, value.p, value.n);
	buf_free(&out);
	buf_free(&value);
	buf_free(&again);
}

static void reads_parameters_as_devices_write_them(void **state)
{
	static const struct {
		const char *value, *name, *want;
	} cases[] = {
	    {"text/plain; charset=utf-8", "charset", "utf-8"},
	    {"text/plain;CHARSET = \"utf-8\" ;x=y", "charset", "utf-8"},
	    {"a/b; boundary=----=_Part:1 ; x=y", "boundary", "----=_Part:1"},
	    {"a/b; x=\"; boundary=no\"; boundary=\"a\\\"b;c\"", "boundary", "a\"b;c"},
	    {"a/b; boundary=\"open", "boundary", "open"},
	    {"a/b; boundary; =x; boundary=y", "boundary", "y"},
	    {"a/b; boundary=one; boundary=two", "boundary", "one"},
	    {"a/b; boundary=", "boundary", ""},
	    {"boundary=x", "boundary", NULL},
	    {"a/b; boundary=0123456789012345678901234567890123456789", "boundary", NULL},
	};
	char out[40];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		bool found = header_param(str_of(cases[i].value), cases[i].name, out, sizeof out);
		if (found != (cases[i].want != NULL) || (found && strcmp(out, cases[i].want) != 0))
			fail_msg("\"%s\": %s", cases[i].value, found ? out : "none");
	}
}

static void takes_tokens_apart(void **state)
{
	struct str rest = str_of("\"a\\\"<\" <b@c>(x(y)z),d:\"open"), run;
	bool open = false;

	(void)state;
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_QUOTED);
	assert_true(str_eq(run, "\"a\\\"<\""));
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_TEXT);
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_ANGLE);
	assert_true(str_eq(run, "<b@c>"));
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_COMMENT);
	assert_true(str_eq(run, "(x(y)z)"));
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_SEPARATOR);
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_TEXT);
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_SEPARATOR);
	assert_false(open);
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_QUOTED);
	assert_true(open);
	assert_int_equal(header_next_run(&rest, &run, &open), RUN_END);
}

static void knows_utf8(void **state)
{
	static const char *const good[] = {
	    "", "a", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\xfc", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
	    "\xf4\x90\x80\x80", "\x80", "\xe2\x82", "\xf0\x80\x80\x80", "\xf5\x80\x80\x80"};

	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++)
		assert_true(words_is_utf8(str_of(good[i])));
	for (size_t i = 0; i < LENGTH(bad); i++)
		assert_false(words_is_utf8(str_of(bad[i])));
	assert_int_equal(words_cut(str_of("a\xc3\xbc"
					  "b"),
			     2),
	    3);
}

static void converts_what_devices_write(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_true(words_to_utf8(&out, "Windows-1252", str_of("a\x80\x81\xfc")));
	assert_buf(&out, "a\xe2\x82\xac\xef\xbf\xbd\xc3\xbc");
	assert_true(words_to_utf8(&out, "iso-8859-1", str_of("\x80")));
	assert_buf(&out, "\xe2\x82\xac");
	assert_true(words_to_utf8(&out, "iso-8859-15", str_of("\xa4\xa5\xbe")));
	assert_buf(&out, "\xe2\x82\xac\xc2\xa5\xc5\xb8");
	assert_false(words_to_utf8(&out, "koi8-r", str_of("\xa4")));
	assert_int_equal(out.n, 0);
	assert_string_equal(words_charset_alias("CP-850"), "ibm850");
	assert_null(words_charset_alias("koi8-r"));
}

static void encodes_words(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
	    {"plain text", "plain text"},
	    {"a \xc3\xbc b", "a =?utf-8?Q?=C3=BC?= b"},
	    {"x \xc3\xbc y z\xc3\xbc w", "x =?utf-8?Q?=C3=BC_y_z=C3=BC?= w"},
	    {"=?utf-8?Q?x?= \xc3\xbc", "=?utf-8?Q?x?= =?utf-8?Q?_=C3=BC?="},
	    {"\xc3\xbc =?utf-8?Q?x?=", "=?utf-8?Q?=C3=BC_?= =?utf-8?Q?x?="},
	    {"\xc3\xbc\xc3\xa4\xc3\xb6", "=?utf-8?B?w7zDpMO2?="},
	};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		words_encode(&out, str_of(cases[i].text));
		assert_buf(&out, cases[i].want);
	}
}

/* None over 75 octets (RFC 2047 section 2), each with both its ends. */
static void long_text_becomes_several_words(void **state)
{
	struct buf text = {0}, out = {0};

	(void)state;
	for (int i = 0; i < 300; i++)
		buf_add_text(&text, i % 40 > 20 ? "\xe2\x82\xac" : i % 2 == 0 ? "a" : "\xc3\xbc");
	words_encode_all(&out, buf_str(&text));
	struct str rest = buf_str(&out);
	while (rest.n > 0) {
		const char *end = memchr(rest.p, ' ', rest.n);
		struct str word = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
		assert_true(word.n <= 75 && words_is_encoded(word));
		rest = (struct str){word.p + word.n, rest.n - word.n};
		rest = str_trim(rest);
	}
	buf_free(&text);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_fields_from_other_lines),
	    cmocka_unit_test(reads_dates_strictly),
	    cmocka_unit_test(every_day_is_read_as_it_is_written),
	    cmocka_unit_test(folds_and_unfolds),
	    cmocka_unit_test(reads_parameters_as_devices_write_them),
	    cmocka_unit_test(takes_tokens_apart),
	    cmocka_unit_test(knows_utf8),
	    cmocka_unit_test(converts_what_devices_write),
	    cmocka_unit_test(encodes_words),
	    cmocka_unit_test(long_text_becomes_several_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
