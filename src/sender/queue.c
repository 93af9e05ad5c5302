#include "sender/queue.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/attempt.h"
#include "sender/detour.h"
#include "sender/scheduler.h"

/* Open files kept between planning and sending: a message that goes out at once is opened once. */
#define HELD_MAX 128
/* What the disk does not let us save is held beyond that, up to here: each is a descriptor. */
#define HELD_LIMIT	512
#define BUSY_WAIT_MS	1000
#define TROUBLE_WAIT_MS 10000

TAILQ_HEAD(message_line, message);

struct queue {
	const struct config *config;
	struct spool *spool;
	struct scheduler *scheduler;
	void *by_id; /* tsearch(3) tree */
	size_t count;
	void (*settle)(void *arg, struct message *message);
	void *settle_arg;
	struct message_line unread;
	size_t unread_count, held_count;
	struct detours detours;
	size_t *recipient_limits; /* by road, of a message; 0: any number */
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct message *)a)->id, ((const struct message *)b)->id);
}

static struct message *find(const struct queue *queue, const char *id)
{
	struct message key;

	if (!str_copy(key.id, sizeof key.id, str_of(id)))
		return NULL;
	void *node = tfind(&key, &queue->by_id, compare);
	return node != NULL ? *(struct message **)node : NULL;
}

struct queue *queue_new(const struct config *config, struct spool *spool, struct scheduler *scheduler)
{
	struct queue *queue = xcalloc(1, sizeof *queue);

	queue->config = config;
	queue->spool = spool;
	queue->scheduler = scheduler;
	TAILQ_INIT(&queue->unread);
	queue->recipient_limits = xcalloc(config->upstream_count + 1, sizeof *queue->recipient_limits);
	for (size_t i = 0; i < config->upstream_count; i++)
		queue->recipient_limits[i] = config->upstreams[i].limits.recipients;
	return queue;
}

void queue_set_settle(struct queue *queue, void (*settle)(void *arg, struct message *message), void *arg)
{
	queue->settle = settle;
	queue->settle_arg = arg;
}

static void make_unread(struct queue *queue, struct message *message)
{
	message->stage = MESSAGE_UNREAD;
	TAILQ_INSERT_TAIL(&queue->unread, message, line);
	queue->unread_count++;
}

void queue_learn(struct queue *queue, const char *id)
{
	if (!spool_id_valid(id) || find(queue, id) != NULL)
		return;
	struct message *message = xcalloc(1, sizeof *message);
	str_copy(message->id, sizeof message->id, str_of(id));
	SLIST_INIT(&message->parts);
	if (tsearch(message, &queue->by_id, compare) == NULL) {
		/* The tree has no memory left; the next scan finds the message again. */
		free(message);
		return;
	}
	queue->count++;
	make_unread(queue, message);
}

struct found {
	struct queue *queue;
	char (*ids)[SPOOL_ID_MAX + 1];
	size_t count, room;
};

