/* The listening sockets over the daemon's life: bound from the config or handed over by systemd, kept over reloads. */
#ifndef MFDRELAY_SUPERVISOR_SOCKETS_H
#define MFDRELAY_SUPERVISOR_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

struct config;

struct listen_socket {
	char *address;		/* as the config names it; NULL: from systemd */
	unsigned short port;
	int fd;
};

struct sockets {
	struct listen_socket *items;
	size_t count;
	bool from_systemd;	/* the config's `listen` is not used then */
};

/* Take systemd's sockets if there are any, else bind config's; while a port is in use it tries again, for wait_ms at most. Blocks.
 * Returns 0, or -1 with err and nothing open. */
int sockets_open(struct sockets *sockets, const struct config *config, unsigned wait_ms, struct err *err);

/* What config asks for after a reload into next: sockets that stay are shared with current, new ones are bound. Returns 0,
 * or -1 with err, next empty and current as it was. */
int sockets_reopen(struct sockets *next, const struct sockets *current, const struct config *config, struct err *err);

/* Close those of old that current does not have, and free old's list. */
void sockets_replace(struct sockets *old, const struct sockets *current);

/* Close all and free. */
void sockets_close(struct sockets *sockets);

#endif
