#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "listener/pace.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)

static const struct config config = {
    .limits = {.idle_ms = 300000, .message_time_ms = 3600000, .min_data_rate = 100},
};

/* Send octets every step_ms for as long as it goes well, up to end_ms. Returns what ends it, and when. */
static enum pace_fault trickle(size_t octets, int64_t step_ms, int64_t end_ms, int64_t *when_ms)
{
	enum pace_fault fault = PACE_FINE;
	struct pace pace;

	pace_begin(&pace, 0);
	for (*when_ms = 0; *when_ms < end_ms; *when_ms += step_ms) {
		fault = pace_judge(&pace, &config, *when_ms);
		if (fault != PACE_FINE)
			return fault;
		pace_heard(&pace, octets, *when_ms);
	}
	return fault;
}

static void content_comes_fast_enough_or_not(void **state)
{
	static const struct {
		const char *label;
		size_t octets;
		int64_t step_ms;
		enum pace_fault fault;
		int64_t when_ms;
	} rows[] = {
	    {"a scanner", 100000, SECOND, PACE_LONG, 60 * MINUTE},
	    {"just the least rate", 100, SECOND, PACE_LONG, 60 * MINUTE},
	    {"a page every four minutes", 25000, 4 * MINUTE, PACE_LONG, 60 * MINUTE},
	    {"an octet a second", 1, SECOND, PACE_SLOW, 5 * MINUTE},
	    {"a line every four minutes", 80, 4 * MINUTE, PACE_SLOW, 8 * MINUTE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t when_ms;
		enum pace_fault fault = trickle(rows[i].octets, rows[i].step_ms, 120 * MINUTE, &when_ms);
		if (fault != rows[i].fault || when_ms != rows[i].when_ms)
			fail_msg("%s: fault %d after %d s", rows[i].label, fault, (int)(when_ms / 1000));
	}
}

static void silence_is_judged_as_such(void **state)
{
	struct pace pace;

	(void)state;
	pace_begin(&pace, 0);
	pace_heard(&pace, 1000000, 10 * SECOND);
	assert_int_equal(pace_next_ms(&pace, &config), 5 * MINUTE);
	assert_int_equal(pace_judge(&pace, &config, 5 * MINUTE), PACE_FINE);
	assert_int_equal(pace_next_ms(&pace, &config), 5 * MINUTE + 10 * SECOND);
	assert_int_equal(pace_judge(&pace, &config, 5 * MINUTE + 10 * SECOND), PACE_IDLE);
}

static void without_a_least_rate_a_trickle_may_go_on(void **state)
{
	struct config patient = config;
	struct pace pace;

	(void)state;
	patient.limits.min_data_rate = 0;
	pace_begin(&pace, 0);
	pace_heard(&pace, 1, 4 * MINUTE);
	assert_int_equal(pace_judge(&pace, &patient, 5 * MINUTE), PACE_FINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(content_comes_fast_enough_or_not),
	    cmocka_unit_test(silence_is_judged_as_such),
	    cmocka_unit_test(without_a_least_rate_a_trickle_may_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