static bool collect(void *arg, const char *id)
{
	struct found *found = arg;

	if (find(found->queue, id) != NULL)
		return true;
	if (found->count == found->room) {
		found->room = found->room == 0 ? 256 : found->room * 2;
		found->ids = xrealloc(found->ids, found->room * sizeof *found->ids);
	}
	str_copy(found->ids[found->count++], sizeof *found->ids, str_of(id));
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

void queue_scan(struct queue *queue)
{
	struct found found = {.queue = queue};
	struct err err = {""};

	if (spool_scan(queue->spool, collect, &found, &err) < 0)
		log_event(LOG_LEVEL_ERR, "scan-failed", kv_str("why", err.text));
	if (found.count > 0)
		qsort(found.ids, found.count, sizeof *found.ids, compare_ids);
	for (size_t i = 0; i < found.count; i++)
		queue_learn(queue, found.ids[i]);
	free(found.ids);
}

/* --- holding --- */

static void let_go(struct queue *queue, struct message *message)
{
	if (message->held == NULL)
		return;
	spool_release(message->held);
	message->held = NULL;
	queue->held_count--;
}

struct spool_message *queue_surrender(struct queue *queue, struct message *message)
{
	struct spool_message *held = message->held;

	message->held = NULL;
	queue->held_count--;
	return held;
}

void queue_forget(struct queue *queue, struct message *message)
{
	queue_unplan(queue, message);
	if (message->stage == MESSAGE_UNREAD) {
		TAILQ_REMOVE(&queue->unread, message, line);
		queue->unread_count--;
	}
	let_go(queue, message);
	tdelete(message, &queue->by_id, compare);
	queue->count--;
	free(message);
}

/* What is known of it in memory alone is kept. */
static void let_go_if_saved(struct queue *queue, struct message *message)
{
	if (!message->unsaved)
		let_go(queue, message);
}

/* Own the message, or say when to look again: 0 when it is owned, a wait in ms, or -1 when it is gone and
 * forgotten. */
static int64_t hold(struct queue *queue, struct message *message)
{
	struct err err = {""};

	if (message->held != NULL)
		return 0;
	if (queue->held_count >= HELD_LIMIT)
		return BUSY_WAIT_MS;
	switch (spool_take(queue->spool, message->id, &message->held, &err)) {
	case SPOOL_TAKEN:
		message->in_trouble = false;
		queue->held_count++;
		return 0;
	case SPOOL_BUSY:
		return BUSY_WAIT_MS;
	case SPOOL_TROUBLE:
		message->in_trouble = true;
		log_event(
		    LOG_LEVEL_ERR, "message-unreadable", kv_str("id", message->id), kv_str("why", err.text));
		return TROUBLE_WAIT_MS;
	case SPOOL_DAMAGED:
	case SPOOL_GONE:
		break;
	}
	message->held = NULL;
	queue_forget(queue, message);
	return -1;
}

/* --- planning --- */

/* Recipients without a route, and messages that could not be read, stand here until they are looked at again.
 */
static unsigned no_road(const struct queue *queue)
{
	return (unsigned)queue->config->upstream_count;
}

/* The route of the message's recipient i, or NULL. */
static const struct route *route_of(const struct queue *queue, const struct message *message, size_t i)
{
	const struct envelope *envelope = spool_envelope(message->held);
	int route = config_route(queue->config, envelope->device, envelope->recipients[i]);

	return route < 0 ? NULL : &queue->config->routes[route];
}

/* By the message's own view of the roads: it changes only while nothing of the message is under way, so that no recipient is
 * taken by two. */
static unsigned road_of(const struct queue *queue, const struct message *message, size_t i)
{
	const struct route *route = route_of(queue, message, i);

	if (route == NULL)
		return no_road(queue);
	return detour_road(
	    queue->config, route, &spool_state(message->held)->recipients[i], &message->detours);
}

/* What is left of the wait: the wall clock tells how much has passed, and cannot make it longer than it was.
 */
static int64_t wait_left_ms(const struct message *message, const struct recipient_state *recipient)
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
		    wait_left_ms(message, &state->recipients[i]) <= within_ms)
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

