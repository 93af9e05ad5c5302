#include "sender/queue_private.h"

#include <stdlib.h>

#include "base/mem.h"
#include "sender/scheduler.h"

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
		queue_make_unread_next(queue, message, last);
		last = message;
	}
	free(parts);
}
