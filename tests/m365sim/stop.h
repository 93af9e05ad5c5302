/* The end of the simulator, as every thread sees it: one request, and waits that it cuts short. */
#ifndef M365SIM_STOP_H
#define M365SIM_STOP_H

#include <stdbool.h>

/* Before the first thread. Returns 0, or -1 with errno. */
int stop_init(void);
void stop_request(void);
bool stop_requested(void);
void stop_close(void);

/* Wait ms milliseconds (-1: for ever), or until fd (-1: none) has one of events (poll(2)), or the stop.
 * Returns whether fd has something. */
bool stop_wait(long ms, int fd, short events);

#endif
