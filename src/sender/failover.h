/* Keeps in view which upstreams are in trouble, or have used up their send windows for longer than ROAD_SLOW_MS, has mail go round
 * them by its routes' other upstreams and back, and says each switch in the log with its reason. */
#ifndef MFDRELAY_SENDER_FAILOVER_H
#define MFDRELAY_SENDER_FAILOVER_H

#include <stdbool.h>

struct config;
struct detours;
struct failover;
struct queue;
struct upstream;

/* All borrowed. */
struct failover *failover_new(const struct config *config, struct queue *queue, struct upstream *const *upstreams);

/* The health of an upstream has changed. What is planned from now on goes accordingly. */
void failover_note(struct failover *failover);

/* Have what stands ready for an upstream that is down planned anew, if it could go another way; any_due: some parts have just
 * become ready. */
void failover_move(struct failover *failover, bool any_due);

/* The upstreams in trouble that mail can go round. Borrowed. */
const struct detours *failover_detours(const struct failover *failover);

void failover_free(struct failover *failover);	/* NULL is fine */

#endif
