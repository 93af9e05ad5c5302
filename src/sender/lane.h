/* One lane of an upstream: a mailbox that it logs in as, with its health and its send window. What is held of one does not hold
 * the others. An upstream that knows no mailboxes, or one, has one lane. */
#ifndef MFDRELAY_SENDER_LANE_H
#define MFDRELAY_SENDER_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sender/blame.h"
#include "sender/road.h"
#include "sender/streak.h"
#include "sender/windows.h"

struct config;
struct event;
struct event_base;
struct upstream_config;

struct lane {
	const struct config *config;
	const struct upstream_config *upstream;
	const char *mailbox;		/* one of the upstream's mailboxes; NULL: it has no list of them */
	struct road road;
	struct streak streak;
	struct blames blames;
	unsigned last_proof;		/* the number of the last attempt that has shown it open, of all of its upstream; 0: none */
	struct send_window *window;
	size_t connections, busy;	/* open; of them at work */
	bool has_logged_in;		/* a connection has, since this sender's start */
	bool token_retried;		/* a refused token has been replaced, and nothing has shown the lane open since: the next
					   refusal is the configuration's */
	bool is_full_for_long;		/* its window had no room for more than ROAD_SLOW_MS, and has none yet */
	int64_t told_full_ms[QUOTA_SPANS];	/* when the log was told of each limit, monotonic; 0: never */
	struct event *hold_end, *window_opens;
	const struct lane_owner *owner;
	void *arg;
};

/* Whose lane it is. */
struct lane_owner {
	void (*open)(void *arg);	/* from the loop: a hold is over, or the window has room again */
	void (*changed)(void *arg);	/* from within lane_room: its window is full for long, or no longer */
};

/* A zeroed one. */
void lane_init(struct lane *lane, struct event_base *base, const struct config *config,
    const struct upstream_config *upstream, const char *mailbox, struct send_window *window, const struct lane_owner *owner,
    void *arg);

/* Hold it because of why. Returns for how long, in ms. */
int64_t lane_hold(struct lane *lane, const struct failure *why);

/* A message has gone through. Returns whether that ended a trouble. */
bool lane_proved(struct lane *lane);

/* End a hold now. */
void lane_release(struct lane *lane);

/* Mail is ready: how many recipients a message may have that is taken now; 0: the lane is held or the window is full, and the
 * owner's open() follows. */
unsigned lane_room(struct lane *lane);

/* Whether nothing can go by it for long: its window is full, or its road is held and down. */
bool lane_is_shut(const struct lane *lane, int64_t now_ms);

/* Whether one of its connections has to go: there are more than the mailbox takes now. */
bool lane_has_one_too_many(const struct lane *lane);

/* Whether one of its connections is wanted by another upstream of this mailbox, which has none: it goes as soon as it has carried a
 * message. */
bool lane_makes_room(const struct lane *lane);

/* Whether a connection may be opened. Before the first login by password has succeeded there is one at a time, as each that is
 * refused may bring the account nearer to being locked. Where the mailbox has none left, the next one that ends is for the
 * lane that has none. */
bool lane_may_open(struct lane *lane);
void lane_opened(struct lane *lane);
void lane_closed(struct lane *lane);

void lane_stop(struct lane *lane);	/* frees what is behind it; fine on a zeroed one */

#endif
