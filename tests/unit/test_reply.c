/* Upstream replies: those of Microsoft as recorded, and those of a hostile server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smtp/reply.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define LINES	      6

struct reply_case {
	const char *label, *lines[LINES];
	int code;
	const char *enhanced, *text, *formatted;
};

static const struct reply_case reply_cases[] = {
    {"a line", {"220 ready"}, 220, "", "ready", "220 ready"},
    {"an enhanced code", {"535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]"},
	535, "5.7.3", "Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]",
	"535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]"},
    {"several lines, each with its code", {"550-5.7.60 one", "550-5.7.60 two", "550 5.7.60 three"}, 550,
	"5.7.60", "one\ntwo\nthree", "550 5.7.60 one two three"},
    {"the last enhanced code counts", {"550-5.7.1 one", "550-5.7.139 two", "550 three"}, 550, "5.7.139",
	"one\ntwo\nthree", "550 5.7.139 one two three"},
    {"the longest enhanced code", {"550 5.999.999 x"}, 550, "5.999.999", "x", "550 5.999.999 x"},
    {"an enhanced code alone", {"250 2.0.0"}, 250, "2.0.0", "", "250 2.0.0"},
    {"an enhanced code of another class is text", {"450 5.7.1 x"}, 450, "", "5.7.1 x", "450 5.7.1 x"},
    {"a 3xx has none", {"354 3.0.0 x"}, 354, "", "3.0.0 x", "354 3.0.0 x"},
    {"too many digits are text", {"550 5.7.1390 x"}, 550, "", "5.7.1390 x", "550 5.7.1390 x"},
    {"an address is none", {"550 5.7.1.2 x"}, 550, "", "5.7.1.2 x", "550 5.7.1.2 x"},
    {"two numbers are none", {"550 5.7 x"}, 550, "", "5.7 x", "550 5.7 x"},
    {"an empty number is none", {"550 5..1 x"}, 550, "", "5..1 x", "550 5..1 x"},
    {"a code alone", {"250"}, 250, "", "", "250"},
    {"a code and a blank", {"334 "}, 334, "", "", "334"},
    {"a code alone behind a line", {"250-x", "250"}, 250, "", "x\n", "250 x "},
    {"empty lines", {"250-", "250-", "250 x"}, 250, "", "\n\nx", "250   x"},
    {"what is not printable is shown so", {"550 a\x1b[2J\tb\xc3\xa4\x7f\r"}, 550, "", "a?[2J?b????",
	"550 a?[2J?b????"},
    {"the lowest code", {"200 x"}, 200, "", "x", "200 x"},
    {"the highest code", {"599 x"}, 599, "", "x", "599 x"},
};

static void reads_replies(void **state)
{
	char formatted[REPLY_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < LENGTH(reply_cases); i++) {
		const struct reply_case *c = &reply_cases[i];
		struct reply reply = {0};
		unsigned n = 0;
		for (; n < LINES && c->lines[n] != NULL; n++) {
			bool last = n + 1 == LINES || c->lines[n + 1] == NULL;
			if (reply_feed(&reply, str_of(c->lines[n])) != (last ? REPLY_DONE : REPLY_MORE))
				fail_msg("%s: line %u", c->label, n);
		}
		if (reply.code != c->code || reply.lines != n || strcmp(reply.enhanced, c->enhanced) != 0)
			fail_msg("%s: %d \"%s\"", c->label, reply.code, reply.enhanced);
		if (strcmp(reply.text, c->text) != 0)
			fail_msg("%s: \"%s\"", c->label, reply.text);
		if (strcmp(reply_format(formatted, sizeof formatted, &reply), c->formatted) != 0)
			fail_msg("%s: \"%s\"", c->label, formatted);
	}
}

static const char *const garbage_cases[][3] = {
    {"an empty line", ""},
    {"two digits", "25"},
    {"no digits", "OK done"},
    {"a letter in the code", "2x0 a"},
    {"four digits", "2500 x"},
    {"a tab behind the code", "250\tx"},
    {"a plus behind the code", "250+x"},
    {"a code below 200", "199 x"},
    {"a code above 599", "600 x"},
    {"a blank before the code", " 250 x"},
    {"HTTP", "HTTP/1.1 400 Bad Request"},
    {"another code in the second line", "250-x", "251 y"},
    {"no code in the second line", "250-x", "y"},
    {"an LF inside a line", "250 x\n250 y"},
};

static void refuses_garbage(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(garbage_cases); i++) {
		struct reply reply = {0};
		enum reply_result result = reply_feed(&reply, str_of(garbage_cases[i][1]));
		if (garbage_cases[i][2] != NULL && result == REPLY_MORE)
			result = reply_feed(&reply, str_of(garbage_cases[i][2]));
		if (result != REPLY_GARBAGE)
			fail_msg("%s: result %d", garbage_cases[i][0], (int)result);
	}
}

static void bounds_the_length_of_a_line(void **state)
{
	static char line[REPLY_LINE_MAX + 1];
	struct reply reply = {0};

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "250-", 4);
	assert_int_equal(reply_feed(&reply, (struct str){line, REPLY_LINE_MAX}), REPLY_MORE);
	assert_int_equal(strlen(reply.text), REPLY_TEXT_MAX - 1);
	assert_int_equal(reply_feed(&reply, (struct str){line, REPLY_LINE_MAX}), REPLY_MORE);
	assert_int_equal(strlen(reply.text), REPLY_TEXT_MAX - 1);
	assert_int_equal(reply_feed(&reply, (struct str){line, REPLY_LINE_MAX + 1}), REPLY_GARBAGE);
}

static void bounds_the_number_of_lines(void **state)
{
	struct reply reply = {0};

	(void)state;
	for (int i = 0; i < REPLY_LINES_MAX; i++)
		assert_int_equal(reply_feed(&reply, str_of("250-x")), REPLY_MORE);
	assert_int_equal(reply_feed(&reply, str_of("250 x")), REPLY_GARBAGE);
}

static void a_nul_is_shown(void **state)
{
	struct reply reply = {0};

	(void)state;
	assert_int_equal(reply_feed(&reply, (struct str){"250 a\0b", 7}), REPLY_DONE);
	assert_string_equal(reply.text, "a?b");
}

static void format_cuts_and_stays_empty(void **state)
{
	struct reply reply = {0};
	char text[12];

	(void)state;
	assert_string_equal(reply_format(text, sizeof text, &reply), "");
	assert_int_equal(reply_feed(&reply, str_of("550 5.7.1 Relaying denied")), REPLY_DONE);
	assert_string_equal(reply_format(text, sizeof text, &reply), "550 5.7.1 R");
}

static void random_lines_stay_in_bounds(void **state)
{
	static const char bytes[] = "2505- .1\n\0\xff";
	static char line[40];
	char formatted[64];

	(void)state;
	srandom(2034);
	for (int round = 0; round < 100000; round++) {
		struct reply reply = {0};
		struct ehlo ehlo;
		size_t n = (size_t)random() % sizeof line;
		for (size_t i = 0; i < n; i++)
			line[i] = bytes[(size_t)random() % (sizeof bytes - 1)];
		memcpy(line, "250-5.1.", (size_t)random() % 9);
		if (reply_feed(&reply, (struct str){line, n}) == REPLY_GARBAGE)
			continue;
		assert_in_range(reply.code, 200, 599);
		assert_null(strpbrk(reply.text, "\n\xff"));
		reply_format(formatted, sizeof formatted, &reply);
		ehlo_parse(&reply, &ehlo);
	}
}

static void feed_all(struct reply *reply, const char *const *lines)
{
	*reply = (struct reply){0};
	for (; *lines != NULL; lines++)
		assert_int_equal(
		    reply_feed(reply, str_of(*lines)), lines[1] != NULL ? REPLY_MORE : REPLY_DONE);
}

static void reads_what_microsoft_offers(void **state)
{
	static const char *const lines[] = {"250-AM3PR05CA0094.outlook.office365.com Hello [192.0.2.1]",
	    "250-SIZE 157286400", "250-PIPELINING", "250-DSN", "250-ENHANCEDSTATUSCODES",
	    "250-AUTH LOGIN XOAUTH2", "250-8BITMIME", "250-BINARYMIME", "250-CHUNKING", "250 SMTPUTF8", NULL};
	struct reply reply;
	struct ehlo ehlo;

	(void)state;
	feed_all(&reply, lines);
	ehlo_parse(&reply, &ehlo);
	assert_true(
	    ehlo.pipelining && ehlo.dsn && ehlo.enhanced_status_codes && ehlo.eightbitmime && ehlo.chunking);
	assert_true(ehlo.smtputf8 && ehlo.auth_login && ehlo.auth_xoauth2 && ehlo.has_size);
	assert_false(ehlo.starttls || ehlo.auth_plain);
	assert_int_equal(ehlo.size, 157286400);
}

static void reads_other_forms(void **state)
{
	static const char *const lines[] = {"250-CHUNKING", "250-auth=plain  LOGIN", "250-size",
	    "250-StartTLS", "250-PIPELININGX", "250 X-DSN", NULL};
	static const char *const two_auth[] = {
	    "250-x", "250-AUTH=LOGIN", "250-AUTH XOAUTH2", "250 SIZE x", NULL};
	static const char *const alone[] = {"250 STARTTLS", NULL};
	struct reply reply;
	struct ehlo ehlo;

	(void)state;
	feed_all(&reply, lines);
	ehlo_parse(&reply, &ehlo);
	assert_false(ehlo.chunking);
	assert_true(ehlo.auth_plain && ehlo.auth_login && ehlo.starttls && ehlo.has_size);
	assert_false(ehlo.auth_xoauth2 || ehlo.pipelining || ehlo.dsn);
	assert_int_equal(ehlo.size, 0);

	feed_all(&reply, two_auth);
	ehlo_parse(&reply, &ehlo);
	assert_true(ehlo.auth_login && ehlo.auth_xoauth2 && ehlo.has_size);
	assert_int_equal(ehlo.size, 0);

	feed_all(&reply, alone);
	ehlo_parse(&reply, &ehlo);
	assert_false(ehlo.starttls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_replies),
	    cmocka_unit_test(refuses_garbage),
	    cmocka_unit_test(bounds_the_length_of_a_line),
	    cmocka_unit_test(bounds_the_number_of_lines),
	    cmocka_unit_test(a_nul_is_shown),
	    cmocka_unit_test(format_cuts_and_stays_empty),
	    cmocka_unit_test(random_lines_stay_in_bounds),
	    cmocka_unit_test(reads_what_microsoft_offers),
	    cmocka_unit_test(reads_other_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
