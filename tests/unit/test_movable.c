/* movable.c, by way of scheduler.c: which of the parts ready on a road are to go by another, and how much is looked at to tell. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "sender/detour.h"
#include "sender/scheduler.h"

enum { MANY = 50000 };

static const struct detours well = {0, 0, 0}, down = {1, 0, 0}, tried = {1, 0, 1};
static struct part many[MANY];
static struct scheduler *scheduler;
static size_t looks;

/* In place of detour.c's. */
bool detours_equal(const struct detours *a, const struct detours *b)
{
	looks++;
	return a->down == b->down && a->lost == b->lost && a->probing == b->probing;
}

static int set_up(void **state)
{
	(void)state;
	scheduler = scheduler_new(2, 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scheduler_free(scheduler);
	return 0;
}

static void add_many(const struct detours *seen)
{
	for (size_t i = 0; i < MANY; i++) {
		many[i] = (struct part){.recipients = 1, .seen = seen};
		scheduler_add(scheduler, &many[i], 0, 0);
	}
}

static struct part *outdated(const struct detours *now)
{
	return scheduler_outdated(scheduler, 0, now);
}

static void one_that_falls_due_is_found_without_a_look_at_those_that_stay(void **state)
{
	struct part late = {.recipients = 1, .seen = &well};

	(void)state;
	add_many(&down);
	scheduler_add(scheduler, &late, 0, 10);
	assert_null(outdated(&down));
	looks = 0;
	assert_true(scheduler_advance(scheduler, 10));
	assert_ptr_equal(outdated(&down), &late);
	scheduler_remove(scheduler, &late);
	assert_null(outdated(&down));
	assert_true(looks <= 4);
	/* And those keep their turns. */
	for (size_t i = 0; i < MANY; i++)
		assert_ptr_equal(scheduler_take(scheduler, 0), &many[i]);
}

static void each_that_a_change_moves_is_looked_at_once(void **state)
{
	(void)state;
	add_many(&well);
	looks = 0;
	for (size_t i = 0; i < MANY; i++) {
		assert_ptr_equal(outdated(&down), &many[i]);
		scheduler_remove(scheduler, &many[i]);
	}
	assert_null(outdated(&down));
	assert_int_equal(looks, MANY);
}

static void a_change_that_is_taken_back_moves_what_was_planned_in_between(void **state)
{
	struct part between = {.recipients = 1, .seen = &tried};

	(void)state;
	add_many(&down);
	scheduler_add(scheduler, &between, 0, 0);
	looks = 0;
	assert_ptr_equal(outdated(&down), &between);
	scheduler_remove(scheduler, &between);
	assert_null(outdated(&down));
	assert_true(looks <= 4);
}

static void what_stays_on_its_road_is_never_found(void **state)
{
	struct part only = {.recipients = 1}, elsewhere = {.road = 1, .recipients = 1, .seen = &well},
		    pinned = {.recipients = 1, .seen = &well}, pinned_early = pinned;

	(void)state;
	scheduler_add(scheduler, &only, 0, 0);
	scheduler_add(scheduler, &elsewhere, 0, 0);
	scheduler_add(scheduler, &pinned, 0, 0);
	scheduler_add(scheduler, &pinned_early, 0, 10);
	assert_ptr_equal(outdated(&down), &pinned);
	scheduler_pin(scheduler, &pinned);
	scheduler_pin(scheduler, &pinned_early);
	scheduler_advance(scheduler, 10);
	assert_int_equal(scheduler_ready(scheduler, 0), 3);
	assert_null(outdated(&down));
	assert_ptr_equal(scheduler_outdated(scheduler, 1, &down), &elsewhere);
}

static void what_was_taken_is_not_found(void **state)
{
	struct part first = {.recipients = 1, .seen = &well}, second = first;

	(void)state;
	scheduler_add(scheduler, &first, 0, 0);
	scheduler_add(scheduler, &second, 0, 0);
	assert_ptr_equal(scheduler_take(scheduler, 0), &first);
	assert_ptr_equal(outdated(&down), &second);
	assert_ptr_equal(scheduler_take(scheduler, 0), &second);
	assert_null(outdated(&down));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_that_falls_due_is_found_without_a_look_at_those_that_stay),
	    TEST(each_that_a_change_moves_is_looked_at_once),
	    TEST(a_change_that_is_taken_back_moves_what_was_planned_in_between),
	    TEST(what_stays_on_its_road_is_never_found),
	    TEST(what_was_taken_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
