#include "sender/road.h"

#include "sender/scheduler.h"

static bool needs_a_person(const struct failure *why)
{
	return why->cause->outcome == OUTCOME_C || why->cause->outcome == OUTCOME_A;
}

/* What the cause asks, less a tenth of jitter at most, as in retry_wait_ms(). */
static int64_t asked_ms(const struct hold *hold, unsigned again, int64_t max_ms, unsigned random)
{
	int64_t wait_s = hold->first_s;

	while (again-- > 0 && hold->growth > 1 && wait_s < hold->max_s)
		wait_s *= hold->growth;
	if (wait_s > hold->max_s)
		wait_s = hold->max_s;
	if (wait_s * 1000 > max_ms && !hold->own_max)
		return max_ms;
	return wait_s * 1000 - wait_s * 100 * (int64_t)(random % 1000) / 1000;
}

/* The cause says how long, and not the config's retry. */
static bool is_paced(const struct failure *why)
{
	return why->cause->hold.first_s > 0 && why->cause->hold.first_s < IN_HALVES;
}

/* Before road knows of why. */
static int64_t hold_ms(
    const struct road *road, const struct failure *why, int64_t first_ms, int64_t max_ms, unsigned random)
{
	int64_t before_ms = road->health == ROAD_OPEN || is_paced(&road->why) ? 0 : road->wait_ms;
	int64_t wait_ms = is_paced(why) ? asked_ms(&why->cause->hold, road->again, max_ms, random)
					: retry_wait_ms(first_ms, max_ms, before_ms, random);

	return why->retry_after_s * 1000 > wait_ms ? why->retry_after_s * 1000 : wait_ms;
}

/* A broken connection must not hide what only a person can mend, nor for how long the other side has asked. */
static bool outweighs(const struct failure *now, const struct failure *before)
{
	return !needs_a_person(before) && (needs_a_person(now) || !is_paced(before));
}

int64_t road_hold(struct road *road, const struct failure *why, int64_t first_ms, int64_t max_ms,
    int64_t now_ms, unsigned random)
{
	if (road->health == ROAD_HELD) {
		if (outweighs(why, &road->why))
			road->why = *why;
		return road->held_until_ms - now_ms;
	}
	road->again = road->health != ROAD_OPEN && road->why.cause == why->cause ? road->again + 1 : 0;
	if (road->health == ROAD_OPEN)
		road->trouble_since_ms = now_ms;
	road->wait_ms = hold_ms(road, why, first_ms, max_ms, random);
	road->why = *why;
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

bool road_is_down(const struct road *road, int64_t now_ms)
{
	if (road->health == ROAD_OPEN)
		return false;
	/* How long it has been so, or will have been when the present hold ends. */
	int64_t until_ms = road->health == ROAD_HELD ? road->held_until_ms : now_ms;
	return road->why.cause->outcome != OUTCOME_S || road->wait_ms > ROAD_SLOW_MS ||
	       until_ms - road->trouble_since_ms > ROAD_SLOW_MS;
}

bool road_is_lost(const struct road *road, int64_t now_ms)
{
	return road_is_down(road, now_ms) && now_ms - road->trouble_since_ms >= ROAD_LOST_MS;
}
