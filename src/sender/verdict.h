/* What an attempt's results mean for each of its recipients, by the classes of the catalogue: delivered, tried again and when,
 * passed on to another upstream, or given up. All of it is in the log. */
#ifndef MFDRELAY_SENDER_VERDICT_H
#define MFDRELAY_SENDER_VERDICT_H

#include <stdbool.h>

struct attempt;
struct config;
struct counters;
struct follow;
struct queue;

/* What a verdict is reached with. Borrowed. */
struct verdict_means {
	const struct config *config;
	struct queue *queue;
	struct counters *counters;
	struct follow *follow;	/* is told of each result, as the log is; NULL: nobody is */
};

/* Write an attempt's results to the state of its message, which is in memory: to save it is the caller's. Returns whether it has
 * changed. */
bool verdict_apply(const struct verdict_means *means, struct attempt *attempt);

#endif
