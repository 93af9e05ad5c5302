#include "listener/strangers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "base/mem.h"
#include "base/timer.h"
#include "supervisor/handover.h"

#define PENDING_MAX 64 /* addresses between two tellings; more at a time are not counted */
#define TELL_MS	    500

struct strangers {
	int fd;
	struct event *timer;
	struct handover_stranger pending[PENDING_MAX];
	size_t count;
};

/* What does not go now goes with the next: then the sender is away for a moment. */
static void tell(struct strangers *strangers)
{
	size_t kept = 0;

	for (size_t i = 0; i < strangers->count; i++)
		if (send(strangers->fd, &strangers->pending[i], sizeof strangers->pending[i],
			MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			strangers->pending[kept++] = strangers->pending[i];
	strangers->count = kept;
}

static void on_time(evutil_socket_t fd, short what, void *cookie)
{
	struct strangers *strangers = cookie;

	(void)fd;
	(void)what;
	tell(strangers);
	if (strangers->count > 0)
		timer_set(strangers->timer, TELL_MS);
}

struct strangers *strangers_new(struct event_base *base, int fd)
{
	struct strangers *strangers = xcalloc(1, sizeof *strangers);

	strangers->fd = fd;
	strangers->timer = evtimer_new(base, on_time, strangers);
	return strangers;
}

static struct handover_stranger *find(struct strangers *strangers, const struct in6_addr *address)
{
	for (size_t i = 0; i < strangers->count; i++)
		if (IN6_ARE_ADDR_EQUAL(&strangers->pending[i].address, address))
			return &strangers->pending[i];
	if (strangers->count == PENDING_MAX)
		return NULL;
	struct handover_stranger *added = &strangers->pending[strangers->count++];
	*added = (struct handover_stranger){.kind = HANDOVER_STRANGER, .address = *address};
	return added;
}

static void keep(char *dst, size_t size, const char *text)
{
	snprintf(dst, size, "%s", text != NULL ? text : "");
}

void strangers_note(struct strangers *strangers, const struct in6_addr *address, const char *helo,
    const char *sender, const char *recipient)
{
	struct handover_stranger *stranger = strangers != NULL ? find(strangers, address) : NULL;

	if (stranger == NULL)
		return;
	stranger->count++;
	keep(stranger->helo, sizeof stranger->helo, helo);
	keep(stranger->sender, sizeof stranger->sender, sender);
	keep(stranger->recipient, sizeof stranger->recipient, recipient);
	if (!evtimer_pending(strangers->timer, NULL))
		timer_set(strangers->timer, TELL_MS);
}

void strangers_free(struct strangers *strangers)
{
	if (strangers == NULL)
		return;
	tell(strangers);
	event_free(strangers->timer);
	free(strangers);
}
