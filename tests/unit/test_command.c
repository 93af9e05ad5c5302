/* Command lines as devices send them: the corpus of devices.md section 8.2, and what must not get through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smtp/command.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct split_case {
	const char *label, *in, *verb, *args;
};

static const struct split_case split_cases[] = {
    {"verb and arguments", "MAIL FROM:<a@b>", "MAIL", "FROM:<a@b>"},
    {"blanks around are dropped, inside kept", "  mail \t FROM: <a@b>  SIZE=3 ", "mail",
	"FROM: <a@b>  SIZE=3"},
    {"a tab parts like a blank", "HELO\tx", "HELO", "x"},
    {"a verb alone", "HELO ", "HELO", ""},
    {"several words", "helo a b c", "helo", "a b c"},
    {"an empty line", "", "", ""},
    {"blanks alone are an empty line", " \t ", "", ""},
    {"the CR of CRCRLF is dropped", "DATA\r", "DATA", ""},
    {"a CR inside is kept", "HELO a\rb", "HELO", "a\rb"},
};

static void splits_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(split_cases); i++) {
		const struct split_case *c = &split_cases[i];
		struct command got = command_split(str_of(c->in));
		if (!str_eq(got.verb, c->verb) || !str_eq(got.args, c->args))
			fail_msg("%s: \"%.*s\" and \"%.*s\"", c->label, (int)got.verb.n, got.verb.p,
			    (int)got.args.n, got.args.p);
	}
}

struct mail_case {
	const char *label, *in;
	enum args_result want;
	const char *sender;
	bool has_size;
	uint64_t size;
};

static const struct mail_case mail_cases[] = {
    {"as RFC 5321 writes it", "FROM:<a@b>", ARGS_OK, "a@b", false, 0},
    {"with a size", "FROM:<a@b> SIZE=4711", ARGS_OK, "a@b", true, 4711},
    {"the null path", "FROM:<>", ARGS_OK, "", false, 0},
    {"the null path with a size", "FROM:<> SIZE=0", ARGS_OK, "", true, 0},
    {"the null path with a blank", "from: < >", ARGS_OK, "", false, 0},
    {"an '@' alone is the null path (Lotus)", "FROM:<@>", ARGS_OK, "", false, 0},
    {"a blank behind the colon (Xerox)", "FROM: <a@b>", ARGS_OK, "a@b", false, 0},
    {"a blank before the colon", "FROM : <a@b>", ARGS_OK, "a@b", false, 0},
    {"lower case", "from:<a@b> size=5", ARGS_OK, "a@b", true, 5},
    {"no brackets (MegaRAID)", "FROM: a@b", ARGS_OK, "a@b", false, 0},
    {"no brackets, with a size", "FROM:HP4345ACC@brma.local  SIZE=12", ARGS_OK, "HP4345ACC@brma.local", true,
	12},
    {"no brackets, a parameter without value", "FROM:a@b SMTPUTF8", ARGS_OK, "a@b", false, 0},
    {"no brackets, a bracketed parameter", "FROM:a@b AUTH=<> SIZE=7", ARGS_OK, "a@b", true, 7},
    {"no brackets, an address in a parameter", "FROM:a@b AUTH=c@d", ARGS_OK, "a@b", false, 0},
    {"the closing bracket is missing", "FROM:<a@b", ARGS_OK, "a@b", false, 0},
    {"the opening bracket is missing", "FROM:a@b>", ARGS_OK, "a@b", false, 0},
    {"doubled brackets", "FROM:<<a@b>> SIZE=1", ARGS_OK, "a@b", true, 1},
    {"one bracket doubled", "FROM:<<a@b> AUTH=<> SIZE=1", ARGS_OK, "a@b", true, 1},
    {"a display name inside", "FROM:<User Name <a@b>>", ARGS_OK, "a@b", false, 0},
    {"a display name before", "FROM: Floor 2 <a@b> SIZE=2", ARGS_OK, "a@b", true, 2},
    {"a quoted display name with brackets", "FROM:\"x <c@d>\" <a@b>", ARGS_OK, "a@b", false, 0},
    {"an address as the display name", "FROM:p@d.com <p@d.com>", ARGS_OK, "p@d.com", false, 0},
    {"an address in parentheses", "FROM:<test user (a@b)>", ARGS_OK, "a@b", false, 0},
    {"a comment behind", "FROM:<a@b (Floor 2)>", ARGS_OK, "a@b", false, 0},
    {"a comment before", "FROM:<(Floor 2) a@b>", ARGS_OK, "a@b", false, 0},
    {"single quotes", "FROM:<'a@b'>", ARGS_OK, "a@b", false, 0},
    {"double quotes around all", "FROM:<\"a@b\">", ARGS_OK, "a@b", false, 0},
    {"quotes that hold no address are a local part", "FROM:<\"@\"> SIZE=1", ARGS_OK, "\"@\"", true, 1},
    {"that local part in quotes of its own", "FROM:<'\"a@\"'>", ARGS_OK, "\"a@\"", false, 0},
    {"a blank before the bracket", "FROM:<a@b >", ARGS_OK, "a@b", false, 0},
    {"a trailing dot", "FROM:<a@b.>", ARGS_OK, "a@b", false, 0},
    {"a local part that ends in a dot (HPE iLO)", "FROM:<a.@b>", ARGS_OK, "a.@b", false, 0},
    {"a junk prefix (IPMI)", "FROM:<=sm-ipmi@b>", ARGS_OK, "=sm-ipmi@b", false, 0},
    {"a name alone", "FROM:<root>", ARGS_OK, "root", false, 0},
    {"a name alone without brackets", "FROM:root SIZE=3", ARGS_OK, "root", true, 3},
    {"a domain left empty", "FROM:<printer@>", ARGS_OK, "printer", false, 0},
    {"an address literal", "FROM:<x@[10.0.0.5]>", ARGS_OK, "x@[10.0.0.5]", false, 0},
    {"a source route", "FROM:<@a,@b:c@d>", ARGS_OK, "c@d", false, 0},
    {"a quoted bracket", "FROM:<\"a>b\"@c> SIZE=9", ARGS_OK, "\"a>b\"@c", true, 9},
    {"what is not offered is ignored", "FROM:<a@b> BODY=8BITMIME RET=HDRS ENVID=x AUTH=<> SIZE=6", ARGS_OK,
	"a@b", true, 6},
    {"a size that is no number is ignored", "FROM:<a@b> SIZE=12x", ARGS_OK, "a@b", false, 0},
    {"an empty size is ignored", "FROM:<a@b> SIZE=", ARGS_OK, "a@b", false, 0},
    {"a negative size is ignored", "FROM:<a@b> SIZE=-1", ARGS_OK, "a@b", false, 0},
    {"the largest size", "FROM:<a@b> SIZE=18446744073709551615", ARGS_OK, "a@b", true, UINT64_MAX},
    {"a size beyond all numbers is ignored", "FROM:<a@b> SIZE=18446744073709551616", ARGS_OK, "a@b", false,
	0},
    {"a fax number looks like a parameter and is none", "FROM:FAX=+49@gw", ARGS_OK, "FAX=+49@gw", false, 0},
    {"no FROM", "<a@b>", ARGS_SYNTAX, NULL, false, 0},
    {"TO for FROM", "TO:<a@b>", ARGS_SYNTAX, NULL, false, 0},
    {"no colon", "FROM <a@b>", ARGS_SYNTAX, NULL, false, 0},
    {"nothing behind the colon", "FROM: ", ARGS_SYNTAX, NULL, false, 0},
    {"nothing at all", "", ARGS_SYNTAX, NULL, false, 0},
    {"two '@'", "FROM:<a@b@c>", ARGS_ADDRESS, NULL, false, 0},
    {"two addresses in brackets", "FROM:<a@b c@d>", ARGS_ADDRESS, NULL, false, 0},
    {"two addresses without brackets", "FROM:a@b c@d", ARGS_ADDRESS, NULL, false, 0},
    {"two paths", "FROM:<a@b><c@d>", ARGS_ADDRESS, NULL, false, 0},
    {"a list of senders", "FROM:<a@b,c@d>", ARGS_ADDRESS, NULL, false, 0},
    {"an address and one more as comment", "FROM:<a@b (c@d)>", ARGS_ADDRESS, NULL, false, 0},
    {"a name of two words", "FROM:<Front Office>", ARGS_ADDRESS, NULL, false, 0},
    {"a name of two words without brackets", "FROM:Front Office", ARGS_ADDRESS, NULL, false, 0},
    {"a blank in the local part is no display name", "FROM:<front office@b>", ARGS_ADDRESS, NULL, false, 0},
    {"a comment alone", "FROM:<(Floor 2)>", ARGS_ADDRESS, NULL, false, 0},
    {"brackets the wrong way round", "FROM:>a@b<", ARGS_ADDRESS, NULL, false, 0},
    {"quotes that do not end", "FROM:<\"a@b>", ARGS_ADDRESS, NULL, false, 0},
    {"a CR inside", "FROM:<a\r@b>", ARGS_ADDRESS, NULL, false, 0},
    {"a byte above 127", "FROM:<\xe4@b>", ARGS_NOT_ASCII, NULL, false, 0},
    {"a byte above 127 in the domain", "FROM:<a@b\xc3\xbc.de> SMTPUTF8", ARGS_NOT_ASCII, NULL, false, 0},
    {"bytes above 127 beside the address", "FROM:\"B\xc3\xbcro\" <a@b>", ARGS_OK, "a@b", false, 0},
    {"a percent asks for relaying", "FROM:<a%b@c>", ARGS_RELAYED, NULL, false, 0},
    {"a bang asks for relaying", "FROM:<b!a>", ARGS_RELAYED, NULL, false, 0},
};

static void reads_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(mail_cases); i++) {
		const struct mail_case *c = &mail_cases[i];
		struct mail_args got;
		enum args_result result = command_mail(str_of(c->in), &got);
		if (result != c->want)
			fail_msg("%s: result %d", c->label, (int)result);
		if (result != ARGS_OK)
			continue;
		if (strcmp(got.sender.text, c->sender) != 0)
			fail_msg("%s: \"%s\"", c->label, got.sender.text);
		if (got.has_size != c->has_size || (got.has_size && got.size != c->size))
			fail_msg("%s: size %d %llu", c->label, got.has_size, (unsigned long long)got.size);
	}
}

#define MAX 4

struct rcpt_case {
	const char *label, *in;
	enum args_result want;
	const char *rcpts[MAX];
};

static const struct rcpt_case rcpt_cases[] = {
    {"one", "TO:<a@b>", ARGS_OK, {"a@b"}},
    {"blanks, lower case, no brackets", "to : a@b", ARGS_OK, {"a@b"}},
    {"commas, each in brackets", "TO:<a@b>,<c@d>;", ARGS_OK, {"a@b", "c@d"}},
    {"commas inside the brackets", "TO:<a@b,c@d;e@f>", ARGS_OK, {"a@b", "c@d", "e@f"}},
    {"no brackets and blanks", "TO:a@b, c@d ; ", ARGS_OK, {"a@b", "c@d"}},
    {"empty items are skipped", "TO:<a@b>,,;<c@d>", ARGS_OK, {"a@b", "c@d"}},
    {"a separator inside the brackets at the end", "TO:<a@b;>", ARGS_OK, {"a@b"}},
    {"as many as fit", "TO:a@b,c@d,e@f,g@h", ARGS_OK, {"a@b", "c@d", "e@f", "g@h"}},
    {"a comma in quotes parts nothing", "TO:\"Doe, J\" <a@b>,<\"x;y\"@d>", ARGS_OK, {"a@b", "\"x;y\"@d"}},
    {"a source route is no list", "TO:<@x,@y:a@b>,<@z:c@d>", ARGS_OK, {"a@b", "c@d"}},
    {"parameters are ignored", "TO:<a@b> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;root", ARGS_OK, {"a@b"}},
    {"so they are behind a list", "TO:<a@b>, c@d NOTIFY=SUCCESS,FAILURE", ARGS_OK, {"a@b", "c@d"}},
    {"a fax number in a list is no parameter", "TO:a@b, FAX=+49@gw", ARGS_OK, {"a@b", "FAX=+49@gw"}},
    {"the same one twice stays twice", "TO:a@b,a@b", ARGS_OK, {"a@b", "a@b"}},
    {"one more than fit", "TO:a@b,c@d,e@f,g@h,i@j", ARGS_TOO_MANY, {NULL}},
    {"the one that needs no domain", "TO:<Postmaster>", ARGS_OK, {"Postmaster"}},
    {"a byte above 127", "TO:<a@b>,<\xe4@b>", ARGS_NOT_ASCII, {NULL}},
    {"the empty path", "TO:<>", ARGS_ADDRESS, {NULL}},
    {"an '@' alone", "TO:<@>", ARGS_ADDRESS, {NULL}},
    {"the empty path in a list", "TO:<a@b>,<>", ARGS_ADDRESS, {NULL}},
    {"no domain", "TO:<root>", ARGS_ADDRESS, {NULL}},
    {"an empty domain", "TO:<root@>", ARGS_ADDRESS, {NULL}},
    {"no domain in a list", "TO:a@b,root", ARGS_ADDRESS, {NULL}},
    {"separators alone", "TO:,;", ARGS_ADDRESS, {NULL}},
    {"a closing bracket alone", "TO:>", ARGS_ADDRESS, {NULL}},
    {"two with a blank between: none may be lost", "TO:a@b c@d", ARGS_ADDRESS, {NULL}},
    {"two in brackets with a blank between", "TO:<a@b> <c@d>", ARGS_ADDRESS, {NULL}},
    {"two in brackets with nothing between", "TO:<a@b><c@d>", ARGS_ADDRESS, {NULL}},
    {"a blank in the local part", "TO:<front office@b>", ARGS_ADDRESS, {NULL}},
    {"one bad spoils all", "TO:<a@b>,<c d@e>", ARGS_ADDRESS, {NULL}},
    {"a percent asks for relaying", "TO:<a@b>,<c%d@e>", ARGS_RELAYED, {NULL}},
    {"a quoted percent too", "TO:<\"c d%x\"@e>", ARGS_RELAYED, {NULL}},
    {"a bang asks for relaying", "TO:<host!user@e>", ARGS_RELAYED, {NULL}},
    {"no TO", "<a@b>", ARGS_SYNTAX, {NULL}},
    {"FROM for TO", "FROM:<a@b>", ARGS_SYNTAX, {NULL}},
    {"nothing behind the colon", "TO:", ARGS_SYNTAX, {NULL}},
    {"no colon", "TO a@b", ARGS_SYNTAX, {NULL}},
};

static void reads_rcpt(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(rcpt_cases); i++) {
		const struct rcpt_case *c = &rcpt_cases[i];
		struct address got[MAX];
		size_t count, want = 0;
		enum args_result result = command_rcpt(str_of(c->in), got, MAX, &count);
		if (result != c->want)
			fail_msg("%s: result %d", c->label, (int)result);
		if (result != ARGS_OK)
			continue;
		while (want < MAX && c->rcpts[want] != NULL)
			want++;
		if (count != want)
			fail_msg("%s: %zu addresses", c->label, count);
		for (size_t k = 0; k < count; k++)
			if (strcmp(got[k].text, c->rcpts[k]) != 0)
				fail_msg("%s: \"%s\"", c->label, got[k].text);
	}
}

static void refuses_a_nul(void **state)
{
	struct mail_args mail;
	struct address rcpts[2];
	size_t count;

	(void)state;
	assert_int_equal(command_mail((struct str){"FROM:<a\0@b>", 11}, &mail), ARGS_ADDRESS);
	assert_int_equal(command_rcpt((struct str){"TO:<a@b\0>", 9}, rcpts, 2, &count), ARGS_ADDRESS);
	assert_true(str_eq(command_split((struct str){"NO\0OP", 5}).args, ""));
}

static void check_harmless(const struct address *a)
{
	assert_null(strpbrk(a->text, "\r\n"));
	assert_null(strpbrk(a->text + a->at, "<> \t,;"));
	assert_null(memchr(a->text, '%', a->at));
	if (a->text[0] != '"')
		assert_null(strpbrk(a->text, "<> \t,;"));
}

/* Nothing that comes out could end a path, a line or a header upstream; the sanitizers watch the bounds. */
static void random_lines_give_harmless_addresses(void **state)
{
	static const char *const words[] = {"a@b", "<", ">", "<", ">", ",", ";", " ", "\"", "\\", "@", ":",
	    "(", ")", "'", "%", "SIZE=3", "x", ".", "\r", "\n", "\t", "[", "]", "c@d", "\xff", "="};
	struct mail_args mail;
	struct address rcpts[MAX];
	size_t good = 0;

	(void)state;
	srandom(52);
	for (int round = 0; round < 300000; round++) {
		char line[128] = "TO:";
		size_t count, n = (size_t)random() % 14;
		for (size_t i = 0; i < n; i++)
			strcat(line, words[(size_t)random() % LENGTH(words)]);
		if (command_rcpt(str_of(line), rcpts, MAX, &count) == ARGS_OK) {
			good++;
			assert_in_range(count, 1, MAX);
			for (size_t i = 0; i < count; i++)
				check_harmless(&rcpts[i]);
		}
		memmove(line + 5, line + 3, strlen(line + 3) + 1);
		memcpy(line, "FROM:", 5);
		if (command_mail(str_of(line), &mail) == ARGS_OK)
			check_harmless(&mail.sender);
	}
	assert_true(good > 1000);
}

/* A line of the longest kind, of the bytes that make the parser look again. */
static void long_lines_take_no_time(void **state)
{
	static const char fillers[] = "<>\"(@, '\\=";
	static char line[12288];
	struct mail_args mail;
	struct address rcpts[MAX];
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof fillers - 1; i++) {
		memset(line, fillers[i], sizeof line);
		memcpy(line, "FROM:", 5);
		assert_int_not_equal(command_mail((struct str){line, sizeof line}, &mail), ARGS_RELAYED);
		memcpy(line, "TO:", 3);
		assert_int_not_equal(
		    command_rcpt((struct str){line, sizeof line}, rcpts, MAX, &count), ARGS_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(splits_lines),
	    cmocka_unit_test(reads_mail),
	    cmocka_unit_test(reads_rcpt),
	    cmocka_unit_test(refuses_a_nul),
	    cmocka_unit_test(random_lines_give_harmless_addresses),
	    cmocka_unit_test(long_lines_take_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
