/* window.c: how much may be sent within any minute, hour and day, to the edges. The clock is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sender/window.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define START  INT64_C(123456789)

static const struct window_limits submission = {{25, 0, 10000}};

static void send_one(struct window *w, unsigned recipients, int64_t now_ms)
{
	window_begin(w, recipients);
	window_end(w, recipients, recipients, false, now_ms);
}

static int64_t wait_ms(struct window *w, int64_t now_ms)
{
	int64_t ms;

	window_full(w, now_ms, &ms);
	return ms;
}

static void a_burst_fills_the_minute_and_no_more_leaves_in_it(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, &submission, START);
	for (int i = 0; i < 25; i++) {
		assert_int_equal(window_room(&w, START), 10000 - i);
		send_one(&w, 1, START);
	}
	assert_int_equal(window_room(&w, START), 0);
	assert_int_equal(window_used(&w, QUOTA_MINUTE, START), 25);
	assert_int_equal(window_room(&w, START + MINUTE - 1), 0);
	assert_true(window_room(&w, START + MINUTE + SECOND) > 0);
}

static void the_wait_ends_when_there_is_room_and_not_before(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, &submission, START);
	for (int i = 0; i < 25; i++)
		send_one(&w, 1, START + i * SECOND);
	int64_t now = START + 25 * SECOND;
	int64_t wait = wait_ms(&w, now);
	assert_in_range(wait, 35 * SECOND, 36 * SECOND);
	assert_int_equal(window_room(&w, now + wait - 1), 0);
	assert_true(window_room(&w, now + wait) > 0);
}

/* The upstream counts a message at some moment between its begin and its end here: whichever, it never sees a minute with more
 * than the limit. */
static void no_sliding_minute_ever_holds_more_than_the_limit(void **state)
{
	enum { N = 2000 };
	static int64_t seen[N];
	struct window w;
	int64_t now = START;

	(void)state;
	srand(11);
	window_init(&w, &submission, now);
	for (int i = 0; i < N; i += 2) {
		while (window_room(&w, now) == 0)
			now += wait_ms(&w, now);
		/* Two at a time. */
		window_begin(&w, 1);
		bool both = window_room(&w, now) > 0;
		if (both)
			window_begin(&w, 1);
		int64_t took = rand() % 5 == 0 ? rand() % 90000 : rand() % 300;
		seen[i] = now + (took > 0 ? rand() % took : 0);
		seen[i + 1] = both ? now + (took > 0 ? rand() % took : 0) : INT64_MIN;
		now += took;
		window_end(&w, 1, 1, false, now);
		if (both)
			window_end(&w, 1, 1, false, now);
	}
	for (int i = 0; i < N; i++) {
		int within = 0;
		for (int j = 0; j < N && seen[i] != INT64_MIN; j++)
			within += seen[j] >= seen[i] && seen[j] < seen[i] + MINUTE;
		assert_in_range(within, 0, 25);
	}
}

static void five_hundred_messages_take_twenty_bursts(void **state)
{
	struct window w;
	int64_t now = START;

	(void)state;
	window_init(&w, &submission, now);
	for (int i = 0; i < 500; i++) {
		while (window_room(&w, now) == 0)
			now += wait_ms(&w, now);
		send_one(&w, 1, now);
	}
	/* 19 waits of a minute and at most the second that the steps cost. */
	assert_in_range(now - START, 19 * MINUTE, 19 * (MINUTE + SECOND));
}

static void a_message_under_way_counts_until_it_ends_and_then_from_its_end(void **state)
{
	const struct window_limits one = {{1, 0, 0}};
	struct window w;

	(void)state;
	window_init(&w, &one, START);
	window_begin(&w, 3);
	assert_int_equal(window_room(&w, START + HOUR), 0);
	assert_in_range(wait_ms(&w, START + HOUR), 1, MINUTE);
	window_end(&w, 3, 3, false, START + HOUR);
	assert_int_equal(window_room(&w, START + HOUR + MINUTE - 1), 0);
	assert_int_equal(window_room(&w, START + HOUR + MINUTE + SECOND), WINDOW_ANY);
}

