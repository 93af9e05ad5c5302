#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <netinet/in.h>
#include <cmocka.h>

#include "base/ration.h"
#include "listener/rates.h"

static const struct ration_rate two_then_one_a_second = {.every_us = 1000000, .burst = 2};

static struct in6_addr numbered(uint32_t number)
{
	struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	for (int i = 0; i < 4; i++)
		address.s6_addr[12 + i] = (uint8_t)(number >> (24 - 8 * i));
	return address;
}

static int64_t take(struct rates *rates, const struct in6_addr *address)
{
	return ration_take(rates_of(rates, address), &two_then_one_a_second, 0, 1000);
}

static void each_address_has_its_own(void **state)
{
	struct rates *rates = rates_new();
	struct in6_addr a = numbered(1), b = numbered(2);

	(void)state;
	assert_int_equal(take(rates, &a), 0);
	assert_int_equal(take(rates, &a), 0);
	assert_int_equal(take(rates, &a), -1);
	assert_int_equal(take(rates, &b), 0);
	rates_free(rates);
}

static void who_owes_most_is_forgotten_last(void **state)
{
	struct rates *rates = rates_new();
	struct in6_addr greedy = numbered(1);

	(void)state;
	assert_int_equal(take(rates, &greedy), 0);
	assert_int_equal(take(rates, &greedy), 0);
	for (uint32_t i = 2; i < 100000; i++) {
		struct in6_addr other = numbered(i);
		assert_int_equal(take(rates, &other), 0);
	}
	assert_int_equal(take(rates, &greedy), -1);
	rates_free(rates);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_address_has_its_own),
	    cmocka_unit_test(who_owes_most_is_forgotten_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
