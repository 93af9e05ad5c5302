#include "sender/queue_private.h"

#include "sender/scheduler.h"

void queue_reroute(struct queue *queue, unsigned road)
{
	struct message *last = NULL;
	struct part *part;

	while ((part = scheduler_outdated(queue->scheduler, road, &queue->detours)) != NULL) {
		struct message *message = part->message;
		queue_make_unread_next(queue, message, last);
		last = message;
	}
}
