/* How it works: libevent's callbacks only take down what has happened (enum conn_due) and activate conn->wake. The
 * caller is told from there, outside of libevent's and OpenSSL's code, so it may free the connection at any
 * time.
 *
 * Input is bounded here and not by libevent's high-water mark: with that, bytes that OpenSSL has decrypted
 * but not handed out stay unseen until the peer sends more, which it may never do, and the read callback
 * comes again and again while the input is full. Without it libevent takes all that is decrypted, which
 * overshoots INPUT_STOP by less than two records. */
#include "net/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/timer.h"
#include "net/tls.h"

#define INPUT_STOP    (40 * 1024)
#define LIBEVENT_READ 4096
#define READ_MORE     32000 /* fits a piece of 32 KiB with libevent's own words before it */
#define LAST_WORDS    16384
/* Behind a standstill (a suspended machine, a stopped process) what was waited for may lie in the socket, a final
 * 250 above all: one round of the loop to read it and one to hand it on, then the time is over. */
#define LATE_ROUNDS 2

struct evbuffer *conn_input(const struct conn *conn)
{
	return bufferevent_get_input(conn->bev);
}

static void raise_event(struct conn *conn, enum conn_due due)
{
	conn->due |= due;
	event_active(conn->wake, EV_READ, 0);
}

/* libevent reads during a handshake as OpenSSL needs it: not to be touched then. */
void conn_adjust_reading(struct conn *conn)
{
	bool want = conn->reading && !conn->full && !conn->eof && conn->state == STATE_OPEN;
	bool on = (bufferevent_get_enabled(conn->bev) & EV_READ) != 0;

	if (conn->state == STATE_HANDSHAKE || want == on)
		return;
	if (want)
		bufferevent_enable(conn->bev, EV_READ);
	else
		bufferevent_disable(conn->bev, EV_READ);
}

void conn_fail(struct conn *conn, bool tls, const char *text)
{
	if (conn->state == STATE_FAILED)
		return;
	conn->state = STATE_FAILED;
	conn->tls_error = tls;
	conn->error = xstrdup(text);
	bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
	raise_event(conn, DUE_ERROR);
}

void conn_fail_errno(struct conn *conn, int error)
{
	char text[128];

	snprintf(text, sizeof text, "%s%s",
	    conn->state == STATE_HANDSHAKE ? "during the TLS handshake: " : "",
	    error != 0 ? strerror(error) : "connection lost");
	if (conn->state != STATE_HANDSHAKE)
		text[0] = ascii_lower(text[0]);
	conn_fail(conn, false, text);
}

void conn_fail_tls(struct conn *conn, unsigned long error)
{
	const char *certificate = tls_verify_failure(conn->ssl);
	char reason[256], text[512];

	tls_reason(reason, sizeof reason, error);
	snprintf(text, sizeof text, "%s: %s",
	    conn->state == STATE_HANDSHAKE ? "TLS handshake failed" : "TLS failed", reason);
	conn_fail(conn, true, certificate != NULL ? certificate : text);
}

void conn_settle(struct conn *conn)
{
	if (conn->owed > 0) {
		evbuffer_drain(conn_input(conn), conn->owed);
		conn->owed = 0;
	}
	if (conn->full && evbuffer_get_length(conn_input(conn)) < INPUT_STOP) {
		conn->full = false;
		conn_adjust_reading(conn);
	}
}

