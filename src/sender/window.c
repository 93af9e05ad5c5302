#include "sender/window.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Where only the end of what is under way makes room; whoever ends it looks again at once. */
#define UNDER_WAY_WAIT_MS 1000

static int64_t bucket_at(enum quota_span span, int64_t now_ms)
{
	return now_ms / quota_shapes[span].width_ms;
}

/* Make the span's buckets older by so many places; what falls off is no longer counted. */
static void shift(struct quota_usage *usage, enum quota_span span, int64_t by)
{
	unsigned *sent = usage->sent[span];
	size_t buckets = quota_shapes[span].buckets;
	size_t places = by < (int64_t)buckets ? (size_t)by : buckets;

	memmove(sent + places, sent, (buckets - places) * sizeof *sent);
	memset(sent, 0, places * sizeof *sent);
}

void window_init(struct window *window, const struct window_limits *limits, int64_t now_ms)
{
	*window = (struct window){.limits = *limits};
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++)
		window->bucket[span] = bucket_at(span, now_ms);
}

void window_tighten(struct window *window, const struct window_limits *limits)
{
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++) {
		unsigned *ours = &window->limits.of[span], other = limits->of[span];
		if (*ours == 0 || (other != 0 && other < *ours))
			*ours = other;
	}
}

void window_advance(struct window *window, int64_t now_ms)
{
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++) {
		int64_t now = bucket_at(span, now_ms);
		if (now <= window->bucket[span])
			continue;
		shift(&window->usage, span, now - window->bucket[span]);
		window->bucket[span] = now;
	}
}

void window_restore(
    struct window *window, const struct quota_usage *usage, int64_t elapsed_ms, int64_t now_ms)
{
	window_advance(window, now_ms);
	window->usage = *usage;
	for (enum quota_span span = QUOTA_HOUR; span < QUOTA_SPANS && elapsed_ms > 0; span++)
		shift(&window->usage, span, elapsed_ms / quota_shapes[span].width_ms);
}

void window_assume_used(struct window *window, int64_t now_ms)
{
	window_advance(window, now_ms);
	window->usage.sent[QUOTA_MINUTE][0] += window->limits.of[QUOTA_MINUTE];
}

static unsigned under_way(const struct window *window, enum quota_span span)
{
	return span == QUOTA_DAY ? window->recipients : window->messages;
}

uint64_t window_used(struct window *window, enum quota_span span, int64_t now_ms)
{
	uint64_t used = under_way(window, span);

	window_advance(window, now_ms);
	for (unsigned age = 0; age < quota_shapes[span].buckets; age++)
		used += window->usage.sent[span][age];
	return used;
}

static unsigned room_in(struct window *window, enum quota_span span, int64_t now_ms)
{
	unsigned limit = window->limits.of[span];

	if (limit == 0)
		return WINDOW_ANY;
	uint64_t used = window_used(window, span, now_ms);
	return used < limit ? limit - (unsigned)used : 0;
}

unsigned window_room(struct window *window, int64_t now_ms)
{
	if (room_in(window, QUOTA_MINUTE, now_ms) == 0 || room_in(window, QUOTA_HOUR, now_ms) == 0)
		return 0;
	return room_in(window, QUOTA_DAY, now_ms);
}

/* Until so much has become too old to be counted that there is room for one more. */
static int64_t wait_for(struct window *window, enum quota_span span, int64_t now_ms)
{
	const struct quota_shape *shape = &quota_shapes[span];
	uint64_t left = window_used(window, span, now_ms);
	unsigned age = shape->buckets;

	while (age > 0 && left >= window->limits.of[span])
		left -= window->usage.sent[span][--age];
	if (left >= window->limits.of[span])
		return UNDER_WAY_WAIT_MS;
	return (window->bucket[span] - age + shape->buckets) * shape->width_ms - now_ms;
}

enum quota_span window_full(struct window *window, int64_t now_ms, int64_t *wait_ms)
{
	enum quota_span full = QUOTA_MINUTE;

	*wait_ms = 0;
	for (enum quota_span span = 0; span < QUOTA_SPANS; span++) {
		int64_t this_ms = room_in(window, span, now_ms) == 0 ? wait_for(window, span, now_ms) : 0;
		if (this_ms <= *wait_ms)
			continue;
		*wait_ms = this_ms;
		full = span;
	}
	return full;
}

const char *window_limit_text(char dst[WINDOW_TEXT_MAX], const struct window *window, enum quota_span span)
{
	static const char *const of[QUOTA_SPANS] = {
	    "messages a minute", "messages an hour", "recipients in 24 hours"};

	snprintf(dst, WINDOW_TEXT_MAX, "%u %s", window->limits.of[span], of[span]);
	return dst;
}

void window_begin(struct window *window, unsigned recipients)
{
	window->messages++;
	window->recipients += recipients;
}

void window_end(struct window *window, unsigned recipients, unsigned sent, bool not_begun, int64_t now_ms)
{
	assert(window->messages > 0 && window->recipients >= recipients);
	window->messages--;
	window->recipients -= recipients;
	window_advance(window, now_ms);
	if (not_begun)
		return;
	window->usage.sent[QUOTA_MINUTE][0]++;
	window->usage.sent[QUOTA_HOUR][0]++;
	window->usage.sent[QUOTA_DAY][0] += sent;
}
