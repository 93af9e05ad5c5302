#include "listener/pace.h"

#include "config/config.h"

/* Who sends at just the least rate loses by what the network and our clock round off. */
#define GRACE_S 10

void pace_begin(struct pace *pace, int64_t now_ms)
{
	*pace = (struct pace){.begun_ms = now_ms, .heard_ms = now_ms, .window_ms = now_ms};
}

void pace_heard(struct pace *pace, size_t octets, int64_t now_ms)
{
	pace->heard_ms = now_ms;
	pace->octets += octets;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

enum pace_fault pace_judge(struct pace *pace, const struct config *config, int64_t now_ms)
{
	uint64_t wanted = (uint64_t)config->limits.min_data_rate * (PACE_WINDOW_MS / 1000 - GRACE_S);

	if (now_ms >= pace->begun_ms + config->limits.message_time_ms)
		return PACE_LONG;
	if (now_ms >= pace->heard_ms + config->limits.idle_ms)
		return PACE_IDLE;
	if (now_ms < pace->window_ms + PACE_WINDOW_MS)
		return PACE_FINE;
	if (pace->octets < wanted)
		return PACE_SLOW;
	pace->window_ms = now_ms;
	pace->octets = 0;
	return PACE_FINE;
}

int64_t pace_next_ms(const struct pace *pace, const struct config *config)
{
	int64_t next_ms =
	    least(pace->begun_ms + config->limits.message_time_ms, pace->heard_ms + config->limits.idle_ms);

	return least(next_ms, pace->window_ms + PACE_WINDOW_MS);
}
