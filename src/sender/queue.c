#include "sender/queue_private.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/scheduler.h"

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct message *)a)->id, ((const struct message *)b)->id);
}

struct message *queue_find(const struct queue *queue, const char *id)
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

void queue_learn(struct queue *queue, const char *id)
{
	if (!spool_id_valid(id) || queue_find(queue, id) != NULL)
		return;
	struct message *message = xcalloc(1, sizeof *message);
	str_copy(message->id, sizeof message->id, str_of(id));
	SLIST_INIT(&message->parts);
	if (tsearch(message, &queue->by_id, compare) == NULL)
		mem_exhausted();
	queue->count++;
	queue_make_unread(queue, message);
}

struct found {
	struct queue *queue;
	char (*ids)[SPOOL_ID_MAX + 1];
	size_t count, room;
};

static bool collect(void *arg, const char *id)
{
	struct found *found = arg;

	if (queue_find(found->queue, id) != NULL)
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

void queue_forget(struct queue *queue, struct message *message)
{
	queue_unplan(queue, message);
	if (message->stage == MESSAGE_UNREAD)
		queue_leave_unread(queue, message);
	queue_let_go(queue, message);
	tdelete(message, &queue->by_id, compare);
	queue->count--;
	free(message);
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
	struct message *message = queue_find(queue, id);

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

/* --- the end --- */

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
	queue_let_go(queue, message);
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
