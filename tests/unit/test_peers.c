#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "listener/peers.h"

static struct in6_addr numbered(uint32_t number)
{
	struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	for (int i = 0; i < 4; i++)
		address.s6_addr[12 + i] = (uint8_t)(number >> (24 - 8 * i));
	return address;
}

static void each_address_has_its_own_count(void **state)
{
	struct peers *peers = peers_new();
	struct in6_addr a = numbered(1), b = numbered(2);

	(void)state;
	assert_true(peers_enter(peers, &a, 2));
	assert_true(peers_enter(peers, &a, 2));
	assert_false(peers_enter(peers, &a, 2));
	assert_true(peers_enter(peers, &b, 2));
	assert_int_equal(peers_count(peers), 2);
	peers_leave(peers, &a);
	assert_true(peers_enter(peers, &a, 2));
	assert_false(peers_enter(peers, &a, 2));
	peers_leave(peers, &b);
	assert_int_equal(peers_count(peers), 1);
	peers_leave(peers, &a);
	peers_leave(peers, &a);
	assert_int_equal(peers_count(peers), 0);
	peers_free(peers);
}

static void an_ipv6_network_counts_as_one_but_for_those_that_are_listed(void **state)
{
	static const struct {
		const char *address;
		bool listed;
		const char *counted;
	} rows[] = {
	    {"fd00:3::1", false, "fd00:3::"},
	    {"fd00:3::ffff:2:3:4", false, "fd00:3::"},
	    {"fd00:3:0:1::1", false, "fd00:3:0:1::"},
	    {"fe80::1:2:3:4", false, "fe80::"},
	    {"fd00:3::1", true, "fd00:3::1"},
	    {"::ffff:10.1.2.17", false, "::ffff:10.1.2.17"},
	    {"::ffff:10.1.2.17", true, "::ffff:10.1.2.17"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct in6_addr address, want, got;
		inet_pton(AF_INET6, rows[i].address, &address);
		inet_pton(AF_INET6, rows[i].counted, &want);
		got = peer_counted(&address, rows[i].listed);
		assert_memory_equal(&got, &want, sizeof want);
	}
}

static void many_addresses_come_and_go(void **state)
{
	struct peers *peers = peers_new();

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct in6_addr address = numbered(i);
		assert_true(peers_enter(peers, &address, 1));
	}
	assert_int_equal(peers_count(peers), 100000);
	for (uint32_t i = 0; i < 100000; i += 2) {
		struct in6_addr address = numbered(i);
		assert_false(peers_enter(peers, &address, 1));
		peers_leave(peers, &address);
	}
	assert_int_equal(peers_count(peers), 50000);
	peers_free(peers);
	peers_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_address_has_its_own_count),
	    cmocka_unit_test(an_ipv6_network_counts_as_one_but_for_those_that_are_listed),
	    cmocka_unit_test(many_addresses_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
