/* The listening ports: one thread accepts on each, one thread serves each connection. */
#ifndef M365SIM_FRONT_H
#define M365SIM_FRONT_H

#include <jansson.h>
#include <stdbool.h>

struct options;

enum front { FRONT_SMTP, FRONT_LOGIN, FRONT_MX, FRONT_IMDS, FRONT_ARC, FRONT_COUNT };

#define FRONT_CONNECTIONS_MAX 512	/* at a time, per front; more wait in the kernel's queue */

struct connection {
	enum front front;
	unsigned long number;	/* unique over all fronts */
	int fd;			/* closed by the front when serve has returned */
	bool reset;		/* serve wants it ended with RST instead of FIN */
	const struct options *options;
	struct connection *next;
};

typedef void serve_fn(struct connection *connection);

const char *front_name(enum front front);

/* Bind 127.0.0.1:port (0: a free one) and serve it from now on. Returns the port, or 0 with errno. */
unsigned short front_open(enum front front, unsigned short port, serve_fn *serve,
    const struct options *options);

/* After stop_request: wake all connections and wait until the last has ended. */
void front_close_all(void);

/* {"smtp": {"now": .., "peak": .., "total": ..}, ...}. A connection counts until the client has closed it,
 * whether or not its thread has seen that already: so a client that closes one and opens another never
 * counts as two. */
json_t *front_stats(void);

#endif
