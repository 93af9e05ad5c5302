#include "sender/queue_private.h"

#include "config/config.h"
#include "sender/scheduler.h"

unsigned queue_no_road(const struct queue *queue)
{
	return (unsigned)queue->config->upstream_count;
}

const struct route *queue_route_of(const struct queue *queue, const struct message *message, size_t i)
{
	const struct envelope *envelope = spool_envelope(message->held);
	int route = config_route(queue->config, envelope->device, envelope->recipients[i]);

	return route < 0 ? NULL : &queue->config->routes[route];
}

unsigned queue_road_of(const struct queue *queue, const struct message *message, size_t i)
{
	const struct route *route = queue_route_of(queue, message, i);

	if (route == NULL)
		return queue_no_road(queue);
	return detour_road(
	    queue->config, route, &spool_state(message->held)->recipients[i], &message->detours);
}

void queue_view_roads(struct queue *queue, struct message *message)
{
	const struct state *state = spool_state(message->held);
	struct detours tried = queue->detours;

	message->detours = queue->detours;
	tried.down &= ~tried.probing;
	for (size_t i = 0; tried.probing != 0 && i < state->count; i++) {
		const struct recipient_state *recipient = &state->recipients[i];
		const struct route *route = queue_route_of(queue, message, i);
		if (route == NULL || recipient->status != RECIPIENT_PENDING ||
		    queue_wait_left_ms(message, recipient) > 0)
			continue;
		unsigned road = detour_road(queue->config, route, recipient, &tried);
		if ((tried.probing & ROAD_BIT(road)) != 0 && scheduler_ready(queue->scheduler, road) == 0) {
			message->detours.down &= ~ROAD_BIT(road);
			return;
		}
	}
}

void queue_set_detours(struct queue *queue, const struct detours *detours)
{
	queue->detours = *detours;
}

void queue_forget_refusals(struct message *message)
{
	struct state *state = spool_state(message->held);

	for (size_t i = 0; message->forced && i < state->count; i++)
		if (state->recipients[i].status == RECIPIENT_PENDING)
			state_forget_refusals(&state->recipients[i]);
}
