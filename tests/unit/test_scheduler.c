/* scheduler.c and road.c: when a part is tried, and when a road may be used. The clock is a number here. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sender/road.h"
#include "sender/scheduler.h"

static void parts_become_ready_in_the_order_of_their_time(void **state)
{
	struct scheduler *s = scheduler_new(1, 1);
	struct part parts[3] = {{.road = 0}, {.road = 0}, {.road = 0}};

	(void)state;
	scheduler_add(s, &parts[0], 1000, 3000);
	scheduler_add(s, &parts[1], 1000, 2000);
	scheduler_add(s, &parts[2], 1000, 1000);
	assert_int_equal(scheduler_ready(s, 0), 1);
	assert_int_equal(scheduler_waiting(s, 0), 2);
	assert_int_equal(scheduler_next_ms(s), 2000);
	assert_false(scheduler_advance(s, 1999));
	assert_true(scheduler_advance(s, 3000));
	assert_ptr_equal(scheduler_take(s, 0), &parts[2]);
	assert_ptr_equal(scheduler_take(s, 0), &parts[1]);
	assert_ptr_equal(scheduler_take(s, 0), &parts[0]);
	assert_null(scheduler_take(s, 0));
	assert_int_equal(scheduler_next_ms(s), -1);
	scheduler_free(s);
}

static void roads_have_lines_of_their_own(void **state)
{
	struct scheduler *s = scheduler_new(2, 1);
	struct part a = {.road = 0}, b = {.road = 1};

	(void)state;
	scheduler_add(s, &a, 0, 0);
	scheduler_add(s, &b, 0, 0);
	assert_ptr_equal(scheduler_take(s, 1), &b);
	assert_null(scheduler_take(s, 1));
	assert_ptr_equal(scheduler_take(s, 0), &a);
	scheduler_free(s);
}

static void a_part_can_be_taken_out_wherever_it_is(void **state)
{
	struct scheduler *s = scheduler_new(1, 1);
	struct part ready = {.road = 0}, waiting = {.road = 0};

	(void)state;
	scheduler_add(s, &ready, 0, 0);
	scheduler_add(s, &waiting, 0, 10);
	scheduler_remove(s, &ready);
	scheduler_remove(s, &waiting);
	scheduler_remove(s, &waiting);
	assert_int_equal(scheduler_ready(s, 0), 0);
	assert_int_equal(scheduler_waiting(s, 0), 0);
	assert_false(scheduler_advance(s, 100));
	scheduler_free(s);
}

static void many_parts_come_out_sorted(void **state)
{
	enum { N = 5000 };
	struct scheduler *s = scheduler_new(1, 1);
	struct part *parts = calloc(N, sizeof *parts);
	int64_t last = -1;

	(void)state;
	srand(7);
	for (int i = 0; i < N; i++)
		scheduler_add(s, &parts[i], 0, 1 + rand() % 100000);
	for (int i = 0; i < N; i += 3)
		scheduler_remove(s, &parts[i]);
	for (int64_t next; (next = scheduler_next_ms(s)) >= 0;) {
		assert_true(next > last);
		last = next;
		assert_true(scheduler_advance(s, next));
	}
	assert_int_equal(scheduler_ready(s, 0), N - (N + 2) / 3);
	scheduler_free(s);
	free(parts);
}

/* n parts of a device, ready on road 0 in their order. */
static void add_ready(struct scheduler *s, struct part *parts, int n, unsigned device, unsigned recipients)
{
	for (int i = 0; i < n; i++) {
		parts[i] = (struct part){.device = device, .recipients = recipients};
		scheduler_add(s, &parts[i], 0, 0);
	}
}

static void one_message_waits_for_one_of_ten_thousand(void **state)
{
	enum { MANY = 10000 };
	struct scheduler *s = scheduler_new(1, 2);
	struct part *many = calloc(MANY, sizeof *many), one;

	(void)state;
	add_ready(s, many, MANY, 0, 1);
	for (int i = 0; i < 100; i++)
		assert_ptr_equal(scheduler_take(s, 0), &many[i]);
	add_ready(s, &one, 1, 1, 1);
	assert_ptr_equal(scheduler_take(s, 0), &many[100]);
	assert_ptr_equal(scheduler_take(s, 0), &one);
	for (int i = 101; i < MANY; i++)
		assert_ptr_equal(scheduler_take(s, 0), &many[i]);
	assert_null(scheduler_take(s, 0));
	scheduler_free(s);
	free(many);
}

