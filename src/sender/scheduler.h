/* When which part of which message is tried next. Pure: no I/O, and the clock is an argument (monotonic milliseconds).
 *
 * A part is the recipients of one message that go by the same road, an upstream by its index in the config. It waits for
 * its time in a heap, then stands ready in its road's line until an upstream's connection takes it.
 *
 * The devices share a road by deficit round-robin (Shreedhar and Varghese, SIGCOMM 1995) with one recipient a round: each
 * round gives each device that has mail ready the right to one recipient more, and its first message goes when it has as many
 * as that has recipients. So a device's only message, to one recipient, waits for one message of each other device at most,
 * however many those have; and in the long run all reach as many recipients. */
#ifndef MFDRELAY_SENDER_SCHEDULER_H
#define MFDRELAY_SENDER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/heap.h"

struct detours;
struct message;
struct scheduler;
struct view;

struct part {
	struct heap_item timer;		/* the scheduler's own; first, so that an item is its part */
	TAILQ_ENTRY(part) ready;	/* the scheduler's own */
	SLIST_ENTRY(part) of_message;	/* the message's list */
	struct message *message;
	unsigned road;
	unsigned device;		/* who shares */
	unsigned recipients;		/* that it takes from the share */
	bool is_ready;
	const struct detours *seen;	/* the roads in trouble as it was planned by, if it could go by another too; NULL: it stays.
					   Borrowed, and not changed while it is in the scheduler */
	struct view *view;		/* the scheduler's own, as the next */
	TAILQ_ENTRY(part) of_view;
};

/* One line for each road, shared by devices 0 to devices - 1. The caller frees with scheduler_free. */
struct scheduler *scheduler_new(unsigned roads, unsigned devices);

/* The part becomes ready at `due_ms`; one that is due already goes behind its device's others at once. */
void scheduler_add(struct scheduler *scheduler, struct part *part, int64_t now_ms, int64_t due_ms);

/* Take it out, wherever it is. */
void scheduler_remove(struct scheduler *scheduler, struct part *part);

/* The part that is next on a road, taken out; NULL when none is ready. The time it takes grows with the number of devices that
 * have one. */
struct part *scheduler_take(struct scheduler *scheduler, unsigned road);

/* Of the parts ready on a road that could go by another and were planned by another view of the roads than now's, one; NULL: there
 * is none. It stays in. However many others are ready, the time it takes is the same. */
struct part *scheduler_outdated(const struct scheduler *scheduler, unsigned road, const struct detours *now);

/* The part stays on its road from now on. */
void scheduler_pin(struct scheduler *scheduler, struct part *part);

/* Move what has become due to its line. Returns whether any part was. */
bool scheduler_advance(struct scheduler *scheduler, int64_t now_ms);

/* When the next part becomes due (monotonic ms), or -1. */
int64_t scheduler_next_ms(const struct scheduler *scheduler);

size_t scheduler_ready(const struct scheduler *scheduler, unsigned road);
size_t scheduler_waiting(const struct scheduler *scheduler, unsigned road);

void scheduler_free(struct scheduler *scheduler);	/* the parts stay the caller's */

/* The wait after the attempt that follows a wait of last_ms (0: the first): first_ms, doubled each time, at most max_ms, with
 * 10 % of jitter (random: any number) taken off so that max_ms is never passed. */
int64_t retry_wait_ms(int64_t first_ms, int64_t max_ms, int64_t last_ms, unsigned random);

#endif