static void a_message_that_the_upstream_never_saw_counts_nowhere(void **state)
{
	const struct window_limits one = {{1, 1, 5}};
	struct window w;

	(void)state;
	window_init(&w, &one, START);
	window_begin(&w, 5);
	window_end(&w, 5, 0, true, START);
	assert_int_equal(window_room(&w, START), 5);
	window_begin(&w, 5);
	window_end(&w, 5, 2, false, START);
	assert_int_equal(window_used(&w, QUOTA_DAY, START), 2);
	assert_int_equal(window_used(&w, QUOTA_HOUR, START), 1);
}

static void recipients_of_a_day_come_back_as_the_day_slides(void **state)
{
	const struct window_limits limits = {{0, 0, 100}};
	struct window w;

	(void)state;
	window_init(&w, &limits, START);
	send_one(&w, 60, START);
	assert_int_equal(window_room(&w, START), 40);
	send_one(&w, 40, START + 12 * HOUR);
	assert_int_equal(window_room(&w, START + 12 * HOUR), 0);
	int64_t wait;
	assert_int_equal(window_full(&w, START + 12 * HOUR, &wait), QUOTA_DAY);
	assert_in_range(wait, 12 * HOUR, 12 * HOUR + 15 * MINUTE);
	assert_int_equal(window_room(&w, START + DAY - 1), 0);
	assert_int_equal(window_room(&w, START + DAY + 15 * MINUTE), 60);
	assert_int_equal(window_room(&w, START + DAY + 12 * HOUR + 15 * MINUTE), 100);
}

static void the_longest_wait_is_the_one_that_is_told(void **state)
{
	const struct window_limits acs = {{30, 100, 0}};
	struct window w;
	int64_t now = START, wait;

	(void)state;
	window_init(&w, &acs, now);
	for (int i = 0; i < 100; i++) {
		while (window_room(&w, now) == 0) {
			assert_int_equal(window_full(&w, now, &wait), QUOTA_MINUTE);
			now += wait;
		}
		send_one(&w, 1, now);
	}
	assert_int_equal(window_full(&w, now, &wait), QUOTA_HOUR);
	assert_in_range(now - START + wait, HOUR, HOUR + MINUTE);
	assert_int_equal(window_room(&w, now + wait), WINDOW_ANY);
}

static void no_limit_is_no_limit(void **state)
{
	const struct window_limits none = {{0, 0, 0}};
	struct window w;

	(void)state;
	window_init(&w, &none, START);
	for (int i = 0; i < 100000; i++)
		send_one(&w, 500, START);
	assert_int_equal(window_room(&w, START), WINDOW_ANY);
	assert_int_equal(window_used(&w, QUOTA_DAY, START), 50000000);
}

static void the_stricter_of_two_limits_holds(void **state)
{
	const struct window_limits other = {{0, 100, 500}}, loose = {{30, 0, 600}};
	struct window w;

	(void)state;
	window_init(&w, &submission, START);
	window_tighten(&w, &other);
	window_tighten(&w, &loose);
	assert_int_equal(w.limits.of[QUOTA_MINUTE], 25);
	assert_int_equal(w.limits.of[QUOTA_HOUR], 100);
	assert_int_equal(w.limits.of[QUOTA_DAY], 500);
}

static void fill(struct window *w, int64_t now)
{
	window_init(w, &submission, now);
	for (int i = 0; i < 25; i++)
		send_one(w, 100, now);
}

static void a_restart_goes_on_where_it_was(void **state)
{
	struct window before, after;

	(void)state;
	fill(&before, START);
	window_init(&after, &submission, START + 2);
	window_restore(&after, &before.usage, 2, START + 2);
	assert_int_equal(window_room(&after, START + MINUTE - 1), 0);
	assert_int_equal(window_room(&after, START + MINUTE + SECOND + 2), 7500);
	assert_int_equal(window_room(&after, START + DAY + 15 * MINUTE), 10000);
}