static void one_message_waits_for_one_of_each_of_forty_devices(void **state)
{
	enum { DEVICES = 40, EACH = 250 };
	struct scheduler *s = scheduler_new(1, DEVICES + 1);
	struct part *many = calloc(DEVICES * EACH, sizeof *many), one;
	int before = 0;

	(void)state;
	for (unsigned device = 0; device < DEVICES; device++)
		add_ready(s, many + device * EACH, EACH, device, 1);
	for (int i = 0; i < 333; i++)
		assert_non_null(scheduler_take(s, 0));
	add_ready(s, &one, 1, DEVICES, 1);
	while (scheduler_take(s, 0) != &one)
		before++;
	assert_in_range(before, 0, DEVICES);
	scheduler_free(s);
	free(many);
}

static void shares_are_counted_in_recipients(void **state)
{
	enum { SINGLE = 2000, LONG = 100, RECIPIENTS = 20 };
	struct scheduler *s = scheduler_new(1, 2);
	struct part *single = calloc(SINGLE, sizeof *single), *lists = calloc(LONG, sizeof *lists), *part;
	unsigned reached[2] = {0, 0}, first_list = 0, taken = 0;

	(void)state;
	add_ready(s, single, SINGLE, 0, 1);
	add_ready(s, lists, LONG, 1, RECIPIENTS);
	while ((part = scheduler_take(s, 0)) != NULL) {
		taken++;
		reached[part->device] += part->recipients;
		if (part->device == 1 && first_list == 0)
			first_list = taken;
		/* Never apart by more than a message. */
		assert_in_range(reached[0] + RECIPIENTS - reached[1], 0, 2 * RECIPIENTS);
	}
	assert_in_range(first_list, 1, RECIPIENTS + 1);
	assert_int_equal(reached[0], SINGLE);
	assert_int_equal(reached[1], LONG * RECIPIENTS);
	scheduler_free(s);
	free(single);
	free(lists);
}

static void what_was_saved_up_for_a_message_that_has_left_is_not_for_the_next(void **state)
{
	struct scheduler *s = scheduler_new(1, 2);
	struct part others[600], list, singles[500];
	int in_a_row = 0;

	(void)state;
	add_ready(s, others, 600, 0, 1);
	add_ready(s, &list, 1, 1, 500);
	add_ready(s, singles, 500, 1, 1);
	for (int i = 0; i < 400; i++)
		assert_int_equal(scheduler_take(s, 0)->device, 0);
	scheduler_remove(s, &list);
	while (scheduler_take(s, 0)->device == 1)
		in_a_row++;
	assert_in_range(in_a_row, 0, 1);
	scheduler_free(s);
}

static void waits_double_up_to_the_maximum(void **state)
{
	static const int64_t want[] = {60000, 120000, 240000, 480000, 960000, 1920000, 3600000, 3600000};
	int64_t wait = 0;

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		wait = retry_wait_ms(60000, 3600000, wait, 0);
		assert_int_equal(wait, want[i]);
	}
}

static void jitter_takes_at_most_a_tenth_and_never_stops_the_doubling(void **state)
{
	(void)state;
	for (unsigned random = 0; random < 2000; random += 37) {
		int64_t wait = 0, full = 30000;
		for (int i = 0; i < 12; i++) {
			full = full * 2 > 3600000 ? 3600000 : full * 2;
			wait = retry_wait_ms(60000, 3600000, wait, random + (unsigned)i * 331);
			assert_in_range(wait, full - full / 10, full);
		}
	}
}

static void a_first_wait_as_long_as_the_maximum_stays(void **state)
{
	(void)state;
	assert_int_equal(retry_wait_ms(5000, 5000, 0, 0), 5000);
	assert_int_equal(retry_wait_ms(5000, 5000, 5000, 0), 5000);
}

static const struct cause transient = {.name = "t", .outcome = OUTCOME_T, .cause = "", .remedy = ""};
static const struct cause config_cause = {
    .name = "c", .outcome = OUTCOME_C, .hold = {600, 1, 600, false}, .cause = "", .remedy = ""};
static const struct cause slow = {
    .name = "s", .outcome = OUTCOME_S, .hold = {60, 2, 300, false}, .cause = "", .remedy = ""};

