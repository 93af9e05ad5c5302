#include "sender/queue_count.h"

#include <search.h>

#include "base/clock.h"
#include "sender/queue_private.h"
#include "sender/scheduler.h"

struct counting {
	struct queue_counts *out;
	int64_t now_ms;
	unsigned no_road;
};

/* What is looked at again later, held by somebody else or by the disk, stands in that line too, for no recipient. */
static bool lacks_route(const struct message *message, unsigned no_road)
{
	const struct part *part;

	SLIST_FOREACH(part, &message->parts, of_message)
		if (part->road == no_road)
			return part->recipients > 0;
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
	if (age_ms > DAY_MS)
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
	struct counting counting = {out, clock_wall_ms(), queue_no_road(queue)};

	*out = (struct queue_counts){.messages = queue->count, .unread = queue->unread_count};
	twalk_r(queue->by_id, count_node, &counting);
}
