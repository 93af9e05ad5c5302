/* What has become of the few messages that a person watches (`mfdrelay test`): the results of their attempts, in memory, as
 * the control socket tells them. Bounded: the latest FOLLOW_MAX messages, FOLLOW_RESULTS_MAX results of each. */
#ifndef MFDRELAY_SENDER_FOLLOW_H
#define MFDRELAY_SENDER_FOLLOW_H

#include <jansson.h>
#include <stdint.h>

#define FOLLOW_MAX 8
#define FOLLOW_RESULTS_MAX 50

struct failure;
struct follow;

struct follow *follow_new(void);

/* Watch the message of that (valid) id from now on; the one watched longest is forgotten for it where there are too many.
 * Nothing happens where it is watched already. */
void follow_begin(struct follow *follow, const char *id);

/* A result of one of its recipients, as the log has it ("delivered", "deferred", ...); of a message that nobody watches it is
 * dropped. why NULL: reply is the upstream's last 250. next_ms: when it is tried again; 0 without. */
void follow_result(struct follow *follow, const char *id, const char *event, const char *to, const char *upstream,
    const char *reply, const struct failure *why, int64_t next_ms);

/* Its results so far, in order, as a list of objects: the caller's. Empty where it is not watched. */
json_t *follow_results(const struct follow *follow, const char *id);

void follow_free(struct follow *follow);	/* NULL is fine */

#endif
