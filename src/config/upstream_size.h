/* How large a message an upstream takes: as its kind or the config says, and as its EHLO has said, which the sender writes on
 * the page that it shares with the listener (base/counters.h). */
#ifndef MFDRELAY_CONFIG_UPSTREAM_SIZE_H
#define MFDRELAY_CONFIG_UPSTREAM_SIZE_H

#include <stdint.h>

struct counters;
struct upstream_config;

/* The smaller of the two, in octets of content; 0: neither is known. Of what its EHLO has said, UPSTREAM_SIZE_SPARE is taken
 * off for what the relay adds to a message. */
#define UPSTREAM_SIZE_SPARE 4096
uint64_t upstream_size(const struct upstream_config *upstream, const struct counters *counters);

/* What an upstream is known by across reloads and restarts: of its name, host and port. Never 0. */
uint64_t upstream_size_key(const struct upstream_config *upstream);

/* For the sender alone: the upstream of that key has said so many octets (0: no limit), under a number below
 * COUNTERS_UPSTREAMS. */
void upstream_size_learned(struct counters *counters, unsigned number, uint64_t key, uint64_t bytes);

#endif
