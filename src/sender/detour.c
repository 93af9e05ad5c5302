#include "sender/detour.h"

#include <string.h>

#include "config/config.h"
#include "sender/road.h"
#include "spool/state.h"

void detours_note(
    struct detours *detours, unsigned index, const struct road *road, bool is_full, int64_t now_ms)
{
	if (!road_is_down(road, now_ms) && !is_full)
		return;
	detours->down |= ROAD_BIT(index);
	if (road_is_lost(road, now_ms))
		detours->lost |= ROAD_BIT(index);
	if (road->health == ROAD_PROBING && !is_full)
		detours->probing |= ROAD_BIT(index);
}

bool detours_equal(const struct detours *a, const struct detours *b)
{
	return a->down == b->down && a->lost == b->lost && a->probing == b->probing;
}

static bool is_in(uint64_t roads, size_t road)
{
	return (roads & ROAD_BIT(road)) != 0;
}

static bool is_refused(const struct config *config, const struct recipient_state *recipient, size_t road)
{
	return recipient != NULL && state_is_refused_by(recipient, config->upstreams[road].name);
}

static bool perhaps_has_it(const struct config *config, const struct recipient_state *recipient, size_t road)
{
	return recipient != NULL && strcmp(recipient->perhaps_taken_by, config->upstreams[road].name) == 0;
}

unsigned detour_road(const struct config *config, const struct route *route,
    const struct recipient_state *recipient, const struct detours *detours)
{
	size_t best = SIZE_MAX, best_down = SIZE_MAX;

	for (size_t i = 0; i < route->via_count; i++) {
		size_t road = route->via[i];
		if (is_refused(config, recipient, road))
			continue;
		if (perhaps_has_it(config, recipient, road) && !is_in(detours->lost, road))
			return (unsigned)road;
		if (!is_in(detours->down, road) && best == SIZE_MAX)
			best = road;
		if (best_down == SIZE_MAX)
			best_down = road;
	}
	if (best != SIZE_MAX)
		return (unsigned)best;
	/* All have refused only where the config has changed since. */
	return (unsigned)(best_down != SIZE_MAX ? best_down : route->via[0]);
}

bool detour_has_other(const struct config *config, const struct route *route,
    const struct recipient_state *recipient, unsigned road)
{
	for (size_t i = 0; i < route->via_count; i++)
		if (route->via[i] != road && !is_refused(config, recipient, route->via[i]))
			return true;
	return false;
}
