/* Which of a route's upstreams a recipient takes. The first, unless that one has left it to others or is in trouble; back to
 * the first when it is in order again. Pure. */
#ifndef MFDRELAY_SENDER_DETOUR_H
#define MFDRELAY_SENDER_DETOUR_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct recipient_state;
struct road;
struct route;

/* Sets of roads, a bit for each upstream by its index (the config has 64 at most). */
struct detours {
	uint64_t down;		/* in trouble, or full for long: mail goes round them where its route has another */
	uint64_t lost;		/* those that have been down for an hour */
	uint64_t probing;	/* those down whose hold is over: a message is to show whether they are in order */
};
#define ROAD_BIT(road) (UINT64_C(1) << (road))

bool detours_equal(const struct detours *a, const struct detours *b);

/* Add a road to the sets it belongs to now (monotonic). is_full: its send windows have no room for longer than ROAD_SLOW_MS, as if
 * the server had asked for such a pause; it then carries no message that could show anything. */
void detours_note(struct detours *detours, unsigned index, const struct road *road, bool is_full, int64_t now_ms);

/* The road for a recipient of a route; recipient NULL: for one of which nothing is known. Where all that could take it are
 * down, it waits for the first of them. A recipient that an upstream perhaps has, all of its content sent and the answer lost,
 * stays with it until that is lost: there alone the repeat may be known for one, and elsewhere it would be a second copy. */
unsigned detour_road(
    const struct config *config, const struct route *route, const struct recipient_state *recipient, const struct detours *detours);

/* Whether the recipient could go by another road than this one, now or when others are down. */
bool detour_has_other(
    const struct config *config, const struct route *route, const struct recipient_state *recipient, unsigned road);

#endif
