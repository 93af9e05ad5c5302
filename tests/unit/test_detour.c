#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "sender/detour.h"
#include "sender/road.h"
#include "spool/state.h"

enum { FIRST, SECOND, THIRD, OTHER };

static struct upstream_config upstreams[] = {
    {.name = "first"}, {.name = "second"}, {.name = "third"}, {.name = "other"}};
static const struct config config = {.upstreams = upstreams, .upstream_count = 4};
static size_t all[] = {FIRST, SECOND, THIRD};
static const struct route route = {.via = all, .via_count = 3};

#define BIT(road) (1u << (road))

static void the_road_of_a_recipient(void **state)
{
	static const struct {
		const char *label;
		unsigned down, lost;
		const char *refused[3], *perhaps;
		unsigned want;
	} rows[] = {
	    {"the first, where all is well", 0, 0, {NULL}, "", FIRST},
	    {"the second, where the first is down", BIT(FIRST), 0, {NULL}, "", SECOND},
	    {"the third, where two are down", BIT(FIRST) | BIT(SECOND), 0, {NULL}, "", THIRD},
	    {"the first, where all are down", BIT(FIRST) | BIT(SECOND) | BIT(THIRD), 0, {NULL}, "", FIRST},
	    {"another's trouble is nothing", BIT(OTHER), 0, {NULL}, "", FIRST},
	    {"the second, where the first has refused", 0, 0, {"first"}, "", SECOND},
	    {"what has refused is passed over for what is down", BIT(SECOND) | BIT(THIRD), 0, {"first"}, "",
		SECOND},
	    {"the first again, where all have refused", 0, 0, {"first", "second", "third"}, "", FIRST},
	    {"where it perhaps is, though that is down", BIT(FIRST), 0, {NULL}, "first", FIRST},
	    {"where it perhaps is, though one before it is well", 0, 0, {NULL}, "second", SECOND},
	    {"not where it perhaps is, when that is lost", BIT(FIRST), BIT(FIRST), {NULL}, "first", SECOND},
	    {"not where it perhaps is, when that has refused it since", 0, 0, {"first"}, "first", SECOND},
	    {"not where it perhaps is, when the route no longer has that", 0, 0, {NULL}, "other", FIRST},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct detours detours = {.down = rows[i].down, .lost = rows[i].lost};
		struct state recipients;
		state_init(&recipients, 1);
		for (size_t j = 0; j < 3 && rows[i].refused[j] != NULL; j++)
			state_add_refusal(&recipients.recipients[0], rows[i].refused[j]);
		state_set_perhaps_taken(&recipients.recipients[0], rows[i].perhaps);
		unsigned got = detour_road(&config, &route, &recipients.recipients[0], &detours);
		if (got != rows[i].want)
			fail_msg("%s: got %s", rows[i].label, upstreams[got].name);
		state_free(&recipients);
	}
	assert_int_equal(detour_road(&config, &route, NULL, &(struct detours){.down = BIT(FIRST)}), SECOND);
}

static void what_is_left_to_try(void **state)
{
	struct state recipients;

	(void)state;
	state_init(&recipients, 1);
	struct recipient_state *recipient = &recipients.recipients[0];
	assert_true(detour_has_other(&config, &route, recipient, FIRST));
	state_add_refusal(recipient, "second");
	assert_true(detour_has_other(&config, &route, recipient, FIRST));
	assert_true(detour_has_other(&config, &route, recipient, THIRD));
	state_add_refusal(recipient, "third");
	assert_false(detour_has_other(&config, &route, recipient, FIRST));
	state_free(&recipients);
}

static const struct cause unreachable = {.name = "unreachable", .outcome = OUTCOME_T};
static const struct cause refused = {.name = "refused", .outcome = OUTCOME_C, .hold = {600, 1, 600}};
static const struct cause pace = {.name = "pace", .outcome = OUTCOME_S, .hold = {60, 1, 60}};
static const struct cause day = {.name = "day", .outcome = OUTCOME_S, .hold = {3600, 1, 3600}};