static void a_road_is_held_probed_and_opened_by_a_proof(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &transient};

	(void)state;
	assert_true(road_usable(&road, 0));
	assert_int_equal(road_hold(&road, &why, 1000, 60000, 5000, 0), 1000);
	assert_false(road_usable(&road, 5999));
	assert_true(road_usable(&road, 6000));
	assert_int_equal(road.health, ROAD_PROBING);
	assert_true(road_proved(&road));
	assert_int_equal(road.health, ROAD_OPEN);
	assert_false(road_proved(&road));
}

static void a_failed_probe_doubles_the_hold(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &transient};
	int64_t now = 0;

	(void)state;
	for (int64_t want = 1000; want <= 64000; want *= 2) {
		int64_t held = road_hold(&road, &why, 1000, 60000, now, 0);
		assert_int_equal(held, want > 60000 ? 60000 : want);
		now += held;
		assert_true(road_usable(&road, now));
	}
}

static void what_only_a_person_can_mend_is_looked_at_as_often_as_before(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &config_cause};

	(void)state;
	for (int64_t now = 0; now < 3 * 600000; now += 600000) {
		assert_int_equal(road_hold(&road, &why, 1000, 3600000, now, 0), 600000);
		assert_true(road_usable(&road, now + 600000));
	}
}

static void trouble_while_it_is_held_makes_the_hold_no_longer(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &transient}, other = {.cause = &config_cause};

	(void)state;
	road_hold(&road, &why, 1000, 60000, 0, 0);
	assert_int_equal(road_hold(&road, &other, 1000, 60000, 400, 0), 600);
	assert_true(road_usable(&road, 1000));
	assert_ptr_equal(road.why.cause, &config_cause);
}

static void the_cause_asks_for_its_hold_and_the_config_caps_it(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &slow};

	(void)state;
	assert_int_equal(road_hold(&road, &why, 1000, 3600000, 0, 0), 60000);
	road = (struct road){0};
	assert_int_equal(road_hold(&road, &why, 1000, 4000, 0, 0), 4000);
	road = (struct road){0};
	why.retry_after_s = 90;
	assert_int_equal(road_hold(&road, &why, 1000, 4000, 0, 0), 90000);
}

static void a_hold_grows_as_its_cause_says_while_the_cause_stays(void **state)
{
	static const struct cause rate = {
	    .name = "r", .outcome = OUTCOME_S, .hold = {60, 15, 3600, false}, .cause = "", .remedy = ""};
	static const int64_t want_s[] = {60, 900, 3600, 3600};
	struct road road = {0};
	struct failure why = {.cause = &rate}, other = {.cause = &slow};
	int64_t now = 0;

	(void)state;
	for (size_t i = 0; i < sizeof want_s / sizeof want_s[0]; i++) {
		int64_t held = road_hold(&road, &why, 1000, 7200000, now, 0);
		assert_int_equal(held, want_s[i] * 1000);
		now += held;
		assert_true(road_usable(&road, now));
	}
	assert_int_equal(road_hold(&road, &other, 1000, 7200000, now, 0), 60000);
	assert_true(road_usable(&road, now + 60000));
	assert_int_equal(road_hold(&road, &other, 1000, 7200000, now + 60000, 999), 120000 - 11988);
}

static void a_broken_connection_after_a_long_hold_is_tried_again_soon(void **state)
{
	static const struct cause daily = {
	    .name = "d", .outcome = OUTCOME_S, .hold = {3600, 1, 3600, false}, .cause = "", .remedy = ""};
	struct road road = {0};
	struct failure why = {.cause = &daily}, cut = {.cause = &transient};

	(void)state;
	assert_int_equal(road_hold(&road, &why, 1000, 7200000, 0, 0), 3600000);
	assert_true(road_usable(&road, 3600000));
	assert_int_equal(road_hold(&road, &cut, 1000, 7200000, 3600000, 0), 1000);
	assert_true(road_usable(&road, 3601000));
	assert_int_equal(road_hold(&road, &cut, 1000, 7200000, 3601000, 0), 2000);
}

static const struct cause blocked = {.name = "b",
    .outcome = OUTCOME_S,
    .hold = {3600, 2, 21600, false, true},
    .cause = "",
    .remedy = ""};

static void a_blocked_mailbox_is_asked_as_seldom_as_its_cause_says(void **state)
{
	static const int64_t want_h[] = {1, 2, 4, 6, 6};
	struct road road = {0};
	struct failure why = {.cause = &blocked};
	int64_t now = 0;

	(void)state;
	for (size_t i = 0; i < sizeof want_h / sizeof want_h[0]; i++) {
		int64_t held = road_hold(&road, &why, 1000, 3600000, now, 0);
		assert_int_equal(held, want_h[i] * 3600000);
		now += held;
		assert_true(road_usable(&road, now));
	}
}