bool conn_is_for_later(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* libevent takes LIBEVENT_READ bytes at a time; where there were as many, there are more. An end met here libevent meets
 * again, but an error is told once. */
static void read_more(struct conn *conn)
{
	struct evbuffer *input = conn_input(conn);
	struct evbuffer_iovec piece;
	ssize_t n = 0;
	int error = 0;

	evbuffer_unfreeze(input, 0);
	if (evbuffer_reserve_space(input, READ_MORE, &piece, 1) == 1) {
		n = recv(conn->fd, piece.iov_base, piece.iov_len, MSG_DONTWAIT);
		error = n < 0 ? errno : 0;
		piece.iov_len = n > 0 ? (size_t)n : 0;
		evbuffer_commit_space(input, &piece, 1);
	}
	evbuffer_freeze(input, 0);
	if (n < 0 && !conn_is_for_later(error))
		conn_fail_errno(conn, error);
}

static void on_readable(struct bufferevent *bev, void *cookie)
{
	struct conn *conn = cookie;

	(void)bev;
	if (conn->ssl == NULL && conn->reading && evbuffer_get_length(conn_input(conn)) == LIBEVENT_READ)
		read_more(conn);
	size_t n = evbuffer_get_length(conn_input(conn));
	if (conn->finishing) {
		evbuffer_drain(conn_input(conn), n);
		return;
	}
	if (n >= INPUT_STOP)
		conn->full = true;
	conn_adjust_reading(conn);
	raise_event(conn, DUE_DATA);
}

static void on_written(struct bufferevent *bev, void *cookie)
{
	struct conn *conn = cookie;

	if (!conn->waited || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	conn->waited = false;
	raise_event(conn, DUE_DRAINED);
}

static void on_connected(struct conn *conn)
{
	bool tls = conn->state == STATE_HANDSHAKE;

	conn->state = STATE_OPEN;
	conn_adjust_reading(conn);
	raise_event(conn, tls ? DUE_TLS_READY : DUE_CONNECTED);
}

/* OpenSSL's oldest error; 0: none. libevent gives the oldest last, and puts SSL_get_error's result before it.
 */
static unsigned long oldest_tls_error(struct conn *conn)
{
	unsigned long oldest = 0, error;

	while (conn->ssl != NULL && (error = bufferevent_get_openssl_error(conn->bev)) != 0) {
		if (error > SSL_ERROR_WANT_RETRY_VERIFY)
			oldest = error;
	}
	return oldest;
}

static void on_event(struct bufferevent *bev, short what, void *cookie)
{
	struct conn *conn = cookie;
	bool was_open = conn->state == STATE_OPEN;
	int saved_errno = errno;
	unsigned long error;

	(void)bev;
	if ((what & BEV_EVENT_CONNECTED) != 0) {
		on_connected(conn);
	} else if ((what & BEV_EVENT_EOF) != 0 && conn->state == STATE_OPEN &&
		   (what & BEV_EVENT_WRITING) == 0) {
		/* An end met while writing is a failed write after the peer's close_notify. */
		conn->eof = true;
		conn_adjust_reading(conn);
		raise_event(conn, DUE_CLOSED);
	} else if ((what & BEV_EVENT_EOF) != 0 && conn->state == STATE_HANDSHAKE) {
		conn_fail(conn, false, "the other side closed the connection during the TLS handshake");
	} else if ((error = oldest_tls_error(conn)) != 0 && !ERR_SYSTEM_ERROR(error)) {
		conn_fail_tls(conn, error);
	} else {
		conn_fail_errno(conn, saved_errno);
	}
	if (was_open && conn->state == STATE_FAILED && (what & BEV_EVENT_WRITING) != 0)
		conn->cut = true;
}

/* What lies in the socket, or in OpenSSL, at most n bytes. 0: none. */
static size_t read_now(struct conn *conn, char *bytes, size_t n)
{
	size_t got = 0;

	if (conn->ssl == NULL) {
		ssize_t result = recv(conn->fd, bytes, n, MSG_DONTWAIT);
		return result > 0 ? (size_t)result : 0;
	}
	if (SSL_read_ex(conn->ssl, bytes, n, &got) != 1)
		got = 0;
	ERR_clear_error();
	return got;
}

/* A write has failed: what the peer said before it went may say why, or be the answer to all that was written. */
static void take_last_words(struct conn *conn)
{
	struct evbuffer *input = conn_input(conn);
	struct evbuffer_iovec piece;
	size_t n = 0, got;

	conn->cut = false;
	evbuffer_unfreeze(input, 0); /* for good: libevent reads no more */
	if (conn->full || evbuffer_reserve_space(input, LAST_WORDS, &piece, 1) != 1)
		return;
	while (n < LAST_WORDS && (got = read_now(conn, (char *)piece.iov_base + n, LAST_WORDS - n)) > 0)
		n += got;
	piece.iov_len = n;
	evbuffer_commit_space(input, &piece, 1);
	if (n > 0)
		conn->due |= DUE_DATA;
}

/* Take the most urgent event out of what is due. false: none is, for now. */
static bool next_event(struct conn *conn, enum conn_event *event)
{
	static const struct {
		enum conn_due due;
		enum conn_event event;
	} order[] = {{DUE_CONNECTED, CONN_CONNECTED}, {DUE_TLS_READY, CONN_TLS_READY}, {DUE_DATA, CONN_DATA},
	    {DUE_DRAINED, CONN_DRAINED}, {DUE_ERROR, CONN_ERROR}, {DUE_CLOSED, CONN_CLOSED}};

	if (conn->cut)
		take_last_words(conn);
	/* Input stays unsaid while reading is off; conn_set_reading sees to it later. */
	if (!conn->reading || conn_available(conn) == 0)
		conn->due &= ~(unsigned)DUE_DATA;
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		if ((conn->due & order[i].due) == 0 || (order[i].due == DUE_CLOSED && !conn->reading))
			continue;
		conn->due &= ~(unsigned)order[i].due;
		*event = order[i].event;
		return true;
	}
	return false;
}

static void set_timer(struct conn *conn)
{
	if (!conn->timeout_is_new)
		return;
	conn->timeout_is_new = false;
	if (conn->timeout_ms > 0)
		timer_set(conn->timer, conn->timeout_ms);
	else
		event_del(conn->timer);
}

/* Returns false when the caller has let go of the connection. */
static bool tell(struct conn *conn, enum conn_event event)
{
	bool gone = false;

	if (event == CONN_CLOSED || event == CONN_ERROR) {
		conn->ended = true;
		event_del(conn->timer);
	}
	conn->gone = &gone;
	conn->fn(conn->arg, event);
	if (gone)
		return false;
	conn->gone = NULL;
	set_timer(conn);
	conn_settle(conn);
	return true;
}

static void on_wake(evutil_socket_t fd, short what, void *cookie)
{
	struct conn *conn = cookie;
	enum conn_event event;

	(void)fd;
	(void)what;
	/* At the peer's end libevent stops writing over TLS too. */
	if (conn->ssl != NULL && conn->eof && conn_pending(conn) > 0 && conn->state == STATE_OPEN)
		bufferevent_enable(conn->bev, EV_WRITE);
	if (conn->finishing) {
		conn_finish_step(conn);
		return;
	}
	while (!conn->ended && next_event(conn, &event)) {
		if (!tell(conn, event))
			return;
	}
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct conn *conn = cookie;

	(void)fd;
	(void)what;
	if (conn->finishing)
		conn_free(conn);
	else if (!conn->ended && ++conn->late <= LATE_ROUNDS)
		timer_set(conn->timer, 0);
	else if (!conn->ended)
		tell(conn, CONN_TIMEOUT);
}

/* A socket pair of a test takes none of these, and a connection works without. */
static void set_options(int fd)
{
	static const int on = 1, idle_s = 60, interval_s = 10, probes = 6;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

void conn_take_bufferevent(struct conn *conn, struct bufferevent *bev)
{
	conn->bev = bev;
	bufferevent_setcb(bev, on_readable, on_written, on_event, conn);
}

/* conn as its parts are there; NULL when libevent refuses one. fd is the connection's from here on. */
static struct conn *conn_new(struct event_base *base, int fd, conn_fn *fn, void *arg)
{
	struct conn *conn = xcalloc(1, sizeof *conn);
	struct bufferevent *bev = bufferevent_socket_new(base, fd, 0);

	*conn = (struct conn){
	    .base = base, .fn = fn, .arg = arg, .fd = fd, .state = STATE_CONNECTING, .reading = true};
	conn->wake = event_new(base, -1, 0, on_wake, conn);
	conn->timer = event_new(base, -1, 0, on_timer, conn);
	if (bev != NULL)
		conn_take_bufferevent(conn, bev);
	if (fd >= 0)
		set_options(fd);
	if (bev != NULL && conn->wake != NULL && conn->timer != NULL)
		return conn;
	conn_free(conn);
	errno = ENOMEM;
	return NULL;
}

struct conn *conn_accept(struct event_base *base, int fd, conn_fn *fn, void *arg)
{
	struct conn *conn = conn_new(base, fd, fn, arg);

	if (conn == NULL)
		return NULL;
	conn->state = STATE_OPEN;
	if (bufferevent_enable(conn->bev, EV_READ) < 0) {
		int saved_errno = errno;
		conn_free(conn);
		errno = saved_errno;
		return NULL;
	}
	return conn;
}

struct conn *conn_connect(
    struct event_base *base, const struct sockaddr *address, socklen_t length, conn_fn *fn, void *arg)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? errno : 0;
	struct conn *conn = conn_new(base, fd, fn, arg);

	if (conn == NULL)
		return NULL;
	if (fd >= 0 && connect(fd, address, length) < 0 && errno != EINPROGRESS && errno != EINTR)
		error = errno;
	if (error != 0)
		conn_fail_errno(conn, error);
	else if (bufferevent_socket_connect(conn->bev, NULL, 0) < 0)
		conn_fail_errno(conn, errno);
	return conn;
}

enum conn_line conn_read_line(struct conn *conn, size_t max, struct str *line)
{
	struct evbuffer *input = conn_input(conn);
	struct evbuffer_ptr end;
	size_t end_length;

	assert(max + 2 < INPUT_STOP);
	conn_settle(conn);
	end = evbuffer_search_eol(input, NULL, &end_length, EVBUFFER_EOL_CRLF);
	/* A CR may still turn out to belong to the end. */
	if (end.pos < 0)
		return evbuffer_get_length(input) > max + 1 ? CONN_LINE_TOO_LONG : CONN_NO_LINE;
	if ((size_t)end.pos > max)
		return CONN_LINE_TOO_LONG;
	conn->owed = (size_t)end.pos + end_length;
	*line = (struct str){(const char *)evbuffer_pullup(input, (ev_ssize_t)conn->owed), (size_t)end.pos};
	return CONN_LINE;
}

struct str conn_peek(struct conn *conn)
{
	conn_settle(conn);
	size_t n = evbuffer_get_contiguous_space(conn_input(conn));
	if (n == 0)
		n = evbuffer_get_length(conn_input(conn));
	return (struct str){(const char *)evbuffer_pullup(conn_input(conn), (ev_ssize_t)n), n};
}

void conn_consume(struct conn *conn, size_t n)
{
	conn_settle(conn);
	assert(n <= conn_available(conn));
	conn->owed = n;
	conn_settle(conn);
}

size_t conn_available(const struct conn *conn)
{
	return evbuffer_get_length(conn_input(conn)) - conn->owed;
}

void conn_set_reading(struct conn *conn, bool on)
{
	conn_settle(conn);
	if (conn->reading == on)
		return;
	conn->reading = on;
	/* Off: on_readable does it when something comes. A peer hardly says more before the answer that it waits for, so libevent
	 * is mostly spared both calls. */
	if (on)
		conn_adjust_reading(conn);
	if (on && conn_available(conn) > 0)
		raise_event(conn, DUE_DATA);
	else if (on && conn->due != 0)
		event_active(conn->wake, EV_READ, 0);
}

void conn_set_timeout(struct conn *conn, unsigned ms)
{
	conn->late = 0;
	conn->timeout_ms = conn->ended ? 0 : ms;
	conn->timeout_is_new = true;
	/* While fn runs only the last one counts: a dialog sets it at every step. */
	if (conn->gone == NULL)
		set_timer(conn);
}

const char *conn_error(const struct conn *conn)
{
	return conn->error != NULL ? conn->error : "no error";
}

bool conn_has_failed(const struct conn *conn)
{
	return conn->state == STATE_FAILED;
}

bool conn_error_is_tls(const struct conn *conn)
{
	return conn->tls_error;
}

bool conn_local_address(const struct conn *conn, struct sockaddr_storage *out)
{
	struct sockaddr_storage address;
	socklen_t n = sizeof address;

	if (getsockname(conn->fd, (struct sockaddr *)&address, &n) < 0)
		return false;
	*out = address;
	return true;
}
