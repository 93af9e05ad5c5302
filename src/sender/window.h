/* A send window: how much an upstream may be sent by one mailbox within any minute, hour and 24 hours. Pure; the clock is an
 * argument (monotonic milliseconds), so no leap of the wall clock opens or shuts it.
 *
 * What is under way counts in each span until it has ended, and from then on as sent at that time. The upstream counts it in
 * between, so it never sees more within a minute of its own than the limit. */
#ifndef MFDRELAY_SENDER_WINDOW_H
#define MFDRELAY_SENDER_WINDOW_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "spool/quota.h"

struct window_limits {
	unsigned of[QUOTA_SPANS];	/* messages a minute, messages an hour, recipients in 24 hours; 0: any number */
};

struct window {
	struct window_limits limits;
	struct quota_usage usage;		/* as of the buckets below */
	int64_t bucket[QUOTA_SPANS];		/* the present ones: now / width */
	unsigned messages, recipients;		/* under way */
};

#define WINDOW_ANY UINT_MAX

/* An empty window. */
void window_init(struct window *window, const struct window_limits *limits, int64_t now_ms);

/* Take the stricter limit of each span: somebody else uses the window too. */
void window_tighten(struct window *window, const struct window_limits *limits);

/* Go on with what a file says was sent, elapsed_ms after it was written. That is the wall clock's word, and not taken for the
 * minute, which begins as it was written: a leap of that clock must not let two minutes' mail leave within one. */
void window_restore(struct window *window, const struct quota_usage *usage, int64_t elapsed_ms, int64_t now_ms);

/* What was sent is not known: the minute counts as used up. */
void window_assume_used(struct window *window, int64_t now_ms);

/* Bring usage up to now. */
void window_advance(struct window *window, int64_t now_ms);

/* "25 messages a minute". Returns dst. */
#define WINDOW_TEXT_MAX 64
const char *window_limit_text(char dst[WINDOW_TEXT_MAX], const struct window *window, enum quota_span span);

/* How many recipients a message may have that is sent now: 0 to WINDOW_ANY. */
unsigned window_room(struct window *window, int64_t now_ms);

/* Where there is no room: the span whose limit is reached (that with the longest wait), and how long until there may be, in
 * ms; more than 0. */
enum quota_span window_full(struct window *window, int64_t now_ms, int64_t *wait_ms);

/* A message of so many recipients begins; it ends with so many of them sent to. not_begun: the upstream has not seen it. */
void window_begin(struct window *window, unsigned recipients);
void window_end(struct window *window, unsigned recipients, unsigned sent, bool not_begun, int64_t now_ms);

/* What counts against the limit of a span now, what is under way with it. */
uint64_t window_used(struct window *window, enum quota_span span, int64_t now_ms);

#endif
