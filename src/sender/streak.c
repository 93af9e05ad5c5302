#include "sender/streak.h"

#include <stdio.h>
#include <string.h>

#include "catalogue/catalogue.h"

void streak_origin(char origin[STREAK_ORIGIN_MAX], const char *device, const char *sender)
{
	snprintf(origin, STREAK_ORIGIN_MAX, "%s %s", device, sender);
}

bool streak_add(
    struct streak *streak, const struct cause *cause, const char *device, const char *sender, int64_t now_ms)
{
	const struct cause *of_all = cause_of_all(cause);
	char origin[STREAK_ORIGIN_MAX];

	streak_origin(origin, device, sender);
	if (streak->cause != of_all) {
		*streak = (struct streak){.cause = of_all, .since_ms = now_ms};
		memcpy(streak->origin, origin, sizeof origin);
	}
	if (streak->messages < STREAK_MESSAGES)
		streak->messages++;
	if (strcmp(streak->origin, origin) != 0)
		streak->is_of_several = true;
	if (cause->outcome == OUTCOME_T ? now_ms - streak->since_ms >= STREAK_MS
					: streak->messages == STREAK_MESSAGES && streak->is_of_several)
		streak->is_roads = true;
	return streak->is_roads;
}

void streak_resume(struct streak *streak, const struct cause *cause)
{
	*streak = (struct streak){.cause = cause, .is_roads = true};
}
