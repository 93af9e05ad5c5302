/* The count of messages in an hour, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "config/config.h"
#include "listener/storm.h"

#define HOUR 3600000

static struct device devices[] = {{.name = "camera", .messages_per_hour = 10}, {.name = "mfd"}};
static struct config config = {.devices = devices, .device_count = 2};

static void send_messages(struct storms *storms, const struct device *device, unsigned n, int64_t now_ms)
{
	for (unsigned i = 0; i < n; i++)
		storm_count(storms, device, now_ms);
}

static void three_times_the_figure_stops_until_the_hour_is_over(void **state)
{
	struct storms *storms = storms_new(&config);
	int64_t left_ms;
	bool first;

	(void)state;
	send_messages(storms, &devices[0], 29, 1000);
	assert_false(storm_stops(storms, &devices[0], 2000, &left_ms, &first));
	send_messages(storms, &devices[0], 1, 3000);
	assert_true(storm_stops(storms, &devices[0], 4000, &left_ms, &first));
	assert_true(first);
	assert_int_equal(left_ms, HOUR - 3000);
	assert_true(storm_stops(storms, &devices[0], 1000 + HOUR - 1, &left_ms, &first));
	assert_false(first);
	assert_int_equal(left_ms, 1);
	assert_false(storm_stops(storms, &devices[0], 1000 + HOUR, &left_ms, &first));
	storms_free(storms);
}

static void a_new_hour_begins_with_its_first_message(void **state)
{
	struct storms *storms = storms_new(&config);
	int64_t left_ms;
	bool first;

	(void)state;
	send_messages(storms, &devices[0], 30, 0);
	send_messages(storms, &devices[0], 30, 2 * HOUR + 5);
	assert_true(storm_stops(storms, &devices[0], 2 * HOUR + 6, &left_ms, &first));
	assert_true(first);
	assert_int_equal(left_ms, HOUR - 1);
	storms_free(storms);
}

static void a_device_without_a_figure_and_the_others_go_on(void **state)
{
	struct storms *storms = storms_new(&config);
	int64_t left_ms;
	bool first;

	(void)state;
	send_messages(storms, &devices[1], 100000, 0);
	send_messages(storms, &devices[0], 100, 0);
	assert_false(storm_stops(storms, &devices[1], 1, &left_ms, &first));
	assert_true(storm_stops(storms, &devices[0], 1, &left_ms, &first));
	storms_free(storms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(three_times_the_figure_stops_until_the_hour_is_over),
	    cmocka_unit_test(a_new_hour_begins_with_its_first_message),
	    cmocka_unit_test(a_device_without_a_figure_and_the_others_go_on),
	};

	log_set_level((enum log_level)0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
