#include "sender/failover.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "sender/detour.h"
#include "sender/queue.h"
#include "sender/road.h"
#include "sender/upstream.h"

struct failover {
	const struct config *config;
	struct queue *queue;
	struct upstream *const *upstreams;
	uint64_t shared; /* roads that stand in a route with others */
	struct detours detours;
	bool changed; /* since the last move */
};

struct failover *failover_new(
    const struct config *config, struct queue *queue, struct upstream *const *upstreams)
{
	struct failover *f = xcalloc(1, sizeof *f);

	f->config = config;
	f->queue = queue;
	f->upstreams = upstreams;
	for (size_t i = 0; i < config->route_count; i++)
		for (size_t j = 0; config->routes[i].via_count > 1 && j < config->routes[i].via_count; j++)
			f->shared |= ROAD_BIT(config->routes[i].via[j]);
	return f;
}

/* One line for each pair of upstreams, however many routes have it. */
static void log_switch(const struct failover *f, size_t index, unsigned from, unsigned to)
{
	const struct road *left = upstream_road(f->upstreams[from]);
	bool is_full = upstream_is_full(f->upstreams[from]);
	bool in_trouble = !is_full && (f->detours.down & ROAD_BIT(from)) != 0;

	log_event(in_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, "upstream-switched",
	    kv_str("from", f->config->upstreams[from].name), kv_str("to", f->config->upstreams[to].name),
	    kv_str("route", route_title(&f->config->routes[index])),
	    kv_str("why", in_trouble ? left->why.cause->cause
			  : is_full  ? "Its send window is full for more than ten minutes."
				     : "An upstream that stands before it in via is in order again."),
	    kv_str("text", in_trouble ? left->why.text : ""));
}

static void log_switches(const struct failover *f, const struct detours *before)
{
	const struct config *config = f->config;

	for (size_t i = 0; i < config->route_count; i++) {
		unsigned from = detour_road(config, &config->routes[i], NULL, before);
		unsigned to = detour_road(config, &config->routes[i], NULL, &f->detours);
		bool is_told = from == to;
		for (size_t j = 0; !is_told && j < i; j++)
			is_told = detour_road(config, &config->routes[j], NULL, before) == from &&
				  detour_road(config, &config->routes[j], NULL, &f->detours) == to;
		if (!is_told)
			log_switch(f, i, from, to);
	}
}

void failover_note(struct failover *f)
{
	const struct detours before = f->detours;
	int64_t now_ms = clock_mono_ms();

	f->detours = (struct detours){0, 0, 0};
	for (unsigned i = 0; i < f->config->upstream_count; i++)
		if ((f->shared & ROAD_BIT(i)) != 0)
			detours_note(&f->detours, i, upstream_road(f->upstreams[i]),
			    upstream_is_full(f->upstreams[i]), now_ms);
	f->changed = true;
	if (f->detours.down != before.down)
		log_switches(f, &before);
	queue_set_detours(f->queue, &f->detours);
}

void failover_move(struct failover *f, bool any_due)
{
	uint64_t held = f->detours.down & ~f->detours.probing;

	if (!f->changed && !any_due)
		return;
	f->changed = false;
	for (unsigned i = 0; i < f->config->upstream_count; i++)
		if ((held & ROAD_BIT(i)) != 0)
			queue_reroute(f->queue, i);
}

const struct detours *failover_detours(const struct failover *f)
{
	return &f->detours;
}

void failover_free(struct failover *f)
{
	free(f);
}
