/* The queue in numbers: by age, and by what its messages wait for. */
#ifndef MFDRELAY_SENDER_QUEUE_COUNT_H
#define MFDRELAY_SENDER_QUEUE_COUNT_H

#include <stddef.h>
#include <stdint.h>

struct cause;
struct queue;

#define QUEUE_REASONS_MAX 16

struct queue_reason {
	const struct cause *cause;
	size_t messages;
};

struct queue_counts {
	size_t messages;
	size_t unread;
	size_t in_trouble;
	size_t without_route;		/* with a recipient who has none */
	size_t hour, day, older;	/* by age: up to an hour, up to a day, older */
	int64_t oldest_ms;		/* age of the oldest, 0 when empty */
	struct queue_reason reasons[QUEUE_REASONS_MAX];	/* by the cause of the last attempt; rarer ones may be left out */
	size_t reason_count;
};

/* Looks at every message that the queue knows, and at no disk. */
void queue_count(const struct queue *queue, struct queue_counts *out);

#endif