static void configuration_raises_the_alarm_at_once_and_trouble_after_a_while(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &transient}, c = {.cause = &config_cause};

	(void)state;
	assert_false(road_alarm(&road, 0));
	road_hold(&road, &why, 1000, 60000, 0, 0);
	assert_false(road_alarm(&road, ROAD_ALARM_MS - 1));
	assert_true(road_alarm(&road, ROAD_ALARM_MS));
	road = (struct road){0};
	road_hold(&road, &c, 1000, 60000, 0, 0);
	assert_true(road_alarm(&road, 1));
}

static void a_success_that_was_under_way_does_not_end_a_hold(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &slow};

	(void)state;
	road_hold(&road, &why, 1000, 3600000, 0, 0);
	assert_false(road_proved(&road));
	assert_false(road_usable(&road, 59999));
}

static void a_broken_connection_does_not_hide_a_wrong_configuration(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &transient}, c = {.cause = &config_cause};

	(void)state;
	road_hold(&road, &c, 1000, 3600000, 0, 0);
	road_hold(&road, &why, 1000, 3600000, 5, 0);
	assert_ptr_equal(road.why.cause, &config_cause);
	assert_true(road_alarm(&road, 6));
}

static void a_broken_connection_does_not_hide_what_the_other_side_has_asked_for(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &blocked}, cut = {.cause = &transient};

	(void)state;
	road_hold(&road, &why, 1000, 3600000, 0, 0);
	road_hold(&road, &cut, 1000, 3600000, 5, 0);
	assert_ptr_equal(road.why.cause, &blocked);
	assert_true(road_usable(&road, 3600000));
	assert_int_equal(road_hold(&road, &why, 1000, 3600000, 3600000, 0), 7200000);
}

static void a_person_can_end_a_hold(void **state)
{
	struct road road = {0};
	struct failure why = {.cause = &config_cause};

	(void)state;
	road_hold(&road, &why, 1000, 3600000, 0, 0);
	road_release(&road);
	assert_true(road_usable(&road, 1));
	assert_int_equal(road.health, ROAD_PROBING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_become_ready_in_the_order_of_their_time),
	    cmocka_unit_test(roads_have_lines_of_their_own),
	    cmocka_unit_test(a_part_can_be_taken_out_wherever_it_is),
	    cmocka_unit_test(many_parts_come_out_sorted),
	    cmocka_unit_test(one_message_waits_for_one_of_ten_thousand),
	    cmocka_unit_test(one_message_waits_for_one_of_each_of_forty_devices),
	    cmocka_unit_test(shares_are_counted_in_recipients),
	    cmocka_unit_test(what_was_saved_up_for_a_message_that_has_left_is_not_for_the_next),
	    cmocka_unit_test(waits_double_up_to_the_maximum),
	    cmocka_unit_test(jitter_takes_at_most_a_tenth_and_never_stops_the_doubling),
	    cmocka_unit_test(a_first_wait_as_long_as_the_maximum_stays),
	    cmocka_unit_test(a_road_is_held_probed_and_opened_by_a_proof),
	    cmocka_unit_test(a_failed_probe_doubles_the_hold),
	    cmocka_unit_test(what_only_a_person_can_mend_is_looked_at_as_often_as_before),
	    cmocka_unit_test(trouble_while_it_is_held_makes_the_hold_no_longer),
	    cmocka_unit_test(the_cause_asks_for_its_hold_and_the_config_caps_it),
	    cmocka_unit_test(a_hold_grows_as_its_cause_says_while_the_cause_stays),
	    cmocka_unit_test(a_broken_connection_after_a_long_hold_is_tried_again_soon),
	    cmocka_unit_test(a_blocked_mailbox_is_asked_as_seldom_as_its_cause_says),
	    cmocka_unit_test(configuration_raises_the_alarm_at_once_and_trouble_after_a_while),
	    cmocka_unit_test(a_success_that_was_under_way_does_not_end_a_hold),
	    cmocka_unit_test(a_broken_connection_does_not_hide_a_wrong_configuration),
	    cmocka_unit_test(a_broken_connection_does_not_hide_what_the_other_side_has_asked_for),
	    cmocka_unit_test(a_person_can_end_a_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
