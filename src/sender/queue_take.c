#include "sender/queue_private.h"

#include <stdlib.h>

#include "sender/attempt.h"
#include "sender/scheduler.h"
#include "sender/suspect.h"

static bool goes_by(const struct queue *queue, const struct message *message, size_t i, unsigned road)
{
	return spool_state(message->held)->recipients[i].status == RECIPIENT_PENDING &&
	       queue_road_of(queue, message, i) == road;
}

/* That the part became ready says that its first recipients are due, whatever the wall clock has come to show
 * since: what it says is left of their wait has passed all the same. */
static int64_t passed_unseen_ms(const struct queue *queue, const struct message *message, unsigned road)
{
	const struct state *state = spool_state(message->held);
	int64_t least_ms = INT64_MAX;

	for (size_t i = 0; i < state->count; i++) {
		if (!goes_by(queue, message, i, road))
			continue;
		int64_t left_ms = queue_wait_left_ms(message, &state->recipients[i]);
		least_ms = left_ms < least_ms ? left_ms : least_ms;
	}
	return least_ms;
}

/* Recipients whose waits end at about the same time go together: one transaction, not one for each. Where the
 * upstream takes no more in a message, the others go in the next. */
static struct attempt *make_attempt(struct queue *queue, struct message *message, unsigned road, size_t room)
{
	const struct state *state = spool_state(message->held);
	int64_t passed_ms = passed_unseen_ms(queue, message, road);
	size_t taken = queue->recipient_limits[road];
	size_t limit = taken == 0 || room < taken ? room : taken;
	struct attempt *attempt = attempt_new(message, road, message->held, state->count);

	for (size_t i = 0; i < state->count && attempt->count < limit; i++) {
		const struct recipient_state *recipient = &state->recipients[i];
		if (goes_by(queue, message, i, road) &&
		    queue_wait_left_ms(message, recipient) - passed_ms <= recipient->wait_ms / 8)
			attempt->recipients[attempt->count++].index = i;
	}
	return attempt;
}

bool queue_limit_recipients(struct queue *queue, unsigned road, size_t limit)
{
	size_t *now = &queue->recipient_limits[road];

	if (limit == 0 || (*now != 0 && *now <= limit))
		return false;
	*now = limit;
	return true;
}

/* While something of it is under way it keeps its view of the roads. */
static void pin_parts(struct queue *queue, struct message *message)
{
	struct part *part;

	SLIST_FOREACH(part, &message->parts, of_message)
		scheduler_pin(queue->scheduler, part);
}

/* The part is used up: the message is planned again when its attempts have come back. */
static struct attempt *take_part(struct queue *queue, struct part *part, size_t recipients)
{
	struct message *message = part->message;
	unsigned road = part->road;

	SLIST_REMOVE(&message->parts, part, part, of_message);
	free(part);
	int64_t wait_ms = queue_hold(queue, message);
	if (wait_ms < 0)
		return NULL;
	if (wait_ms > 0) {
		queue_plan_later(queue, message, wait_ms);
		return NULL;
	}
	/* While nothing of it is under way it may choose anew; the road that takes it is in order. */
	if (message->under_way == 0) {
		message->detours = queue->detours;
		message->detours.down &= ~ROAD_BIT(road);
		message->detours.lost &= ~ROAD_BIT(road);
		queue_forget_refusals(message);
	}
	struct attempt *attempt = make_attempt(queue, message, road, recipients);
	if (attempt->count > 0) {
		message->under_way++;
		pin_parts(queue, message);
		return attempt;
	}
	attempt_free(attempt);
	if (message->under_way == 0) {
		queue_unplan(queue, message);
		queue_plan(queue, message);
	}
	return NULL;
}

struct attempt *queue_take(struct queue *queue, unsigned road, size_t recipients)
{
	struct attempt *attempt = NULL;
	struct part *part;

	/* Bounded: a part that gives no attempt is either gone or waits at least a moment. */
	for (int i = 0; attempt == NULL && i < 64 && (part = scheduler_take(queue->scheduler, road)) != NULL;
	     i++) {
		suspect_begin(part->message->id);
		attempt = take_part(queue, part, recipients);
		suspect_end();
	}
	return attempt;
}
