/* Addresses: what devices write, what comes out of it, and what routes match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smtp/address.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct parse_case {
	const char *label, *in, *want, *domain; /* want NULL: refused */
};

static const struct parse_case parse_cases[] = {
    {"an address is taken as it is", "scan@contoso.com", "scan@contoso.com", "contoso.com"},
    {"blanks around it are dropped", " \tscan@contoso.com ", "scan@contoso.com", "contoso.com"},
    {"a trailing dot of the domain is dropped", "scan@contoso.com.", "scan@contoso.com", "contoso.com"},
    {"case is kept", "Scan@Contoso.COM", "Scan@Contoso.COM", "Contoso.COM"},
    {"a local part may end with a dot (HPE iLO)", "ilo.@contoso.com", "ilo.@contoso.com", "contoso.com"},
    {"a local part may begin with a dot", ".a@b", ".a@b", "b"},
    {"a local part may begin with '=' (server IPMI)", "=sm-ipmi@b.c", "=sm-ipmi@b.c", "b.c"},
    {"a fax number is a local part", "FAX=+4930123/x@gw", "FAX=+4930123/x@gw", "gw"},
    {"a name alone has no domain", "root", "root", ""},
    {"an empty domain is as none", "root@", "root", ""},
    {"a domain of one dot is as none", "root@.", "root", ""},
    {"an IPv4 literal is a domain", "ups@[10.0.0.5]", "ups@[10.0.0.5]", "[10.0.0.5]"},
    {"an IPv6 literal is a domain", "x@[IPv6:fe80::1]", "x@[IPv6:fe80::1]", "[IPv6:fe80::1]"},
    {"an underscore in a domain is taken", "x@my_host.lan", "x@my_host.lan", "my_host.lan"},
    {"a quoted local part that needs its quotes keeps them", "\"x y\"@b", "\"x y\"@b", "b"},
    {"an '@' inside quotes parts nothing", "\"x@y\"@b", "\"x@y\"@b", "b"},
    {"quotes that are not needed are dropped", "\"x.y\"@b", "x.y@b", "b"},
    {"a dot at the end needs the quotes", "\"x.\"@b", "\"x.\"@b", "b"},
    {"needless escapes are dropped", "\"\\x\\ y\"@b", "\"x y\"@b", "b"},
    {"a quote inside quotes is escaped again", "\"a\\\"<b\\\\\"@c", "\"a\\\"<b\\\\\"@c", "c"},
    {"a quoted name alone has no domain", "\"x y\"", "\"x y\"", ""},
    {"brackets inside quotes are bytes like others", "\"<>\"@b", "\"<>\"@b", "b"},
    {"the empty text is refused", "", NULL, NULL},
    {"blanks alone are refused", " \t ", NULL, NULL},
    {"an '@' alone is refused", "@", NULL, NULL},
    {"an empty local part is refused", "@b", NULL, NULL},
    {"an empty quoted local part is refused", "\"\"@b", NULL, NULL},
    {"two '@' are refused", "a@b@c", NULL, NULL},
    {"a blank in the local part is refused", "a b@c", NULL, NULL},
    {"a blank in the domain is refused", "a@b c", NULL, NULL},
    {"a tab is refused", "a\tb@c", NULL, NULL},
    {"a CR is refused", "a\r@c", NULL, NULL},
    {"an LF is refused", "a@c\n", NULL, NULL},
    {"an LF inside quotes is refused", "\"a\nb\"@c", NULL, NULL},
    {"an escaped LF inside quotes is refused", "\"a\\\nb\"@c", NULL, NULL},
    {"a DEL is refused", "a\x7f@c", NULL, NULL},
    {"a bracket is refused", "<a@b", NULL, NULL},
    {"a closing bracket is refused", "a@b>", NULL, NULL},
    {"a comma is refused: it would make two of one", "a,b@c", NULL, NULL},
    {"a colon is refused", "a:b@c", NULL, NULL},
    {"a backslash outside quotes is refused", "a\\b@c", NULL, NULL},
    {"parentheses are refused", "a(b)@c", NULL, NULL},
    {"a byte above 127 in the local part is refused", "\xc3\xa4@b", NULL, NULL},
    {"a byte above 127 in quotes is refused", "\"\xc3\xa4\"@b", NULL, NULL},
    {"a byte above 127 in the domain is refused", "a@\xc3\xa4", NULL, NULL},
    {"quotes that do not end are refused", "\"a@b", NULL, NULL},
    {"quotes that end in an escape are refused", "\"a\\\"", NULL, NULL},
    {"text behind the quotes is refused", "\"a\"b@c", NULL, NULL},
    {"a quote inside an unquoted local part is refused", "a\"b\"@c", NULL, NULL},
    {"an empty label is refused", "a@b..c", NULL, NULL},
    {"a domain that begins with a dot is refused", "a@.b", NULL, NULL},
    {"two trailing dots are refused", "a@b..", NULL, NULL},
    {"a literal that does not end is refused", "a@[10.0.0.5", NULL, NULL},
    {"an empty literal is refused", "a@[]", NULL, NULL},
    {"a literal with other bytes is refused", "a@[10.0.0.5>]", NULL, NULL},
    {"a slash in the domain is refused", "a@b/c", NULL, NULL},
};

