#include "sender/scheduler.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sender/movable.h"

TAILQ_HEAD(part_line, part);

/* What a device has ready on a road. It is there only while there is something. */
struct share {
	TAILQ_ENTRY(share) turn;
	struct part_line parts;
	unsigned recipients; /* it has a right to, and has not used */
};

struct road_line {
	TAILQ_HEAD(, share) turns; /* whose turn was longest ago stands first */
	struct share **of_device;
	struct movable movable;
	size_t ready, waiting;
};

struct scheduler {
	struct heap timers;
	struct road_line *roads;
	unsigned road_count, device_count;
};

struct scheduler *scheduler_new(unsigned roads, unsigned devices)
{
	struct scheduler *scheduler = xcalloc(1, sizeof *scheduler);

	scheduler->roads = xcalloc(roads, sizeof *scheduler->roads);
	scheduler->road_count = roads;
	scheduler->device_count = devices;
	for (unsigned i = 0; i < roads; i++) {
		TAILQ_INIT(&scheduler->roads[i].turns);
		scheduler->roads[i].of_device = xcalloc(devices, sizeof(struct share *));
	}
	return scheduler;
}

static struct road_line *line_of(struct scheduler *scheduler, const struct part *part)
{
	assert(part->road < scheduler->road_count && part->device < scheduler->device_count);
	return &scheduler->roads[part->road];
}

static void make_ready(struct scheduler *scheduler, struct part *part)
{
	struct road_line *line = line_of(scheduler, part);
	struct share **share = &line->of_device[part->device];

	if (*share == NULL) {
		*share = xcalloc(1, sizeof **share);
		TAILQ_INIT(&(*share)->parts);
		TAILQ_INSERT_TAIL(&line->turns, *share, turn);
	}
	part->is_ready = true;
	TAILQ_INSERT_TAIL(&(*share)->parts, part, ready);
	movable_add(&line->movable, part);
	line->ready++;
}

static void leave_line(struct road_line *line, struct part *part)
{
	struct share **share = &line->of_device[part->device];

	movable_remove(&line->movable, part);
	TAILQ_REMOVE(&(*share)->parts, part, ready);
	line->ready--;
	part->is_ready = false;
	if (!TAILQ_EMPTY(&(*share)->parts))
		return;
	TAILQ_REMOVE(&line->turns, *share, turn);
	free(*share);
	*share = NULL;
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
		leave_line(line, part);
	} else if (part->timer.place != 0) {
		heap_remove(&scheduler->timers, &part->timer);
		line->waiting--;
	}
}

/* As many rounds at once as it takes until the first message of some share can go: that share, or NULL. What was saved
 * up for a message that has left by another way is not for the next one. */
static struct share *next_share(struct road_line *line)
{
	struct share *share, *next = NULL;
	unsigned rounds = UINT_MAX;

	TAILQ_FOREACH(share, &line->turns, turn) {
		unsigned needed = TAILQ_FIRST(&share->parts)->recipients;
		if (share->recipients > needed)
			share->recipients = needed;
		if (next != NULL && needed - share->recipients >= rounds)
			continue;
		rounds = needed - share->recipients;
		next = share;
	}
	if (rounds > 0)
		TAILQ_FOREACH(share, &line->turns, turn)
			share->recipients += rounds;
	return next;
}

struct part *scheduler_take(struct scheduler *scheduler, unsigned road)
{
	struct road_line *line = &scheduler->roads[road];
	struct share *share = next_share(line);

	if (share == NULL)
		return NULL;
	struct part *part = TAILQ_FIRST(&share->parts);
	share->recipients -= part->recipients;
	TAILQ_REMOVE(&line->turns, share, turn);
	TAILQ_INSERT_TAIL(&line->turns, share, turn);
	leave_line(line, part);
	return part;
}

struct part *scheduler_outdated(const struct scheduler *scheduler, unsigned road, const struct detours *now)
{
	return movable_outdated(&scheduler->roads[road].movable, now);
}

void scheduler_pin(struct scheduler *scheduler, struct part *part)
{
	movable_remove(&line_of(scheduler, part)->movable, part);
	part->seen = NULL;
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

static void free_line(struct road_line *line)
{
	struct share *share;

	while ((share = TAILQ_FIRST(&line->turns)) != NULL) {
		TAILQ_REMOVE(&line->turns, share, turn);
		free(share);
	}
	movable_free(&line->movable);
	free(line->of_device);
}

void scheduler_free(struct scheduler *scheduler)
{
	if (scheduler == NULL)
		return;
	heap_free(&scheduler->timers);
	for (unsigned i = 0; i < scheduler->road_count; i++)
		free_line(&scheduler->roads[i]);
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
