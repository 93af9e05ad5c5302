#include "base/timer.h"

#include <event2/event.h>

struct timeval timer_interval(int64_t ms)
{
	if (ms < 0)
		ms = 0;
	return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

void timer_set(struct event *timer, int64_t ms)
{
	struct timeval interval = timer_interval(ms);

	evtimer_add(timer, &interval);
}
