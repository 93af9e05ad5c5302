/* The way of one queued message to the upstream's 250, as it happens. */
#ifndef MFDRELAY_CLI_JOURNEY_H
#define MFDRELAY_CLI_JOURNEY_H

#include <stdint.h>
#include <jansson.h>

struct config;
struct test_message;

enum { JOURNEY_DELIVERED = 0, JOURNEY_FAILED = 1, JOURNEY_WAITS = 2 };

/* Ask the running daemon what becomes of the message, and tell each event with its time since begun_ms (monotonic), until the
 * upstream has taken it, it has failed, or its next try is beyond timeout_ms. It is told on stdout as it comes where report is
 * NULL; else in that JSON object: "outcome", "after_s", "results" and, where it waits for a held upstream, "held". Returns one of
 * the above. */
int journey_follow(const struct config *config, const struct test_message *message, int64_t begun_ms, int64_t timeout_ms,
    json_t *report);

#endif
