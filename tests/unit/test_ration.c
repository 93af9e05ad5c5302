#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ration.h"

static const struct ration_rate three_then_one_a_second = {.every_us = 1000000, .burst = 3};

static void a_burst_is_taken_at_once_and_then_each_has_its_turn(void **state)
{
	struct ration ration = {0};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ration_take(&ration, &three_then_one_a_second, 5000, 7000), 0);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 5000, 7000), 1000);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 5000, 7000), 2000);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 5000, 7500), 2500);
}

static void what_would_wait_too_long_is_refused_and_costs_nothing(void **state)
{
	struct ration ration = {0};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 1), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 1), -1);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 1001), 0);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 1001), -1);
}

static void time_without_any_saves_no_more_than_a_burst(void **state)
{
	struct ration ration = {0};

	(void)state;
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 1), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 86400000), 0);
	assert_int_equal(ration_take(&ration, &three_then_one_a_second, 0, 86400000), -1);
}

static void the_log_hears_how_many_lines_were_withheld(void **state)
{
	struct quiet quiet = {0};
	uint64_t withheld = 99;
	unsigned let = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		let += quiet_lets(&quiet, &withheld, 1);
	assert_int_equal(let, 60);
	assert_int_equal(withheld, 0);
	assert_true(quiet_lets(&quiet, &withheld, 1001));
	assert_int_equal(withheld, 940);
	assert_false(quiet_lets(&quiet, &withheld, 1001));
	assert_true(quiet_lets(&quiet, &withheld, 2001));
	assert_int_equal(withheld, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_burst_is_taken_at_once_and_then_each_has_its_turn),
	    cmocka_unit_test(what_would_wait_too_long_is_refused_and_costs_nothing),
	    cmocka_unit_test(time_without_any_saves_no_more_than_a_burst),
	    cmocka_unit_test(the_log_hears_how_many_lines_were_withheld),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
