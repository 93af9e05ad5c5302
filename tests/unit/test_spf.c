/* SPF as far as it can be read off the records: is an address listed? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "online/spf.h"

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (inet_pton(AF_INET, text, &address.s6_addr[12]) != 1)
		assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

/* One record, of the domain itself. */
static struct spf look(const char *address, const char *record)
{
	struct in6_addr binary = address_of(address);
	struct spf spf;

	spf_begin(&spf, "contoso.com", &binary);
	assert_string_equal(spf_next(&spf), "contoso.com");
	assert_true(spf_is_record(record));
	spf_take(&spf, record);
	return spf;
}

static void one_record(void **state)
{
	static const struct {
		const char *label, *address, *record;
		bool listed;
	} rows[] = {
	    {"the address itself", "203.0.113.7", "v=spf1 ip4:203.0.113.7 -all", true},
	    {"a network", "203.0.113.7", "v=spf1 a mx ip4:203.0.112.0/23 ~all", true},
	    {"another network", "203.0.114.7", "v=spf1 ip4:203.0.112.0/23 ~all", false},
	    {"capitals, two blanks and a plus", "203.0.113.7", "V=SPF1  +IP4:203.0.113.7", true},
	    {"IPv6", "2001:db8::7", "v=spf1 ip6:2001:db8::/32 -all", true},
	    {"IPv6 without a length", "2001:db8::8", "v=spf1 ip6:2001:db8::7 -all", false},
	    {"an IPv6 network that would hold mapped IPv4", "203.0.113.7", "v=spf1 ip6:::/0 -all", false},
	    {"an IPv4 network of everything is not for IPv6", "2001:db8::7", "v=spf1 ip4:0.0.0.0/0", false},
	    {"everybody", "203.0.113.7", "v=spf1 all", true},
	    {"nobody", "203.0.113.7", "v=spf1 -all", false},
	    {"an address that is named to be refused", "203.0.113.7", "v=spf1 -ip4:203.0.113.7", false},
	    {"nothing at all", "203.0.113.7", "v=spf1", false},
	    {"damaged networks", "203.0.113.7",
		"v=spf1 ip4: ip4:/ ip4:x ip4:203.0.113.7/33 ip4:203.0.113.7/ ip4:203.0.113.7/-1 "
		"ip4:203.0.113.7.",
		false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct spf spf = look(rows[i].address, rows[i].record);
		if (spf.listed != rows[i].listed)
			fail_msg("%s", rows[i].label);
	}
	assert_string_equal(look("203.0.113.7", "v=spf1 mx +ip4:203.0.113.0/24").by, "ip4:203.0.113.0/24");
}

static void what_is_no_record_of_spf(void **state)
{
	(void)state;
	assert_false(spf_is_record(""));
	assert_false(spf_is_record("v=spf2 all"));
	assert_false(spf_is_record("v=spf10 all"));
	assert_false(spf_is_record("spf2.0/pra all"));
	assert_true(spf_is_record("v=spf1"));
}

static void includes_are_asked_for_once_each(void **state)
{
	struct spf spf = look("203.0.113.7",
	    "v=spf1 include:a.test include:A.TEST ?include:b.test redirect=c.test include:%{d}.test");

	(void)state;
	assert_string_equal(spf_next(&spf), "a.test");
	spf_take(&spf, "v=spf1 include:contoso.com ip4:203.0.113.0/24 include:d.test");
	assert_true(spf.listed);
	assert_null(spf_next(&spf));
	assert_int_equal(spf.unlooked, 1);
	assert_int_equal(spf.count, 4);
	assert_string_equal(spf.domains[2], "c.test");
}

static void chains_end_where_receivers_end_them(void **state)
{
	struct spf spf = look("203.0.113.7", "v=spf1 include:i0.test");
	char record[64];
	int asked = 0;

	(void)state;
	while (spf_next(&spf) != NULL) {
		snprintf(record, sizeof record, "v=spf1 include:i%d.test", ++asked);
		spf_take(&spf, record);
	}
	assert_int_equal(asked, SPF_DOMAINS_MAX);
	assert_true(spf.too_many);
	assert_false(spf.listed);
}

static void odd_domains_do_no_harm(void **state)
{
	static char record[6000], name[1000];
	struct in6_addr address = address_of("203.0.113.7");
	struct spf spf;

	(void)state;
	memset(name, 'a', sizeof name - 1);
	spf_begin(&spf, name, &address);
	assert_null(spf_next(&spf));
	spf_begin(&spf, "", &address);
	assert_null(spf_next(&spf));
	snprintf(record, sizeof record, "v=spf1 include: include:%s exp=x.test a:b mx exists:%s", name, name);
	spf = look("203.0.113.7", record);
	assert_int_equal(spf.unlooked, 5);
	assert_null(spf_next(&spf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_record),
	    cmocka_unit_test(what_is_no_record_of_spf),
	    cmocka_unit_test(includes_are_asked_for_once_each),
	    cmocka_unit_test(chains_end_where_receivers_end_them),
	    cmocka_unit_test(odd_domains_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