static void parses_what_devices_write(void **state)
{
	struct address a;

	(void)state;
	for (size_t i = 0; i < LENGTH(parse_cases); i++) {
		const struct parse_case *c = &parse_cases[i];
		memset(&a, 'x', sizeof a);
		if (address_parse(str_of(c->in), &a) != (c->want != NULL))
			fail_msg("%s: parsed \"%s\"", c->label, a.text);
		if (strcmp(a.text, c->want != NULL ? c->want : "") != 0)
			fail_msg("%s: got \"%s\"", c->label, a.text);
		if (strcmp(address_domain(&a), c->domain != NULL ? c->domain : "") != 0)
			fail_msg("%s: got the domain \"%s\"", c->label, address_domain(&a));
	}
}

static void refuses_a_nul(void **state)
{
	struct address a;

	(void)state;
	assert_false(address_parse((struct str){"a\0b@c", 5}, &a));
	assert_false(address_parse((struct str){"\"a\0b\"@c", 7}, &a));
	assert_false(address_parse((struct str){"a@b\0c", 5}, &a));
	assert_string_equal(a.text, "");
}

static void holds_to_its_bound(void **state)
{
	char text[ADDRESS_MAX + 2];
	struct address a;

	(void)state;
	memset(text, 'a', sizeof text);
	text[64] = '@';
	assert_true(address_parse((struct str){text, ADDRESS_MAX}, &a));
	assert_int_equal(strlen(a.text), ADDRESS_MAX);
	assert_int_equal(a.at, 64);
	assert_false(address_parse((struct str){text, ADDRESS_MAX + 1}, &a));
	assert_string_equal(a.text, "");

	/* All escapes: the longest way to write it again. */
	memset(text, '\\', sizeof text);
	text[0] = text[ADDRESS_MAX - 1] = '"';
	assert_true(address_parse((struct str){text, ADDRESS_MAX}, &a));
	assert_int_equal(strlen(a.text), ADDRESS_MAX);
}

/* Whatever goes in: what comes out is harmless and is read again as itself. */
static void comes_out_harmless(void **state)
{
	static const char bytes[] = "ab.@@\"\"\\\\<>[] \t\r\n\0%,:;(\x80-_1";
	struct address a, again;
	char text[24];
	size_t good = 0;

	(void)state;
	srandom(20261123);
	for (int round = 0; round < 300000; round++) {
		size_t n = (size_t)random() % sizeof text;
		for (size_t i = 0; i < n; i++)
			text[i] = bytes[(size_t)random() % (sizeof bytes - 1)];
		if (!address_parse((struct str){text, n}, &a))
			continue;
		good++;
		assert_true(strlen(a.text) <= n);
		assert_null(strpbrk(a.text, "\r\n\t\x80"));
		assert_null(strpbrk(a.text + a.at, " <>\"\\,;()%"));
		if (a.text[0] != '"')
			assert_null(strpbrk(a.text, " <>\"\\,;:()"));
		assert_true(address_parse(str_of(a.text), &again));
		assert_string_equal(again.text, a.text);
		assert_int_equal(again.at, a.at);
	}
	assert_true(good > 1000);
}

