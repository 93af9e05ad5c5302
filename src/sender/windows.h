/* The send windows of all upstreams: one for each mailbox that upstreams of kind submission log in as, shared by them; one for
 * each other upstream. What was sent in them outlives the sender in spool/quota. */
#ifndef MFDRELAY_SENDER_WINDOWS_H
#define MFDRELAY_SENDER_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>
#include "sender/window.h"

struct config;
struct event_base;
struct spool;
struct upstream_config;
struct windows;

struct send_window {
	char *name;			/* in the file: "mailbox scanner@contoso.com", "upstream direct" */
	struct window window;
	unsigned connections_max;	/* the fewest that an upstream of it allows */
	unsigned connections;		/* now, of all its upstreams */
	int64_t single_until_ms;	/* monotonic; until then one at a time: the other side has asked to slow down */
	const void *wanted_by;		/* the lane that the next connection to end makes room for; NULL: none */
};

/* Empty ones for every upstream of the config. Freed with windows_free. */
struct windows *windows_new(const struct config *config);

/* That of an upstream of the config: of one of its mailboxes, or NULL where it has no list of them. Borrowed. */
struct send_window *windows_of(
    struct windows *windows, const struct upstream_config *upstream, const char *mailbox);

/* Go on where spool/quota says, and write it from now on. A file that is damaged or cannot be read is in the log, and the
 * minute then counts as used up in all windows. */
void windows_load(struct windows *windows, struct event_base *base, struct spool *spool);

/* Something was sent in one: the file is written soon, once a second at most, and not where no window has a limit. */
void windows_changed(struct windows *windows);

/* The last save, after spool_flush: it is done when this returns. */
void windows_finish(struct windows *windows);

/* How many connections may be open now. */
unsigned send_window_connections(const struct send_window *window, int64_t now_ms);

void windows_free(struct windows *windows);	/* NULL is fine */

#endif
