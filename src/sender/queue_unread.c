#include "sender/queue_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "sender/scheduler.h"
#include "sender/suspect.h"

static void forget_plan(struct queue *queue, struct message *message)
{
	queue_unplan(queue, message);
	queue_let_go_if_saved(queue, message);
	message->stage = MESSAGE_UNREAD;
	queue->unread_count++;
}

void queue_make_unread(struct queue *queue, struct message *message)
{
	forget_plan(queue, message);
	TAILQ_INSERT_TAIL(&queue->unread, message, line);
}

void queue_make_unread_next(struct queue *queue, struct message *message, struct message *after)
{
	forget_plan(queue, message);
	if (after == NULL)
		TAILQ_INSERT_HEAD(&queue->unread, message, line);
	else
		TAILQ_INSERT_AFTER(&queue->unread, after, message, line);
}

void queue_leave_unread(struct queue *queue, struct message *message)
{
	TAILQ_REMOVE(&queue->unread, message, line);
	queue->unread_count--;
}

/* A report waits until the state of what it is about says that it was made: else a crash in between would
 * have it made again after it has left. */
static bool is_early_report(const struct queue *queue, const struct message *message)
{
	char id[SPOOL_ID_MAX + 1];
	const struct message *reported = spool_report_of(id, message->id) ? queue_find(queue, id) : NULL;

	return reported != NULL && (reported->stage != MESSAGE_PLANNED || reported->unsaved);
}

static void read_one(struct queue *queue, struct message *message)
{
	int64_t wait_ms = is_early_report(queue, message) ? BUSY_WAIT_MS : queue_hold(queue, message);
	if (wait_ms < 0)
		return;
	queue_leave_unread(queue, message);
	if (wait_ms > 0)
		queue_plan_later(queue, message, wait_ms);
	else
		queue_plan(queue, message);
}

bool queue_read_one(struct queue *queue)
{
	struct message *message = TAILQ_FIRST(&queue->unread);

	if (message == NULL)
		return false;
	suspect_begin(message->id);
	read_one(queue, message);
	suspect_end();
	return true;
}

void queue_revisit(struct queue *queue)
{
	struct part *part;

	while ((part = scheduler_take(queue->scheduler, queue_no_road(queue))) != NULL) {
		struct message *message = part->message;
		SLIST_REMOVE(&message->parts, part, part, of_message);
		free(part);
		if (message->under_way > 0 || message->stage != MESSAGE_PLANNED)
			continue;
		queue_make_unread(queue, message);
	}
}
