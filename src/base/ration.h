/* Rates of what others can bring about: so many at once, and after that one in a certain time (the "generic cell rate
 * algorithm" of ITU-T I.371, a token bucket in one number). Pure; the clock is an argument, in monotonic ms. */
#ifndef MFDRELAY_BASE_RATION_H
#define MFDRELAY_BASE_RATION_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised nothing has been taken from it. */
struct ration {
	int64_t due_us;		/* when all that was taken is paid for */
};

struct ration_rate {
	int64_t every_us;	/* one in so long, on average; above 0 */
	unsigned burst;		/* so many at once; at least 1 */
};

/* Take one. Returns in how many ms its turn is (0: now), or -1, nothing taken, where that would be more than wait_max_ms. */
int64_t ration_take(struct ration *ration, const struct ration_rate *rate, int64_t wait_max_ms, int64_t now_ms);

/* A kind of line in the log that others can bring about as often as they like: 60 at once, so that each of many
 * devices is heard of, then one a second. */
struct quiet {
	struct ration ration;
	uint64_t withheld;	/* since the last one that was let through: a word about them belongs into the next */
};

/* Whether the log may have one more; withheld is set to what was kept back before it (and counted anew). */
bool quiet_lets(struct quiet *quiet, uint64_t *withheld, int64_t now_ms);

#endif
