/* What an attempt's results do to a message: state, report, failed/, or its end. Every acknowledged message ends in exactly
 * one of three ways: the upstream's 250 for each recipient; a report that a person gets; failed/ with the reason. */
#ifndef MFDRELAY_SENDER_DELIVERY_H
#define MFDRELAY_SENDER_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>

struct attempt;
struct config;
struct counters;
struct delivery;
struct event_base;
struct follow;
struct queue;
struct spool;

/* changed(arg) is called from the loop when a message has been settled: there may be new work, or none left. */
struct delivery *delivery_new(struct event_base *base, const struct config *config, struct spool *spool, struct queue *queue,
    struct counters *counters, void (*changed)(void *arg), void *arg);

/* Tell follow (borrowed) of each result, as the log has it. Before the first attempt is judged. */
void delivery_set_follow(struct delivery *delivery, struct follow *follow);

/* Judge an attempt that has come back, and free it. */
void delivery_judge(struct delivery *delivery, struct attempt *attempt);

/* Messages whose outcome is being made durable now. */
size_t delivery_settling(const struct delivery *delivery);

/* After the spool has been closed: nothing is under way any more. NULL is fine. */
void delivery_free(struct delivery *delivery);

#endif
