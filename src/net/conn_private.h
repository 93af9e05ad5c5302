/* The inside of a connection, shared by conn.c (its making, its events, its input), conn_write.c, conn_tls.c (the handshake and what it
 * has come to) and conn_end.c. */
#ifndef MFDRELAY_NET_CONN_PRIVATE_H
#define MFDRELAY_NET_CONN_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include <openssl/ssl.h>

#include "net/conn.h"

struct bufferevent;
struct evbuffer;
struct event;
struct event_base;

enum conn_state { STATE_CONNECTING, STATE_OPEN, STATE_HANDSHAKE, STATE_FAILED };

enum conn_due {
	DUE_CONNECTED = 1,
	DUE_TLS_READY = 2,
	DUE_DATA = 4,
	DUE_DRAINED = 8,
	DUE_CLOSED = 16,
	DUE_ERROR = 32
};

struct conn {
	struct event_base *base;
	conn_fn *fn;
	void *arg;
	struct bufferevent *bev;
	struct event *wake, *timer;
	SSL *ssl;
	char *error;
	bool *gone;  /* while fn runs: set when the caller lets go of the connection inside */
	size_t owed; /* input that was lent as a line and is to be dropped */
	int fd;
	enum conn_state state;
	unsigned due;
	bool reading;	/* as the caller wants it */
	bool full;	/* reading stopped at INPUT_STOP */
	bool eof;	/* the peer has closed */
	bool waited;	/* output had to wait: CONN_DRAINED is due when it has gone */
	bool ended;	/* CONN_CLOSED or CONN_ERROR was given */
	bool tls_error; /* of conn_error_is_tls */
	bool cut;	/* a write has failed, and what came before is not read yet */
	bool finishing, half_closed;
	unsigned timeout_ms;	/* of conn_set_timeout */
	bool timeout_is_new;	/* timer is not set to it yet */
	unsigned char late;	/* rounds of the loop since the time was over */
	TAILQ_ENTRY(conn) next; /* in finishing_conns */
};

struct evbuffer *conn_input(const struct conn *conn);

/* libevent's callbacks are conn's from here on. */
void conn_take_bufferevent(struct conn *conn, struct bufferevent *bev);

/* Reading is on as the caller, the room for input and the state have it. */
void conn_adjust_reading(struct conn *conn);

/* Drop what was lent, and read on if there is room again. */
void conn_settle(struct conn *conn);

/* CONN_ERROR comes from the loop, with this text; of errno; of OpenSSL's error. Only the first counts. */
void conn_fail(struct conn *conn, bool tls, const char *text);
void conn_fail_errno(struct conn *conn, int error);
void conn_fail_tls(struct conn *conn, unsigned long error);

/* Whether errno says that the socket has no room or no input now. */
bool conn_is_for_later(int error);

/* After conn_finish: the next step to its end, which may free it. */
void conn_finish_step(struct conn *conn);

#endif
