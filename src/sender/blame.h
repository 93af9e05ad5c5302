/* Whose trouble it is that an attempt has brought back: the road's, which is then held for all; its message's alone, which waits
 * for itself; or that of all mail of the mailbox (streak.h), which looks like each message's own. Touches its arguments only; the
 * clock is one of them (monotonic milliseconds). */
#ifndef MFDRELAY_SENDER_BLAME_H
#define MFDRELAY_SENDER_BLAME_H

#include <stdint.h>
#include "sender/streak.h"

struct attempt;
struct cause;
struct failure;
struct lane;

#define BLAMES_MAX 8			/* devices of a lane that are set up wrongly at a time; beyond, the oldest is forgotten */
#define BLAME_OTHERS_MS 3600000		/* for so long does a message of others that has passed speak against one of them */

/* Whose messages a lane was held for, by class C: zeroed, nobody's. */
struct blame {
	const struct cause *cause;	/* NULL: free */
	char origin[STREAK_ORIGIN_MAX];
	int64_t others_passed_ms;	/* when one of another origin last went through, since the hold; 0: none has */
};

struct blames {
	struct blame items[BLAMES_MAX];
	unsigned next;
};

/* An attempt has come back by lane, whose upstream has had so many proofs. Returns why the lane is to be held (borrowed of the
 * attempt), or NULL: for nothing. What looks like the road's trouble and is the message's is marked in the attempt (own_trouble);
 * what all mail meets has become the road's (attempt_share). Once for each attempt, before anything else is made of it. */
const struct failure *blame_road(struct lane *lane, struct attempt *attempt, unsigned proofs, int64_t now_ms);

/* It has shown the lane open, and no hold began while it was under way. */
void blame_proved(struct lane *lane, const struct attempt *attempt, int64_t now_ms);

#endif