static void a_leap_of_the_wall_clock_while_down_neither_storms_nor_stops(void **state)
{
	static const int64_t leaps[] = {-365 * DAY, -DAY, 0, DAY, 365 * DAY};
	struct window before, after;

	(void)state;
	for (size_t i = 0; i < sizeof leaps / sizeof leaps[0]; i++) {
		int64_t now = 5000; /* the machine has been started anew */
		fill(&before, START);
		window_init(&after, &submission, now);
		window_restore(&after, &before.usage, leaps[i], now);
		assert_int_equal(window_room(&after, now), 0);
		assert_int_equal(window_room(&after, now + MINUTE - SECOND), 0);
		assert_true(window_room(&after, now + MINUTE + SECOND) >= 7500);
		assert_int_equal(window_room(&after, now + DAY + 15 * MINUTE), 10000);
	}
}

static void hours_and_days_grow_older_while_it_is_down(void **state)
{
	struct window before, after;

	(void)state;
	fill(&before, START);
	window_init(&after, &submission, START);
	window_restore(&after, &before.usage, 23 * HOUR, START);
	assert_int_equal(window_used(&after, QUOTA_DAY, START), 2500);
	assert_int_equal(window_used(&after, QUOTA_HOUR, START), 0);
	assert_int_equal(window_used(&after, QUOTA_DAY, START + HOUR - 15 * MINUTE), 2500);
	assert_int_equal(window_used(&after, QUOTA_DAY, START + HOUR + 15 * MINUTE), 0);
}

static void an_unknown_past_counts_as_a_used_up_minute(void **state)
{
	struct window w;

	(void)state;
	window_init(&w, &submission, START);
	window_assume_used(&w, START);
	assert_int_equal(window_room(&w, START + MINUTE - 1), 0);
	assert_int_equal(window_room(&w, START + MINUTE + SECOND), 10000);
}

static void a_limit_lowered_below_what_was_sent_waits_for_it(void **state)
{
	const struct window_limits lower = {{10, 0, 2000}};
	struct window before, after;
	int64_t wait;

	(void)state;
	fill(&before, START);
	window_init(&after, &lower, START);
	window_restore(&after, &before.usage, 0, START);
	assert_int_equal(window_room(&after, START), 0);
	assert_int_equal(window_full(&after, START, &wait), QUOTA_DAY);
	assert_in_range(wait, DAY, DAY + 15 * MINUTE);
}

static void a_machine_suspended_for_a_year_has_an_empty_window(void **state)
{
	struct window w;

	(void)state;
	fill(&w, START);
	assert_int_equal(window_room(&w, START + 365 * DAY), 10000);
	send_one(&w, 1, START + 365 * DAY);
	assert_int_equal(window_used(&w, QUOTA_MINUTE, START + 365 * DAY), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_burst_fills_the_minute_and_no_more_leaves_in_it),
	    cmocka_unit_test(the_wait_ends_when_there_is_room_and_not_before),
	    cmocka_unit_test(no_sliding_minute_ever_holds_more_than_the_limit),
	    cmocka_unit_test(five_hundred_messages_take_twenty_bursts),
	    cmocka_unit_test(a_message_under_way_counts_until_it_ends_and_then_from_its_end),
	    cmocka_unit_test(a_message_that_the_upstream_never_saw_counts_nowhere),
	    cmocka_unit_test(recipients_of_a_day_come_back_as_the_day_slides),
	    cmocka_unit_test(the_longest_wait_is_the_one_that_is_told),
	    cmocka_unit_test(no_limit_is_no_limit),
	    cmocka_unit_test(the_stricter_of_two_limits_holds),
	    cmocka_unit_test(a_restart_goes_on_where_it_was),
	    cmocka_unit_test(a_leap_of_the_wall_clock_while_down_neither_storms_nor_stops),
	    cmocka_unit_test(hours_and_days_grow_older_while_it_is_down),
	    cmocka_unit_test(an_unknown_past_counts_as_a_used_up_minute),
	    cmocka_unit_test(a_limit_lowered_below_what_was_sent_waits_for_it),
	    cmocka_unit_test(a_machine_suspended_for_a_year_has_an_empty_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
