#include "sender/road.h"

#include "sender/scheduler.h"

static bool needs_a_person(const struct failure *why)
{
	return why->cause->outcome == OUTCOME_C || why->cause->outcome == OUTCOME_A;
}

static int64_t hold_ms(
    const struct road *road, const struct failure *why, int64_t first_ms, int64_t max_ms, unsigned random)
{
	int64_t wait_ms =
	    retry_wait_ms(first_ms, max_ms, road->health == ROAD_OPEN ? 0 : road->wait_ms, random);
	int64_t asked_ms = (int64_t)why->cause->hold_s * 1000;

	/* What only a person can mend may be mended at any time: it is looked at as often as the cause says. */
	if (asked_ms > wait_ms || (asked_ms > 0 && needs_a_person(why)))
		wait_ms = asked_ms < max_ms ? asked_ms : max_ms;
	if (why->retry_after_s * 1000 > wait_ms)
		wait_ms = why->retry_after_s * 1000;
	return wait_ms;
}

int64_t road_hold(struct road *road, const struct failure *why, int64_t first_ms, int64_t max_ms,
    int64_t now_ms, unsigned random)
{
	if (road->health == ROAD_HELD) {
		/* A broken connection must not hide what only a person can mend. */
		if (!needs_a_person(&road->why))
			road->why = *why;
		return road->held_until_ms - now_ms;
	}
	road->why = *why;
	if (road->health == ROAD_OPEN)
		road->trouble_since_ms = now_ms;
	road->wait_ms = hold_ms(road, why, first_ms, max_ms, random);
	road->health = ROAD_HELD;
	road->held_until_ms = now_ms + road->wait_ms;
	return road->wait_ms;
}

bool road_proved(struct road *road)
{
	bool was_in_trouble = road->health != ROAD_OPEN;

	/* What was under way as the hold began proves nothing about its cause. */
	if (road->health == ROAD_HELD)
		return false;
	*road = (struct road){.health = ROAD_OPEN};
	return was_in_trouble;
}

bool road_usable(struct road *road, int64_t now_ms)
{
	if (road->health == ROAD_HELD && now_ms >= road->held_until_ms)
		road->health = ROAD_PROBING;
	return road->health != ROAD_HELD;
}

void road_release(struct road *road)
{
	if (road->health == ROAD_HELD)
		road->health = ROAD_PROBING;
}

bool road_alarm(const struct road *road, int64_t now_ms)
{
	if (road->health == ROAD_OPEN)
		return false;
	return needs_a_person(&road->why) || now_ms - road->trouble_since_ms >= ROAD_ALARM_MS;
}
