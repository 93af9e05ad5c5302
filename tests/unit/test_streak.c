/* streak.c: when what one message is refused for is the road's trouble. The clock is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "catalogue/catalogue.h"
#include "sender/streak.h"

static const struct cause denied = {.name = "send-as-denied", .outcome = OUTCOME_P};
static const struct cause unlinked = {.name = "sender-domain-not-linked", .outcome = OUTCOME_P};
static const struct cause region = {.name = "wrong-region", .outcome = OUTCOME_T};

/* How many of so many refusals, of devices that take turns, it takes until the road bears them; 0: all do not. */
static unsigned refusals(struct streak *streak, const struct cause *cause, unsigned most, unsigned devices)
{
	static const char *const names[] = {"floor-1", "floor-2", "floor-3"};

	for (unsigned i = 1; i <= most; i++)
		if (streak_add(streak, cause, names[i % devices], "scan@x.test", i))
			return i;
	return 0;
}

static void five_messages_in_a_row_are_the_roads_trouble(void **state)
{
	struct streak streak = {.cause = NULL};

	(void)state;
	assert_int_equal(refusals(&streak, &denied, 100, 2), STREAK_MESSAGES);
	assert_true(streak_add(&streak, &denied, "floor-1", "scan@x.test", 0));
	streak = (struct streak){.cause = NULL};
	assert_int_equal(refusals(&streak, &denied, 100, 3), STREAK_MESSAGES);
}

static void one_that_was_delivered_begins_it_anew(void **state)
{
	struct streak streak = {.cause = NULL};

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(refusals(&streak, &denied, STREAK_MESSAGES - 1, 2), 0);
		streak = (struct streak){.cause = NULL};
	}
}

static void another_cause_begins_it_anew(void **state)
{
	struct streak streak = {.cause = NULL};

	(void)state;
	assert_int_equal(refusals(&streak, &denied, STREAK_MESSAGES - 1, 2), 0);
	assert_int_equal(refusals(&streak, &unlinked, STREAK_MESSAGES, 2), STREAK_MESSAGES);
}

static void a_device_that_is_set_up_wrongly_stops_nobody(void **state)
{
	struct streak streak = {.cause = NULL};

	(void)state;
	assert_int_equal(refusals(&streak, &denied, 1000, 1), 0);
	/* With the second sender it is no longer that device's alone. */
	assert_true(streak_add(&streak, &denied, "floor-2", "scan@x.test", 0));
	streak = (struct streak){.cause = NULL};
	assert_int_equal(refusals(&streak, &denied, 1000, 1), 0);
	assert_true(streak_add(&streak, &denied, "floor-1", "anna@x.test", 0));
}

static void what_is_transient_is_the_roads_once_it_has_lasted_an_hour(void **state)
{
	struct streak streak = {.cause = NULL};

	(void)state;
	assert_false(streak_add(&streak, &region, "floor-1", "scan@x.test", 5000));
	for (int64_t at = 6000; at < 5000 + STREAK_MS; at += 60000)
		assert_false(streak_add(&streak, &region, "floor-1", "scan@x.test", at));
	assert_false(streak_add(&streak, &region, "floor-1", "scan@x.test", 5000 + STREAK_MS - 1));
	assert_true(streak_add(&streak, &region, "floor-1", "scan@x.test", 5000 + STREAK_MS));
	streak = (struct streak){.cause = NULL};
	assert_false(streak_add(&streak, &region, "floor-1", "scan@x.test", 5000 + STREAK_MS));
}

static void what_was_the_roads_trouble_is_so_from_the_first_message_on(void **state)
{
	struct streak streak;

	(void)state;
	streak_resume(&streak, cause_of_all(&denied));
	assert_true(streak_add(&streak, &denied, "floor-1", "scan@x.test", 0));
	streak_resume(&streak, cause_of_all(&region));
	assert_true(streak_add(&streak, &region, "floor-1", "scan@x.test", 5000));
	assert_false(streak_add(&streak, &denied, "floor-1", "scan@x.test", 5000));
	assert_false(streak.is_roads);
}

static void long_names_are_cut(void **state)
{
	struct streak streak = {.cause = NULL};
	static char name[2 * STREAK_ORIGIN_MAX];

	(void)state;
	memset(name, 'x', sizeof name - 1);
	assert_false(streak_add(&streak, &denied, name, name, 0));
	assert_int_equal(strlen(streak.origin), STREAK_ORIGIN_MAX - 1);
	assert_false(streak_add(&streak, &denied, name, name, 0));
	assert_false(streak.is_of_several);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(five_messages_in_a_row_are_the_roads_trouble),
	    cmocka_unit_test(one_that_was_delivered_begins_it_anew),
	    cmocka_unit_test(another_cause_begins_it_anew),
	    cmocka_unit_test(a_device_that_is_set_up_wrongly_stops_nobody),
	    cmocka_unit_test(what_is_transient_is_the_roads_once_it_has_lasted_an_hour),
	    cmocka_unit_test(what_was_the_roads_trouble_is_so_from_the_first_message_on),
	    cmocka_unit_test(long_names_are_cut),
	};

	return cmocka_run_group_tests_name("streak", tests, NULL, NULL);
}
