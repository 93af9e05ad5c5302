#include "sender/blame.h"

#include <stdbool.h>
#include <stddef.h>

#include "sender/attempt.h"
#include "sender/lane.h"
#include "sender/queue.h"
#include "spool/spool.h"

#define RATE_HOLD_S 60 /* a slow-down up to this long is about how fast mail comes */

/* Whether it is met by all mail of the lane; its failures have become the road's then. */
static bool is_all_mails(struct lane *lane, struct attempt *attempt, int64_t now_ms)
{
	const struct envelope *envelope = spool_envelope(attempt->message);
	const struct cause *cause = attempt_shareable(attempt);

	if (attempt_delivered(attempt)) {
		lane->streak = (struct streak){.cause = NULL};
		return false;
	}
	if (cause == NULL || !streak_add(&lane->streak, cause, envelope->device, envelope->sender, now_ms))
		return false;
	attempt_share(attempt, cause);
	return true;
}

/* Whether the lane has been proved since there were so many proofs: what other lanes carry says nothing of it. */
static bool proved_since(const struct lane *lane, unsigned proofs)
{
	return (int)(lane->last_proof - proofs) > 0;
}

/* A message that meets the same trouble again after others have gone through, by the same mailbox, has it to itself (a
 * sender domain that is not registered, a recipient outside): it must not hold the road for them. A rate is nobody's own. */
static bool is_messages_own(
    const struct lane *lane, const struct attempt *attempt, const struct failure *why, unsigned proofs)
{
	struct message *message = attempt->owner;
	bool is_rate = why->cause->outcome == OUTCOME_S && why->cause->hold.first_s <= RATE_HOLD_S;

	if (!is_rate && message->blamed.cause == why->cause && message->blamed.road == attempt->road &&
	    proved_since(lane, message->blamed.proofs))
		return true;
	message->blamed.cause = why->cause;
	message->blamed.road = attempt->road;
	message->blamed.proofs = proofs;
	return false;
}

const struct failure *blame_road(struct lane *lane, struct attempt *attempt, unsigned proofs, int64_t now_ms)
{
	bool of_all = is_all_mails(lane, attempt, now_ms);
	const struct failure *why = attempt_road_failure(attempt);

	if (why == NULL)
		return NULL;
	attempt->own_trouble = !of_all && is_messages_own(lane, attempt, why, proofs);
	return attempt->own_trouble ? NULL : why;
}