static void plan_later(struct queue *queue, struct message *message, int64_t wait_ms)
{
	int64_t now_ms = clock_mono_ms();

	struct part *part = part_on(message, no_road(queue));

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

/* A road whose hold is over is shown one message, the first that would go by it, before the others return. */
static void view_roads(struct queue *queue, struct message *message)
{
	const struct state *state = spool_state(message->held);
	struct detours tried = queue->detours;

	message->detours = queue->detours;
	tried.down &= ~tried.probing;
	for (size_t i = 0; tried.probing != 0 && i < state->count; i++) {
		const struct recipient_state *recipient = &state->recipients[i];
		const struct route *route = route_of(queue, message, i);
		if (route == NULL || recipient->status != RECIPIENT_PENDING ||
		    wait_left_ms(message, recipient) > 0)
			continue;
		unsigned road = detour_road(queue->config, route, recipient, &tried);
		if ((tried.probing & ROAD_BIT(road)) != 0 && scheduler_ready(queue->scheduler, road) == 0) {
			message->detours.down &= ~ROAD_BIT(road);
			return;
		}
	}
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
		unsigned road = road_of(queue, message, i);
		struct part *part = part_on(message, road);
		int64_t due_ms = now_ms + wait_left_ms(message, &state->recipients[i]);
		if (part->road == no_road(queue)) {
			log_no_route(message, envelope->recipients[i]);
			due_ms = now_ms + queue->config->retry.max_ms;
		} else if (detour_has_other(
			       queue->config, route_of(queue, message, i), &state->recipients[i], road)) {
			part->may_move = true;
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
	view_roads(queue, message);
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
	if (!any_ready || queue->held_count > HELD_MAX)
		let_go_if_saved(queue, message);
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

/* A report waits until the state of what it is about says that it was made: else a crash in between would
 * have it made again after it has left. */
static bool is_early_report(const struct queue *queue, const struct message *message)
{
	char id[SPOOL_ID_MAX + 1];
	const struct message *reported = spool_report_of(id, message->id) ? find(queue, id) : NULL;

	return reported != NULL && reported->stage != MESSAGE_PLANNED;
}

bool queue_read_one(struct queue *queue)
{
	struct message *message = TAILQ_FIRST(&queue->unread);

	if (message == NULL)
		return false;
	int64_t wait_ms = is_early_report(queue, message) ? BUSY_WAIT_MS : hold(queue, message);
	if (wait_ms < 0)
		return true;
	TAILQ_REMOVE(&queue->unread, message, line);
	queue->unread_count--;
	if (wait_ms > 0)
		plan_later(queue, message, wait_ms);
	else
		queue_plan(queue, message);
	return true;
}

void queue_put_off(struct queue *queue, struct message *message)
{
	message->in_trouble = true;
	plan_later(queue, message, TROUBLE_WAIT_MS);
}

void queue_revisit(struct queue *queue)
{
	struct part *part;

	while ((part = scheduler_take(queue->scheduler, no_road(queue))) != NULL) {
		struct message *message = part->message;
		SLIST_REMOVE(&message->parts, part, part, of_message);
		free(part);
		if (message->under_way > 0 || message->stage != MESSAGE_PLANNED)
			continue;
		queue_unplan(queue, message);
		let_go_if_saved(queue, message);
		make_unread(queue, message);
	}
}

void queue_set_detours(struct queue *queue, const struct detours *detours)
{
	queue->detours = *detours;
}

/* To the front of those unread, or behind after. */
static void make_unread_next(struct queue *queue, struct message *message, struct message *after)
{
	queue_unplan(queue, message);
	let_go_if_saved(queue, message);
	message->stage = MESSAGE_UNREAD;
	if (after == NULL)
		TAILQ_INSERT_HEAD(&queue->unread, message, line);
	else
		TAILQ_INSERT_AFTER(&queue->unread, after, message, line);
	queue->unread_count++;
}

static bool sees_roads_as_they_are(const struct queue *queue, const struct message *message)
{
	const struct detours *seen = &message->detours, *now = &queue->detours;

	return seen->down == now->down && seen->lost == now->lost && seen->probing == now->probing;
}

static bool is_to_move(const struct queue *queue, const struct part *part)
{
	return part->may_move && part->message->under_way == 0 &&
	       !sees_roads_as_they_are(queue, part->message);
}

void queue_reroute(struct queue *queue, unsigned road)
{
	size_t n = scheduler_ready(queue->scheduler, road);
	struct part **parts = xcalloc(n + 1, sizeof(struct part *));
	struct message *last = NULL;

	/* All of them first: what is put back takes its turn anew, and would come again in others' place. */
	for (size_t i = 0; i < n; i++)
		parts[i] = scheduler_take(queue->scheduler, road);
	for (size_t i = 0; i < n; i++) {
		if (!is_to_move(queue, parts[i])) {
			scheduler_add(queue->scheduler, parts[i], 0, 0);
			continue;
		}
		struct message *message = parts[i]->message;
		make_unread_next(queue, message, last);
		last = message;
	}
	free(parts);
}

/* --- taking --- */

static bool goes_by(const struct queue *queue, const struct message *message, size_t i, unsigned road)
{
	return spool_state(message->held)->recipients[i].status == RECIPIENT_PENDING &&
	       road_of(queue, message, i) == road;
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
		int64_t left_ms = wait_left_ms(message, &state->recipients[i]);
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
		    wait_left_ms(message, recipient) - passed_ms <= recipient->wait_ms / 8)
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

/* The part is used up: the message is planned again when its attempts have come back. */
static struct attempt *take_part(struct queue *queue, struct part *part, size_t recipients)
{
	struct message *message = part->message;
	unsigned road = part->road;

	SLIST_REMOVE(&message->parts, part, part, of_message);
	free(part);
	int64_t wait_ms = hold(queue, message);
	if (wait_ms < 0)
		return NULL;
	if (wait_ms > 0) {
		plan_later(queue, message, wait_ms);
		return NULL;
	}
	/* While nothing of it is under way it may choose anew; the road that takes it is in order. */
	if (message->under_way == 0) {
		message->detours = queue->detours;
		message->detours.down &= ~ROAD_BIT(road);
		message->detours.lost &= ~ROAD_BIT(road);
	}
	struct attempt *attempt = make_attempt(queue, message, road, recipients);
	if (attempt->count > 0) {
		message->under_way++;
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
	     i++)
		attempt = take_part(queue, part, recipients);
	return attempt;
}

/* --- a person's wishes --- */

static void force(struct queue *queue, struct message *message)
{
	struct part *part;
	int64_t now_ms = clock_mono_ms();

	message->forced = true;
	if (message->stage != MESSAGE_PLANNED)
		return;
	SLIST_FOREACH(part, &message->parts, of_message) {
		scheduler_remove(queue->scheduler, part);
		scheduler_add(queue->scheduler, part, now_ms, now_ms);
	}
}

bool queue_force(struct queue *queue, const char *id)
{
	struct message *message = find(queue, id);

	if (message == NULL)
		return false;
	force(queue, message);
	return true;
}

static void force_node(const void *node, VISIT visit, void *cookie)
{
	if (visit == postorder || visit == leaf)
		force(cookie, *(struct message *const *)node);
}

size_t queue_force_all(struct queue *queue)
{
	twalk_r(queue->by_id, force_node, queue);
	return queue->count;
}

/* --- counting, and the end --- */

struct counting {
	struct queue_counts *out;
	int64_t now_ms;
	unsigned no_road;
};

/* What the disk is in the way of stands in the line of those without a road too. */
static bool lacks_route(const struct message *message, unsigned no_road)
{
	const struct part *part;

	SLIST_FOREACH(part, &message->parts, of_message)
		if (part->road == no_road)
			return !message->in_trouble;
	return false;
}

static void count_reason(struct queue_counts *out, const struct cause *cause)
{
	size_t i = 0;

	if (cause == NULL)
		return;
	while (i < out->reason_count && out->reasons[i].cause != cause)
		i++;
	if (i == QUEUE_REASONS_MAX)
		return;
	if (i == out->reason_count)
		out->reasons[out->reason_count++] = (struct queue_reason){cause, 0};
	out->reasons[i].messages++;
}

static void count_node(const void *node, VISIT visit, void *cookie)
{
	struct counting *counting = cookie;

	if (visit != postorder && visit != leaf)
		return;
	const struct message *message = *(struct message *const *)node;
	int64_t age_ms = counting->now_ms - spool_id_time_ms(message->id);

	count_reason(counting->out, message->cause);
	counting->out->in_trouble += message->in_trouble;
	counting->out->without_route += lacks_route(message, counting->no_road);
	if (age_ms > 24 * 3600 * 1000LL)
		counting->out->older++;
	else if (age_ms > 3600 * 1000LL)
		counting->out->day++;
	else
		counting->out->hour++;
	if (age_ms > counting->out->oldest_ms)
		counting->out->oldest_ms = age_ms;
}

void queue_count(const struct queue *queue, struct queue_counts *out)
{
	struct counting counting = {out, clock_wall_ms(), no_road(queue)};

	*out = (struct queue_counts){.messages = queue->count, .unread = queue->unread_count};
	twalk_r(queue->by_id, count_node, &counting);
}

static void free_message(void *node)
{
	free(node);
}

static void on_last_save(void *arg, const struct spool_result *result)
{
	(void)arg;
	if (result->error != NULL)
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("doing", "writing a state"),
		    kv_str("why", result->error));
}

static void release_node(const void *node, VISIT visit, void *cookie)
{
	struct queue *queue = cookie;
	struct message *message = *(struct message *const *)node;

	if (visit != postorder && visit != leaf)
		return;
	queue_unplan(queue, message);
	/* Of those being settled the delivery takes care. */
	if (message->unsaved && message->held != NULL && message->stage != MESSAGE_SETTLING)
		spool_save(message->held, on_last_save, NULL);
	let_go(queue, message);
}

void queue_free(struct queue *queue)
{
	if (queue == NULL)
		return;
	twalk_r(queue->by_id, release_node, queue);
	tdestroy(queue->by_id, free_message);
	free(queue->recipient_limits);
	free(queue);
}
