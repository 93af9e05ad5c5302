/* libevent's timers, in milliseconds. */
#ifndef MFDRELAY_BASE_TIMER_H
#define MFDRELAY_BASE_TIMER_H

#include <stdint.h>
#include <sys/time.h>

struct event;

/* ms as libevent and c-ares take it; 0 for less. */
struct timeval timer_interval(int64_t ms);

/* Let timer fire ms milliseconds from now (at once for 0 or less), instead of when it was set to before. */
void timer_set(struct event *timer, int64_t ms);

#endif
