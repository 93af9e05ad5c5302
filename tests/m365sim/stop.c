#include "stop.h"

#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int event_fd = -1;
static atomic_bool requested;

int stop_init(void)
{
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return event_fd < 0 ? -1 : 0;
}

void stop_request(void)
{
	const uint64_t one = 1;

	atomic_store(&requested, true);
	/* It stays readable from here on: nobody reads it, so all waits end. */
	while (write(event_fd, &one, sizeof(one)) < 0)
		break;
}

bool stop_requested(void)
{
	return atomic_load(&requested);
}

void stop_close(void)
{
	close(event_fd);
	event_fd = -1;
}

bool stop_wait(long ms, int fd, short events)
{
	struct pollfd fds[2] = {{.fd = event_fd, .events = POLLIN}, {.fd = fd, .events = events}};

	if (poll(fds, 2, ms > INT_MAX ? INT_MAX : (int)ms) <= 0)
		return false;
	return fds[1].revents != 0;
}
