#include "sender/scheduler.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

TAILQ_HEAD(part_line, part);

struct road_line {
	struct part_line parts;
	size_t ready, waiting;
};

struct scheduler {
	struct heap timers;
	struct road_line *roads;
	unsigned road_count;
};

struct scheduler *scheduler_new(unsigned roads)
{
	struct scheduler *scheduler = xcalloc(1, sizeof *scheduler);

	scheduler->roads = xcalloc(roads, sizeof *scheduler->roads);
	scheduler->road_count = roads;
	for (unsigned i = 0; i < roads; i++)
		TAILQ_INIT(&scheduler->roads[i].parts);
	return scheduler;
}

static struct road_line *line_of(struct scheduler *scheduler, const struct part *part)
{
	assert(part->road < scheduler->road_count);
	return &scheduler->roads[part->road];
}

static void make_ready(struct scheduler *scheduler, struct part *part)
{
	struct road_line *line = line_of(scheduler, part);

	part->is_ready = true;
	TAILQ_INSERT_TAIL(&line->parts, part, ready);
	line->ready++;
}

void scheduler_add(struct scheduler *scheduler, struct part *part, int64_t now_ms, int64_t due_ms)
{
	if (due_ms <= now_ms) {
		make_ready(scheduler, part);
		return;
	}
	heap_push(&scheduler->timers, &part->timer, due_ms);
	line_of(scheduler, part)->waiting++;
}

void scheduler_remove(struct scheduler *scheduler, struct part *part)
{
	struct road_line *line = line_of(scheduler, part);

	if (part->is_ready) {
		TAILQ_REMOVE(&line->parts, part, ready);
		line->ready--;
		part->is_ready = false;
	} else if (part->timer.place != 0) {
		heap_remove(&scheduler->timers, &part->timer);
		line->waiting--;
	}
}

struct part *scheduler_take(struct scheduler *scheduler, unsigned road)
{
	struct part *part = TAILQ_FIRST(&scheduler->roads[road].parts);

	if (part != NULL)
		scheduler_remove(scheduler, part);
	return part;
}

bool scheduler_advance(struct scheduler *scheduler, int64_t now_ms)
{
	struct heap_item *item;
	bool any = false;

	while ((item = heap_first(&scheduler->timers)) != NULL && item->key <= now_ms) {
		struct part *part = (struct part *)item;
		scheduler_remove(scheduler, part);
		make_ready(scheduler, part);
		any = true;
	}
	return any;
}

int64_t scheduler_next_ms(const struct scheduler *scheduler)
{
	const struct heap_item *item = heap_first(&scheduler->timers);

	return item != NULL ? item->key : -1;
}

size_t scheduler_ready(const struct scheduler *scheduler, unsigned road)
{
	return scheduler->roads[road].ready;
}

size_t scheduler_waiting(const struct scheduler *scheduler, unsigned road)
{
	return scheduler->roads[road].waiting;
}

void scheduler_free(struct scheduler *scheduler)
{
	if (scheduler == NULL)
		return;
	heap_free(&scheduler->timers);
	free(scheduler->roads);
	free(scheduler);
}

int64_t retry_wait_ms(int64_t first_ms, int64_t max_ms, int64_t last_ms, unsigned random)
{
	int64_t wait_ms = first_ms;

	/* The last wait was a step of the ladder less at most a tenth: find that step, take the one above. */
	while (wait_ms < max_ms && wait_ms - wait_ms / 8 <= last_ms)
		wait_ms *= 2;
	if (wait_ms > max_ms)
		wait_ms = max_ms;
	return wait_ms - wait_ms / 10 * (int64_t)(random % 1000) / 1000;
}
