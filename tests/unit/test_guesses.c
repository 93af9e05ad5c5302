/* How failed logins slow down, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/log.h"
#include "listener/guesses.h"

#define MINUTE 60000

static unsigned fail_from(struct guesses *guesses, const char *text, int64_t now_ms, unsigned n)
{
	struct in6_addr address;
	uint64_t failures;
	unsigned doubled = 0;

	assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
	for (unsigned i = 0; i < n; i++)
		doubled = guesses_failed(guesses, &address, now_ms, &failures);
	return doubled;
}

static void one_address_is_slowed_alone(void **state)
{
	struct guesses *guesses = guesses_new();

	(void)state;
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 0, 9), 0);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 0, 1), 1);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 0, 10), 2);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 0, 60), 3);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.2", 0, 1), 0);
	guesses_free(guesses);
}

static void what_is_long_ago_is_forgotten_by_halves(void **state)
{
	struct guesses *guesses = guesses_new();

	(void)state;
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 0, 40), 3);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 10 * MINUTE, 1), 2);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 20 * MINUTE, 1), 1);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 30 * MINUTE, 1), 0);
	assert_int_equal(fail_from(guesses, "::ffff:192.0.2.1", 100000LL * MINUTE, 1), 0);
	guesses_free(guesses);
}

/* Some 20 tries in ten minutes, for a week. */
static void a_printer_with_a_wrong_password_is_not_slowed_without_end(void **state)
{
	struct guesses *guesses = guesses_new();
	int64_t now_ms = 0;

	(void)state;
	for (int i = 0; i < 7 * 24 * 120; i++) {
		assert_true(fail_from(guesses, "::ffff:10.1.2.17", now_ms, 1) < GUESSES_DOUBLED_MAX);
		now_ms += MINUTE / 2;
	}
	guesses_free(guesses);
}

static void the_addresses_of_one_ipv6_network_count_together(void **state)
{
	struct guesses *guesses = guesses_new();

	(void)state;
	assert_int_equal(fail_from(guesses, "fd00:3::1", 0, 9), 0);
	assert_int_equal(fail_from(guesses, "fd00:3::2", 0, 1), 1);
	assert_int_equal(fail_from(guesses, "fd00:4::2", 0, 1), 0);
	guesses_free(guesses);
}

/* More addresses than are remembered, each used once. */
static void many_addresses_are_slowed_in_total(void **state)
{
	struct guesses *guesses = guesses_new();
	unsigned doubled = 0;

	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		char text[32];
		snprintf(text, sizeof text, "::ffff:10.0.%u.%u", i / 200, i % 200);
		doubled = fail_from(guesses, text, i, 1);
		assert_int_equal(doubled, i < 99 ? 0 : i < 199 ? 1 : i < 399 ? 2 : 3);
	}
	guesses_free(guesses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_address_is_slowed_alone),
	    cmocka_unit_test(what_is_long_ago_is_forgotten_by_halves),
	    cmocka_unit_test(a_printer_with_a_wrong_password_is_not_slowed_without_end),
	    cmocka_unit_test(the_addresses_of_one_ipv6_network_count_together),
	    cmocka_unit_test(many_addresses_are_slowed_in_total),
	};

	log_set_level((enum log_level)0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
