/* The health of one road (an upstream): open, held until a time, or probed by a single connection after a hold. Pure; the clock
 * is an argument (monotonic milliseconds). */
#ifndef MFDRELAY_SENDER_ROAD_H
#define MFDRELAY_SENDER_ROAD_H

#include <stdbool.h>
#include <stdint.h>
#include "catalogue/catalogue.h"

#define ROAD_ALARM_MS 900000	/* trouble that lasts this long raises the alarm; class C raises it at once */

struct road {
	enum { ROAD_OPEN, ROAD_HELD, ROAD_PROBING } health;
	int64_t held_until_ms;
	int64_t wait_ms;	/* the present hold */
	unsigned again;		/* how often it has been held anew for the same cause */
	int64_t trouble_since_ms;
	struct failure why;	/* while not ROAD_OPEN */
};

/* Hold the road because of why. The wait is the server's Retry-After, or as the cause's struct hold says, or else first_ms
 * doubling from hold to hold; max_ms caps all but Retry-After and what has a limit of its own (own_max). Further trouble while it is held changes only the reason. Returns how long it
 * is held, in ms from now. */
int64_t road_hold(struct road *road, const struct failure *why, int64_t first_ms, int64_t max_ms, int64_t now_ms,
    unsigned random);

/* A message has gone through: unless the road is held just now (then it was under way before), all is well. Returns whether
 * that ended a trouble. */
bool road_proved(struct road *road);

/* Whether it may carry anything now; a hold whose time is over becomes a probe. */
bool road_usable(struct road *road, int64_t now_ms);

/* End a hold now, at a person's wish: the next connection is a probe. */
void road_release(struct road *road);

/* Whether mail had better go another way: it is in trouble, and not only asked to slow down for some minutes, counted to the end
 * of the present hold. From its hold on until a message has gone through. */
#define ROAD_SLOW_MS 600000
bool road_is_down(const struct road *road, int64_t now_ms);

/* Whether it has been down for so long that what it perhaps has is sent another way. */
#define ROAD_LOST_MS 3600000
bool road_is_lost(const struct road *road, int64_t now_ms);

/* Whether a person must look: class C, or trouble for ROAD_ALARM_MS. */
bool road_alarm(const struct road *road, int64_t now_ms);

#endif
