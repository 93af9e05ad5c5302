#include "base/timer.h"

#include <event2/event.h>

void timer_set(struct event *timer, int64_t ms)
{
	struct timeval time = {0};

	if (ms > 0)
		time = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
	evtimer_add(timer, &time);
}
