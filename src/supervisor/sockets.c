#include "supervisor/sockets.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/util.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/config.h"
#include "net/listen.h"

#define RETRY_US 20000

static void add(struct sockets *sockets, const char *address, unsigned short port, int fd)
{
	sockets->items = xrealloc(sockets->items, (sockets->count + 1) * sizeof *sockets->items);
	sockets->items[sockets->count++] = (struct listen_socket){
	    .address = address != NULL ? xstrdup(address) : NULL,
	    .port = port,
	    .fd = fd,
	};
}

static void free_list(struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++)
		free(sockets->items[i].address);
	free(sockets->items);
	*sockets = (struct sockets){NULL, 0, false};
}

static bool has_fd(const struct sockets *sockets, int fd)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->items[i].fd == fd)
			return true;
	return false;
}

static int take_from_systemd(struct sockets *sockets, int count, struct err *err)
{
	sockets->from_systemd = true;
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++) {
		if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
			free_list(sockets);
			return err_set(err, "systemd handed over a descriptor that is no listening stream "
					    "socket; the .socket unit "
					    "needs ListenStream= and Accept=no");
		}
		/* Handed over as they are, and a blocking accept would stop the listener. */
		evutil_make_socket_nonblocking(fd);
		add(sockets, NULL, listen_port(fd), fd);
	}
	return 0;
}

/* The kernel gives a port on "*" and on an address of its own to one socket only, and the old listener has it
 * until its last session has ended. */
static int refuse_overlap(
    const struct listen_socket *ours, const struct listen_config *entry, struct err *err)
{
	return err_set(err,
	    "listen: this daemon itself has port %u open on \"%s\", which stands in the way of \"%s\"; such "
	    "a "
	    "change takes a restart (systemctl restart mfdrelay)",
	    (unsigned)ours->port, ours->address, entry->address);
}

/* A socket for one entry: the one that is open already and not taken, or a new one. */
static int open_one(const struct sockets *next, const struct sockets *current,
    const struct listen_config *entry, struct err *err)
{
	for (size_t i = 0; i < current->count; i++) {
		const struct listen_socket *ours = &current->items[i];
		const struct listen_config was = {.address = ours->address, .port = ours->port};
		if (ours->address == NULL || ours->port != entry->port)
			continue;
		if (strcmp(ours->address, entry->address) == 0 && !has_fd(next, ours->fd))
			return ours->fd;
		if (listen_overlaps(&was, entry))
			return refuse_overlap(ours, entry, err);
	}
	return listen_open(entry->address, entry->port, err);
}

int sockets_reopen(
    struct sockets *next, const struct sockets *current, const struct config *config, struct err *err)
{
	*next = (struct sockets){NULL, 0, current->from_systemd};
	if (current->from_systemd) {
		for (size_t i = 0; i < current->count; i++)
			add(next, NULL, current->items[i].port, current->items[i].fd);
		return 0;
	}
	for (size_t i = 0; i < config->listen_count; i++) {
		int fd = open_one(next, current, &config->listen[i], err);
		if (fd < 0) {
			int saved_errno = errno;
			sockets_replace(next, current);
			errno = saved_errno;
			return -1;
		}
		add(next, config->listen[i].address, config->listen[i].port, fd);
	}
	return 0;
}

int sockets_open(struct sockets *sockets, const struct config *config, unsigned wait_ms, struct err *err)
{
	struct sockets none = {NULL, 0, false};
	int64_t until_ms = clock_mono_ms() + wait_ms;
	int count = sd_listen_fds(1), result;

	*sockets = none;
	if (count < 0)
		return err_set(err, "systemd's socket activation is unusable: %s", strerror(-count));
	if (count > 0)
		return take_from_systemd(sockets, count, err);
	while ((result = sockets_reopen(sockets, &none, config, err)) < 0 && errno == EADDRINUSE &&
	       clock_mono_ms() < until_ms)
		clock_rest_us(RETRY_US);
	return result;
}

void sockets_replace(struct sockets *old, const struct sockets *current)
{
	for (size_t i = 0; i < old->count; i++)
		if (!has_fd(current, old->items[i].fd))
			close(old->items[i].fd);
	free_list(old);
}

void sockets_close(struct sockets *sockets)
{
	struct sockets none = {NULL, 0, false};

	sockets_replace(sockets, &none);
}
