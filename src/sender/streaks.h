/* The troubles that all mail of a mailbox meets (streak.h), kept over restarts in var/streaks of the spool: or each new sender, as
 * after a reload, would give up some messages more until it knows them again. */
#ifndef MFDRELAY_SENDER_STREAKS_H
#define MFDRELAY_SENDER_STREAKS_H

#include <stddef.h>

struct event_base;
struct spool;
struct streaks;
struct upstream;

/* Read the file, and have the upstreams' lanes go on where it says. A file that cannot be used is logged and left out. All is
 * borrowed, and must outlive it. Starts a thread: after the sandbox. */
struct streaks *streaks_new(
    struct event_base *base, const struct spool *spool, struct upstream *const *upstreams, size_t count);

/* One has begun or ended: the file is written, off the loop. Nothing on NULL. */
void streaks_changed(struct streaks *streaks);

void streaks_free(struct streaks *streaks);	/* finishes what it writes. NULL is fine */

#endif