struct match_case {
	const char *label, *text, *pattern;
	bool want;
};

static const struct match_case match_cases[] = {
    {"the star matches anything", "a@b", "*", true},
    {"the star matches the null path", "", "*", true},
    {"a domain is matched", "a@contoso.com", "*@contoso.com", true},
    {"case is ignored", "A@Contoso.COM", "*@cONTOSO.com", true},
    {"a longer domain is another one", "a@contoso.com.evil", "*@contoso.com", false},
    {"a sub-domain is another one", "a@x.contoso.com", "*@contoso.com", false},
    {"a domain that only ends alike is another one", "a@evilcontoso.com", "*@contoso.com", false},
    {"sub-domains have their own pattern", "a@x.contoso.com", "*@*.contoso.com", true},
    {"an address is matched", "it@b.c", "it@b.c", true},
    {"an address is matched whole", "xit@b.c", "it@b.c", false},
    {"a prefix is no match", "it@b", "it@b.c", false},
    {"stars may stand anywhere", "scan-floor2@b.c", "scan-*@b.*", true},
    {"stars in the middle give way", "aXbXc", "a*X*c", true},
    {"the last star takes as much as it must", "abcabcd", "*abcd", true},
    {"many stars are as one", "a@b", "**@***", true},
    {"a star may match nothing", "a@b", "a*@b*", true},
    {"the null path matches no address", "", "*@b", false},
    {"the empty pattern matches the empty text only", "a", "", false},
    {"the empty pattern matches the empty text", "", "", true},
    {"other wildcards are none", "ab", "a?", false},
    {"an '@' in quotes is not where the domain begins", "\"x@contoso.com\"@b.c", "*@contoso.com", false},
};

static void matches_patterns(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(match_cases); i++) {
		const struct match_case *c = &match_cases[i];
		if (address_matches(c->text, c->pattern) != c->want)
			fail_msg("%s: \"%s\" and \"%s\"", c->label, c->text, c->pattern);
	}
}

/* Plain recursion: what '*' means, word for word. */
static bool slow_match(const char *text, const char *pattern)
{
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '*')
		return slow_match(text, pattern + 1) || (*text != '\0' && slow_match(text + 1, pattern));
	return *text == *pattern && slow_match(text + 1, pattern + 1);
}

static void matches_as_the_slow_way(void **state)
{
	char text[12] = "", pattern[8] = "";

	(void)state;
	srandom(7);
	for (int round = 0; round < 100000; round++) {
		size_t n = (size_t)random() % sizeof text, m = (size_t)random() % sizeof pattern;
		for (size_t i = 0; i < n; i++)
			text[i] = "ab"[random() % 2];
		for (size_t i = 0; i < m; i++)
			pattern[i] = "ab*"[random() % 3];
		text[n] = pattern[m] = '\0';
		if (address_matches(text, pattern) != slow_match(text, pattern))
			fail_msg("\"%s\" and \"%s\"", text, pattern);
	}
}

/* The product of both lengths is some 100,000; a matcher that tries each star anew would not come back. */
static void matches_in_bounded_time(void **state)
{
	char text[ADDRESS_MAX + 1], pattern[ADDRESS_MAX + 1];

	(void)state;
	memset(text, 'a', ADDRESS_MAX);
	text[ADDRESS_MAX] = '\0';
	for (size_t i = 0; i < ADDRESS_MAX; i++)
		pattern[i] = "*a"[i % 2];
	memcpy(pattern + ADDRESS_MAX - 2, "*b", 3);
	assert_false(address_matches(text, pattern));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parses_what_devices_write),
	    cmocka_unit_test(refuses_a_nul),
	    cmocka_unit_test(holds_to_its_bound),
	    cmocka_unit_test(comes_out_harmless),
	    cmocka_unit_test(matches_patterns),
	    cmocka_unit_test(matches_as_the_slow_way),
	    cmocka_unit_test(matches_in_bounded_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
