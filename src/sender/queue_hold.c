#include "sender/queue_private.h"

#include "base/log.h"
#include "sender/suspect.h"

/* Open files kept between planning and sending: a message that goes out at once is opened once. */
#define HELD_MAX 128

/* What the disk does not let us save is held beyond that, up to here: each is a descriptor. */
#define HELD_LIMIT 512

void queue_let_go(struct queue *queue, struct message *message)
{
	if (message->held == NULL)
		return;
	spool_release(message->held);
	message->held = NULL;
	queue->held_count--;
}

void queue_let_go_if_saved(struct queue *queue, struct message *message)
{
	if (!message->unsaved)
		queue_let_go(queue, message);
}

bool queue_holds_enough(const struct queue *queue)
{
	return queue->held_count > HELD_MAX;
}

struct spool_message *queue_surrender(struct queue *queue, struct message *message)
{
	struct spool_message *held = message->held;

	message->held = NULL;
	queue->held_count--;
	return held;
}

static enum spool_take take(const struct queue *queue, struct message *message, struct err *err)
{
	if (!suspect_is(message->id))
		return spool_take(queue->spool, message->id, &message->held, err);
	enum spool_take result = spool_set_aside(queue->spool, message->id, SUSPECT_REASON, err);
	if (result == SPOOL_DAMAGED)
		suspect_forget();
	return result;
}

int64_t queue_hold(struct queue *queue, struct message *message)
{
	struct err err = {""};

	if (message->held != NULL)
		return 0;
	if (queue->held_count >= HELD_LIMIT)
		return BUSY_WAIT_MS;
	switch (take(queue, message, &err)) {
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
