/* How fast content must come: a silent device is waited for as long as limits.idle says (a scanner whose user turns pages),
 * all of it takes limits.message_time at most, and in each PACE_WINDOW_MS at least limits.min_data_rate octets a second come
 * on average, so that a trickle holds no session for an hour. Pure; the clock is an argument, in monotonic ms. */
#ifndef MFDRELAY_LISTENER_PACE_H
#define MFDRELAY_LISTENER_PACE_H

#include <stddef.h>
#include <stdint.h>

struct config;

#define PACE_WINDOW_MS 300000

struct pace {
	int64_t begun_ms, heard_ms, window_ms;	/* DATA, the last octet, the present window's begin */
	uint64_t octets;			/* that came in the window */
};

enum pace_fault { PACE_FINE, PACE_IDLE, PACE_SLOW, PACE_LONG };

void pace_begin(struct pace *pace, int64_t now_ms);
void pace_heard(struct pace *pace, size_t octets, int64_t now_ms);

/* What is wrong now, if anything; a window that is over and was fast enough gives way to the next. */
enum pace_fault pace_judge(struct pace *pace, const struct config *config, int64_t now_ms);

/* When to judge it next if nothing comes. */
int64_t pace_next_ms(const struct pace *pace, const struct config *config);

#endif
