/* The holds that exist so that nobody asks again for long, kept over restarts in var/holds of the spool: where Microsoft has blocked
 * a mailbox or a day is used up (class S), or a password was refused. Or each new sender, as after a reload, would ask at once. */
#ifndef MFDRELAY_SENDER_HOLDS_H
#define MFDRELAY_SENDER_HOLDS_H

#include <stddef.h>

struct event_base;
struct holds;
struct spool;
struct upstream;

/* Read the file, and hold the lanes that it names for what is left, never longer than the cause asks at most. A password whose file
 * is newer than its refusal is tried at once. A file that cannot be used is logged and left out. All is borrowed, and must outlive
 * it. Starts a thread: after the sandbox. */
struct holds *holds_new(
    struct event_base *base, const struct spool *spool, struct upstream *const *upstreams, size_t count);

/* The health of a lane has changed: the file is written, off the loop. Nothing on NULL. */
void holds_changed(struct holds *holds);

void holds_free(struct holds *holds);	/* finishes what it writes. NULL is fine */

#endif
