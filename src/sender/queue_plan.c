#include "sender/queue_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalogue/catalogue.h"
#include "config/config.h"
#include "sender/scheduler.h"

int64_t queue_wait_left_ms(const struct message *message, const struct recipient_state *recipient)
{
	int64_t left_ms = recipient->next_ms - clock_wall_ms();

	if (message->forced || left_ms < 0)
		return 0;
	return left_ms < recipient->wait_ms ? left_ms : recipient->wait_ms;
}

bool queue_is_due(const struct message *message, int64_t within_ms)
{
	const struct state *state = spool_state(message->held);

	for (size_t i = 0; i < state->count; i++)
		if (state->recipients[i].status == RECIPIENT_PENDING &&
		    queue_wait_left_ms(message, &state->recipients[i]) <= within_ms)
			return true;
	return false;
}

/* Whose share a held message is sent by. Reports, and mail of devices that the config no longer has, share one. */
static unsigned share_of(const struct queue *queue, const struct message *message)
{
	const char *name = spool_envelope(message->held)->device;
	unsigned i = 0;

	while (i < queue->config->device_count && strcmp(queue->config->devices[i].name, name) != 0)
		i++;
	return i;
}

static struct part *part_on(struct message *message, unsigned road)
{
	struct part *part;

	SLIST_FOREACH(part, &message->parts, of_message)
		if (part->road == road)
			return part;
	part = xcalloc(1, sizeof *part);
	part->message = message;
	part->road = road;
	part->timer.key = INT64_MAX;
	SLIST_INSERT_HEAD(&message->parts, part, of_message);
	return part;
}

void queue_plan_later(struct queue *queue, struct message *message, int64_t wait_ms)
{
	int64_t now_ms = clock_mono_ms();
	struct part *part = part_on(message, queue_no_road(queue));

	message->stage = MESSAGE_PLANNED;
	/* It may stand there already, for another recipient or another try. */
	scheduler_remove(queue->scheduler, part);
	scheduler_add(queue->scheduler, part, now_ms, now_ms + wait_ms);
}

static void log_no_route(const struct message *message, const char *recipient)
{
	struct failure why;

	failure_from_trouble(&why, ROAD_NO_ROUTE, recipient);
	log_event(LOG_LEVEL_ERR, "no-route", kv_str("id", message->id), kv_str("to", recipient),
	    kv_str("cause", why.cause->cause), kv_str("remedy", why.cause->remedy));
}

/* Recipients pending become parts whose due time stands in timer.key for now. */
static void make_parts(struct queue *queue, struct message *message, int64_t now_ms)
{
	const struct envelope *envelope = spool_envelope(message->held);
	const struct state *state = spool_state(message->held);
	unsigned share = share_of(queue, message);

	for (size_t i = 0; i < state->count; i++) {
		if (state->recipients[i].status != RECIPIENT_PENDING)
			continue;
		unsigned road = queue_road_of(queue, message, i);
		struct part *part = part_on(message, road);
		int64_t due_ms = now_ms + queue_wait_left_ms(message, &state->recipients[i]);
		if (part->road == queue_no_road(queue)) {
			log_no_route(message, envelope->recipients[i]);
			due_ms = now_ms + queue->config->retry.max_ms;
		} else if (detour_has_other(queue->config, queue_route_of(queue, message, i),
			       &state->recipients[i], road)) {
			part->seen = &message->detours;
		}
		if (due_ms < part->timer.key)
			part->timer.key = due_ms;
		part->device = share;
		part->recipients++;
	}
}

/* A crash can leave a message whose recipients are all given up or delivered, and not yet settled. */
static bool is_unsettled(const struct state *state)
{
	bool any_pending = false;

	for (size_t i = 0; i < state->count; i++) {
		if (state->recipients[i].status == RECIPIENT_FAILED)
			return true;
		any_pending = any_pending || state->recipients[i].status == RECIPIENT_PENDING;
	}
	return !any_pending;
}

void queue_plan(struct queue *queue, struct message *message)
{
	int64_t now_ms = clock_mono_ms();
	struct part *part;
	bool any_ready = false;

	message->stage = MESSAGE_PLANNED;
	if (is_unsettled(spool_state(message->held))) {
		queue->settle(queue->settle_arg, message);
		return;
	}
	queue_forget_refusals(message);
	queue_view_roads(queue, message);
	make_parts(queue, message, now_ms);
	SLIST_FOREACH(part, &message->parts, of_message) {
		int64_t due_ms = part->timer.key;
		any_ready = any_ready || due_ms <= now_ms;
		/* The rest of a longer list takes its turn as another. */
		size_t limit = queue->recipient_limits[part->road];
		if (limit != 0 && part->recipients > limit)
			part->recipients = (unsigned)limit;
		scheduler_add(queue->scheduler, part, now_ms, due_ms);
	}
	if (!any_ready || queue_holds_enough(queue))
		queue_let_go_if_saved(queue, message);
}

void queue_unplan(struct queue *queue, struct message *message)
{
	struct part *part;

	while ((part = SLIST_FIRST(&message->parts)) != NULL) {
		scheduler_remove(queue->scheduler, part);
		SLIST_REMOVE_HEAD(&message->parts, of_message);
		free(part);
	}
}

void queue_put_off(struct queue *queue, struct message *message)
{
	message->in_trouble = true;
	queue_plan_later(queue, message, TROUBLE_WAIT_MS);
}
