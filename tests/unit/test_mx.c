#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/kinds.h"
#include "net/mx.h"

/* The header of an answer with one question and n records, and the question: contoso.com, MX, IN. */
#define QUESTION(n)		  "\x12\x34\x81\x80\0\1\0" n "\0\0\0\0\7contoso\3com\0\0\x0f\0\1"
#define RECORD(ttl, length, rest) "\xc0\x0c\0\x0f\0\1" ttl length rest
#define HOUR			  "\0\0\x0e\x10"

struct bytes {
	const char *p;
	size_t n;
};
#define BYTES(literal)                                                                                       \
	{                                                                                                    \
		literal, sizeof literal - 1                                                                  \
	}

static bool parse(struct bytes bytes, struct mx_list *out)
{
	/* On its own, so that a sanitizer sees every octet too many. */
	unsigned char *copy = malloc(bytes.n + (bytes.n == 0));

	memcpy(copy, bytes.p, bytes.n);
	bool good = mx_parse(copy, bytes.n, out);
	free(copy);
	return good;
}

/* clang-format off */
static const struct bytes two_hosts = BYTES(
    QUESTION("\2")
    RECORD(HOUR, "\0\7", "\0\x14\2m2\xc0\x0c")
    RECORD("\0\0\0\x3c", "\0\x0c", "\0\x0a\2m1\3net\0\0\0"));
static const struct bytes in_order = BYTES(
    QUESTION("\3")
    RECORD(HOUR, "\0\7", "\0\x14\2m2\xc0\x0c")
    RECORD("\0\0\0\x3c", "\0\x0a", "\0\x0a\2m1\3net\0")
    RECORD(HOUR, "\0\7", "\0\x14\2m3\xc0\x0c"));
/* clang-format on */

static void hosts_come_by_preference_with_the_shortest_time_to_live(void **state)
{
	struct mx_list list;

	(void)state;
	assert_true(parse(in_order, &list));
	assert_int_equal(list.n, 3);
	assert_string_equal(list.hosts[0].name, "m1.net");
	assert_int_equal(list.hosts[0].preference, 10);
	assert_string_equal(list.hosts[1].name, "m2.contoso.com");
	assert_string_equal(list.hosts[2].name, "m3.contoso.com");
	assert_int_equal(list.ttl_s, 60);
	/* A record longer than its name is damaged. */
	assert_false(parse(two_hosts, &list));
}

static void an_answer_cut_anywhere_is_damaged(void **state)
{
	struct mx_list list;

	(void)state;
	for (size_t n = 0; n < in_order.n; n++)
		assert_false(parse((struct bytes){in_order.p, n}, &list));
}

static void odd_answers(void **state)
{
	static const struct {
		const char *label;
		struct bytes answer;
		bool good;
		size_t n;
	} rows[] = {
	    {"no record", BYTES(QUESTION("\0")), true, 0},
	    {"another type than MX", BYTES(QUESTION("\1") "\xc0\x0c\0\1\0\1" HOUR "\0\4\x7f\0\0\1"), true, 0},
	    {"a name that is no host's", BYTES(QUESTION("\1") RECORD(HOUR, "\0\7", "\0\x0a\2\"x\xc0\x0c")),
		true, 0},
	    {"a pointer to itself", BYTES(QUESTION("\1") RECORD(HOUR, "\0\4", "\0\x0a\xc0\x2b")), false, 0},
	    {"a length beyond the end", BYTES(QUESTION("\1") RECORD(HOUR, "\1\7", "\0\x0a\2m2\xc0\x0c")),
		false, 0},
	    {"a preference and nothing else", BYTES(QUESTION("\1") RECORD(HOUR, "\0\2", "\0\x0a")), true, 0},
	    {"the domain takes no mail", BYTES(QUESTION("\1") RECORD(HOUR, "\0\3", "\0\0\0")), true, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mx_list list;
		if (parse(rows[i].answer, &list) != rows[i].good || (rows[i].good && list.n != rows[i].n))
			fail_msg("%s", rows[i].label);
		if (list.n == 1)
			assert_string_equal(list.hosts[0].name, "");
	}
}

static void more_hosts_than_there_is_room_for_leave_the_best(void **state)
{
	unsigned char answer[1024];
	struct mx_list list;
	size_t n = sizeof QUESTION("\x14") - 1;

	(void)state;
	memcpy(answer, QUESTION("\x14"), n);
	for (unsigned i = 0; i < 20; i++) {
		unsigned char record[] = {0xc0, 0x0c, 0, 15, 0, 1, 0, 0, 1, 0, 0, 6, 0,
		    (unsigned char)(20 - i), 1, (unsigned char)('a' + i), 0xc0, 0x0c};
		memcpy(answer + n, record, sizeof record);
		n += sizeof record;
	}
	assert_true(mx_parse(answer, n, &list));
	assert_int_equal(list.n, MX_HOSTS_MAX);
	for (unsigned i = 0; i < MX_HOSTS_MAX; i++)
		assert_int_equal(list.hosts[i].preference, i + 1);
	assert_string_equal(list.hosts[0].name, "t.contoso.com");
}

static void only_whole_labels_of_the_clouds_suffixes_are_genuine(void **state)
{
	char *own[] = {".filter.example", "gate.example"};
	static const struct {
		enum cloud cloud;
		const char *host;
		bool genuine;
	} rows[] = {
	    {CLOUD_WORLDWIDE, "contoso-com.mail.protection.outlook.com", true},
	    {CLOUD_WORLDWIDE, "Contoso-COM.Mail.Protection.Outlook.Com", true},
	    {CLOUD_WORLDWIDE, "contoso-com.o-v1.mx.microsoft", true},
	    {CLOUD_WORLDWIDE, "contoso-com.mail.protection.office365.us", false},
	    {CLOUD_GCC_HIGH, "contoso-com.mail.protection.office365.us", true},
	    {CLOUD_GCC_HIGH, "contoso-com.mail.protection.outlook.com", false},
	    {CLOUD_DOD, "contoso-mil.protection.apps.mil", true},
	    {CLOUD_CHINA, "contoso-cn.mail.protection.partner.outlook.cn", true},
	    {CLOUD_WORLDWIDE, "evil-mail.protection.outlook.com.example", false},
	    {CLOUD_WORLDWIDE, "evil-mail.protection.outlook.com", false},
	    {CLOUD_WORLDWIDE, "x.mx.microsoft.com", false},
	    {CLOUD_WORLDWIDE, "mx.microsoft", false},
	    {CLOUD_WORLDWIDE, ".mx.microsoft", false},
	    {CLOUD_WORLDWIDE, "", false},
	    {CLOUD_WORLDWIDE, "a.filter.example", true},
	    {CLOUD_WORLDWIDE, "a.gate.example", true},
	    {CLOUD_WORLDWIDE, "afilter.example", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct upstream_config upstream = {
		    .cloud = rows[i].cloud, .mx_suffixes = own, .mx_suffix_count = 2};
		if (mx_is_genuine(&upstream, rows[i].host) != rows[i].genuine)
			fail_msg("%s in cloud %d", rows[i].host, (int)rows[i].cloud);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_come_by_preference_with_the_shortest_time_to_live),
	    cmocka_unit_test(an_answer_cut_anywhere_is_damaged),
	    cmocka_unit_test(odd_answers),
	    cmocka_unit_test(more_hosts_than_there_is_room_for_leave_the_best),
	    cmocka_unit_test(only_whole_labels_of_the_clouds_suffixes_are_genuine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
