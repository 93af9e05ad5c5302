/* One upstream: its road's health, its connections (never more than its send window allows), its tokens. Takes attempts
 * from the queue as long as there are any and the road is open, and learns from what they bring back (blame.h). */
#ifndef MFDRELAY_SENDER_UPSTREAM_H
#define MFDRELAY_SENDER_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "sender/road.h"

struct config;
struct counters;
struct event_base;
struct http;
struct lane;
struct resolver;
struct attempt;
struct upstream;
struct upstream_config;
struct windows;

/* What all upstreams share, and how they get their work. Borrowed. */
struct upstream_owner {
	struct event_base *base;
	const struct config *config;
	struct counters *counters;
	struct http *http;
	struct resolver *resolver;
	struct windows *windows;
	void *arg;
	size_t (*ready)(void *arg, unsigned road);			/* parts that stand ready */
	struct attempt *(*take)(void *arg, unsigned road, size_t recipients);	/* the next, of at most so many; or NULL */
	void (*done)(void *arg, struct attempt *attempt);	/* concluded, and learned from; the owner's again. From the loop */
	void (*idle)(void *arg, unsigned road);				/* the last connection has ended */
	void (*size)(void *arg, unsigned road, uint64_t bytes);		/* it has said how large a message it takes; 0: any */
	void (*changed)(void *arg);				/* the health of a road has changed: so may the way that mail takes */
	void (*streak)(void *arg);				/* the trouble that all mail of a mailbox meets (streak.h) has begun or ended */
	void (*open)(void *arg);					/* a hold is over: work may be read and taken again */
};

/* Returns NULL with err when its CA file can't be used. */
struct upstream *upstream_new(const struct upstream_owner *owner, unsigned road, struct err *err);

/* There may be work, or the road may be open again: use idle connections, open new ones. Cheap when there is nothing to do. */
void upstream_pump(struct upstream *upstream);

/* Whether it could take another part now: the road is open and its line is short. */
bool upstream_hungry(struct upstream *upstream);

/* Try now, whatever the hold says. */
void upstream_release(struct upstream *upstream);

/* The same where somebody has signed in anew: what has logged in by the sign-in before, or is about to, carries no more. */
void upstream_signed_in(struct upstream *upstream);

/* Begin nothing more; idle connections say QUIT. With abort, everything is broken off. */
void upstream_drain(struct upstream *upstream, bool abort);

size_t upstream_connections(const struct upstream *upstream);
struct lane *upstream_lane(const struct upstream *upstream, size_t i);	/* from 0 on; NULL behind the last. Borrowed */
const struct road *upstream_road(const struct upstream *upstream);	/* of the lane that is open, or will be first */
/* Whether mail had better go another way for want of room: no mailbox can take any for long, and not all of them are held. */
bool upstream_is_full(const struct upstream *upstream);

void upstream_keep_alive(struct upstream *upstream);	/* once a day: token_keep_alive */
const struct failure *upstream_token_trouble(const struct upstream *upstream);	/* token_trouble */
const struct failure *upstream_first_refused(const struct upstream *upstream);	/* token_first_refused */
const struct upstream_config *upstream_config_of(const struct upstream *upstream);

void upstream_free(struct upstream *upstream);	/* NULL is fine */

#endif