static void a_road_is_down_when_it_is_more_than_slow(void **state)
{
	static const struct {
		const struct cause *cause;
		bool down;
	} rows[] = {{&unreachable, true}, {&refused, true}, {&day, true}, {&pace, false}};
	const int64_t hour_ms = 3600000;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct road road = {.health = ROAD_OPEN};
		struct failure why = {.cause = rows[i].cause};
		assert_false(road_is_down(&road, 0));
		road_hold(&road, &why, 60000, hour_ms, 1000, 0);
		assert_int_equal(road_is_down(&road, 1000), rows[i].down);
		assert_false(road_is_lost(&road, hour_ms));
		/* A probe under way proves nothing yet. */
		road_release(&road);
		assert_int_equal(road_is_down(&road, 2000), rows[i].down);
		road_hold(&road, &why, 60000, hour_ms, hour_ms, 0);
		assert_true(road_is_down(&road, hour_ms));
		assert_true(road_is_lost(&road, hour_ms + 1000));
		road_release(&road);
		assert_true(road_proved(&road));
		assert_false(road_is_down(&road, 2 * hour_ms));
	}
}

static void a_road_is_down_from_the_hold_on_that_ends_beyond_ten_minutes(void **state)
{
	static const struct cause slower = {
	    .name = "slower", .outcome = OUTCOME_S, .hold = {240, 2, 480, .own_max = true}};
	struct failure why = {.cause = &slower};
	struct road road = {.health = ROAD_OPEN};
	int64_t held_ms = road_hold(&road, &why, 60000, 60000, 0, 0);

	(void)state;
	assert_false(road_is_down(&road, held_ms - 1));
	assert_true(road_usable(&road, held_ms));
	assert_false(road_is_down(&road, held_ms));
	/* Nobody need wait for the tenth minute to pass within it. */
	assert_true(road_hold(&road, &why, 60000, 60000, held_ms, 0) < ROAD_SLOW_MS);
	assert_true(road_is_down(&road, held_ms));
}

static void sets_of_roads(void **state)
{
	struct failure why = {.cause = &unreachable};
	struct road held = {.health = ROAD_OPEN}, probing = {.health = ROAD_OPEN},
		    open = {.health = ROAD_OPEN};
	struct detours detours = {0, 0, 0};

	(void)state;
	road_hold(&held, &why, 60000, 60000, 0, 0);
	road_hold(&probing, &why, 60000, 60000, 0, 0);
	road_release(&probing);
	detours_note(&detours, 0, &open, false, 1000);
	detours_note(&detours, 1, &held, false, 1000);
	detours_note(&detours, 63, &probing, false, ROAD_LOST_MS);
	assert_true(detours.down == (UINT64_C(2) | UINT64_C(1) << 63));
	assert_true(detours.probing == UINT64_C(1) << 63);
	assert_true(detours.lost == UINT64_C(1) << 63);
}

static void a_road_whose_window_is_full_for_long_is_down_and_nothing_else(void **state)
{
	struct failure why = {.cause = &unreachable};
	struct road open = {.health = ROAD_OPEN}, probing = {.health = ROAD_OPEN};
	struct detours detours = {0, 0, 0};

	(void)state;
	road_hold(&probing, &why, 60000, 60000, 0, 0);
	road_release(&probing);
	detours_note(&detours, FIRST, &open, true, 10 * (int64_t)ROAD_LOST_MS);
	assert_true(detours.down == BIT(FIRST) && detours.lost == 0 && detours.probing == 0);
	assert_int_equal(detour_road(&config, &route, NULL, &detours), SECOND);
	/* No message could go there as a probe. */
	detours_note(&detours, SECOND, &probing, true, 1000);
	assert_true(detours.down == (BIT(FIRST) | BIT(SECOND)) && detours.probing == 0);
	assert_int_equal(detour_road(&config, &route, NULL, &detours), THIRD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_road_of_a_recipient),
	    cmocka_unit_test(what_is_left_to_try),
	    cmocka_unit_test(a_road_is_down_when_it_is_more_than_slow),
	    cmocka_unit_test(a_road_is_down_from_the_hold_on_that_ends_beyond_ten_minutes),
	    cmocka_unit_test(sets_of_roads),
	    cmocka_unit_test(a_road_whose_window_is_full_for_long_is_down_and_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
