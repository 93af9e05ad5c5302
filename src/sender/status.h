/* The sender's part of `mfdrelay status`, as JSON. */
#ifndef MFDRELAY_SENDER_STATUS_H
#define MFDRELAY_SENDER_STATUS_H

#include <jansson.h>

struct config;
struct counters;
struct queue;
struct scheduler;
struct spool;
struct upstream;

/* {"ok":true, "version":.., "started":.., "config":{..}, "workers":{..}, "counters":{..}, "queue":{..}, "upstreams":[..],
 * "alarms":[..]}: the caller frees it. Each alarm is one sentence for a person. */
json_t *status_json(const struct config *config, const struct counters *counters, const struct queue *queue,
    const struct scheduler *scheduler, struct upstream *const *upstreams, struct spool *spool);

#endif
