/* The sender's part of `mfdrelay status`, as JSON. */
#ifndef MFDRELAY_SENDER_STATUS_H
#define MFDRELAY_SENDER_STATUS_H

#include <stdint.h>

#include <jansson.h>

struct config;
struct detours;
struct counters;
struct queue;
struct scheduler;
struct spool;
struct upstream;

/* What it is made from. All borrowed. */
struct status_view {
	const struct config *config;
	const struct counters *counters;
	const struct queue *queue;
	const struct scheduler *scheduler;
	struct upstream *const *upstreams;
	struct spool *spool;
	const struct detours *detours;
	int64_t drain_left_ms;		/* how long this sender may still go on to finish what it has begun; -1: it is not ending */
	int64_t drained_ms;		/* how long it has done so; -1 likewise */
};

/* {"ok":true, "version":.., "started":.., "config":{..}, "workers":{..}, "counters":{..}, "queue":{..}, "upstreams":[..],
 * "routes":[..],
 * "alarms":[..], "expiries":[..]}, with "ends_within_s" where the sender is ending, an alarm where that takes more
 * than a minute: the caller frees it. Each alarm is one sentence for a
 * person. */
json_t *status_json(const struct status_view *view);

#endif
