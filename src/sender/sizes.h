/* How large a message each upstream takes, as its EHLO says: told to the listener at once, and kept over restarts in
 * var/upstream-sizes of the spool. */
#ifndef MFDRELAY_SENDER_SIZES_H
#define MFDRELAY_SENDER_SIZES_H

#include <stdint.h>

struct config;
struct counters;
struct event_base;
struct sizes;
struct spool;

/* Read the file, and tell the listener what it says of config's upstreams. A file that cannot be used is logged and left out:
 * it is written anew with the next thing that is learned. All is borrowed, and must outlive it. Starts a thread: after the
 * sandbox. */
struct sizes *sizes_new(
    struct event_base *base, const struct spool *spool, const struct config *config, struct counters *counters);

/* The upstream of that number has said so many octets; 0: no limit. The file is written off the loop, where it has changed, and
 * once a day. */
void sizes_learn(struct sizes *sizes, unsigned upstream, uint64_t bytes);

/* At start and once a day: what an upstream has said neither today nor yesterday is forgotten. Else a size too small for any
 * message would stand for ever: none is taken for the upstream, so none goes there to hear of a larger one. */
void sizes_forget_old(struct sizes *sizes);

void sizes_free(struct sizes *sizes);	/* finishes what it writes. NULL is fine */

#endif
