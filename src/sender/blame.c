#include "sender/blame.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

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

static void origin_of(char origin[STREAK_ORIGIN_MAX], const struct attempt *attempt)
{
	const struct envelope *envelope = spool_envelope(attempt->message);

	streak_origin(origin, envelope->device, envelope->sender);
}

/* Whether this message has met it before on this road, and others have gone through since, by the same mailbox. */
static bool is_messages_again(
    const struct lane *lane, const struct attempt *attempt, const struct failure *why, unsigned proofs)
{
	struct message *message = attempt->owner;

	if (message->blamed.cause == why->cause && message->blamed.road == attempt->road &&
	    proved_since(lane, message->blamed.proofs))
		return true;
	message->blamed.cause = why->cause;
	message->blamed.road = attempt->road;
	message->blamed.proofs = proofs;
	return false;
}

static struct blame *find_blame(struct blames *blames, const struct cause *cause, const char *origin)
{
	for (size_t i = 0; i < BLAMES_MAX; i++)
		if (blames->items[i].cause == cause && strcmp(blames->items[i].origin, origin) == 0)
			return &blames->items[i];
	return NULL;
}

/* Whether the lane was held for it before, for a message of the same device with the same sender, and those of others have gone
 * through since: a device that is set up wrongly would else hold them up with each message. */
static bool is_origins_again(
    struct lane *lane, const struct attempt *attempt, const struct failure *why, int64_t now_ms)
{
	struct blames *blames = &lane->blames;
	char origin[STREAK_ORIGIN_MAX];

	if (why->cause->outcome != OUTCOME_C)
		return false;
	origin_of(origin, attempt);
	struct blame *blame = find_blame(blames, why->cause, origin);
	if (blame != NULL && blame->others_passed_ms != 0 &&
	    now_ms - blame->others_passed_ms < BLAME_OTHERS_MS)
		return true;
	if (blame == NULL) {
		blame = &blames->items[blames->next++ % BLAMES_MAX];
		blame->cause = why->cause;
		memcpy(blame->origin, origin, sizeof origin);
	}
	/* What one more meets may be everybody's. */
	for (size_t i = 0; i < BLAMES_MAX; i++)
		blames->items[i].others_passed_ms = 0;
	return false;
}

/* What one message meets where others go through, or others of its recipients in the same transaction, is its own (a sender domain
 * that is not registered, a recipient outside): it must not hold the road for them. A rate is nobody's own. */
static bool is_messages_own(struct lane *lane, const struct attempt *attempt, const struct failure *why,
    unsigned proofs, int64_t now_ms)
{
	if (why->cause->outcome == OUTCOME_S && why->cause->hold.first_s <= RATE_HOLD_S)
		return false;
	bool met_before = is_messages_again(lane, attempt, why, proofs);
	bool of_origin = is_origins_again(lane, attempt, why, now_ms);
	bool shows_road_open = why->cause->outcome == OUTCOME_C && attempt_delivered(attempt);
	return met_before || of_origin || shows_road_open;
}

const struct failure *blame_road(struct lane *lane, struct attempt *attempt, unsigned proofs, int64_t now_ms)
{
	bool of_all = is_all_mails(lane, attempt, now_ms);
	const struct failure *why = attempt_road_failure(attempt);

	if (why == NULL)
		return NULL;
	attempt->own_trouble = !of_all && is_messages_own(lane, attempt, why, proofs, now_ms);
	return attempt->own_trouble ? NULL : why;
}

void blame_proved(struct lane *lane, const struct attempt *attempt, int64_t now_ms)
{
	struct blames *blames = &lane->blames;
	char origin[STREAK_ORIGIN_MAX];

	origin_of(origin, attempt);
	for (size_t i = 0; i < BLAMES_MAX; i++)
		if (strcmp(blames->items[i].origin, origin) != 0)
			blames->items[i].others_passed_ms = now_ms;
}
