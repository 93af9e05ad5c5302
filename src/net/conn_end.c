#include "net/conn_private.h"

#include <stdlib.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/err.h>

#define FLUSH_MS  8000
#define LINGER_MS 2000 /* for the peer's end after ours: unread input would reset our last reply */

/* Those whose callers have called conn_finish. */
static TAILQ_HEAD(conn_list, conn) finishing_conns = TAILQ_HEAD_INITIALIZER(
    finishing_conns); /* oldest first */
static size_t finishing_count;

static void half_close(struct conn *conn)
{
	static const struct timeval linger = {LINGER_MS / 1000, 0};

	conn->half_closed = true;
	if (conn->ssl != NULL) {
		ERR_clear_error();
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	shutdown(conn->fd, SHUT_WR);
	event_add(conn->timer, &linger);
}

void conn_finish_step(struct conn *conn)
{
	if (conn->state == STATE_FAILED) {
		conn_free(conn);
		return;
	}
	if (!conn->half_closed && conn_pending(conn) == 0)
		half_close(conn);
	if (conn->half_closed && conn->eof)
		conn_free(conn);
}

void conn_finish(struct conn *conn)
{
	static const struct timeval flush = {FLUSH_MS / 1000, 0};

	if (conn->state != STATE_OPEN) {
		conn_free(conn);
		return;
	}
	if (conn->gone != NULL)
		*conn->gone = true;
	conn->gone = NULL;
	conn->finishing = true;
	conn->reading = true;
	conn->full = false;
	conn->owed = 0;
	/* They are beyond every limit of sessions: so they have one of their own. The oldest has had its
	 * time. */
	if (finishing_count >= CONN_FINISHING_MAX)
		conn_free(TAILQ_FIRST(&finishing_conns));
	TAILQ_INSERT_TAIL(&finishing_conns, conn, next);
	finishing_count++;
	evbuffer_drain(conn_input(conn), evbuffer_get_length(conn_input(conn)));
	conn_adjust_reading(conn);
	event_add(conn->timer, &flush);
	event_active(conn->wake, EV_READ, 0);
}

void conn_drop_finishing(void)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&finishing_conns)) != NULL)
		conn_free(conn);
}

/* Input that nobody has read would turn the close into a reset, which may overtake the last reply. What has
 * no end by then is reset all the same: a peer that sends faster than we read would hold us for ever. */
static void read_rest(int fd)
{
	char rest[4096];

	if (shutdown(fd, SHUT_WR) < 0)
		return;
	for (int i = 0; i < 16 && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++)
		;
}

void conn_dismiss(int fd, const void *bytes, size_t n)
{
	if (send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		read_rest(fd);
	close(fd);
}

void conn_close(struct conn *conn)
{
	if (conn->fd >= 0 && conn->ssl == NULL)
		read_rest(conn->fd);
	conn_free(conn);
}

void conn_free(struct conn *conn)
{
	if (conn == NULL)
		return;
	if (conn->gone != NULL)
		*conn->gone = true;
	if (conn->finishing) {
		TAILQ_REMOVE(&finishing_conns, conn, next);
		finishing_count--;
	}
	if (conn->ssl != NULL && conn->state == STATE_OPEN && !conn->half_closed) {
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	if (conn->bev != NULL)
		bufferevent_free(conn->bev);
	SSL_free(conn->ssl);
	if (conn->fd >= 0)
		close(conn->fd);
	if (conn->wake != NULL)
		event_free(conn->wake);
	if (conn->timer != NULL)
		event_free(conn->timer);
	free(conn->error);
	free(conn);
}
