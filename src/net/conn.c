/* How it works: libevent's callbacks only take down what has happened (enum due) and activate conn->wake. The
 * caller is told from there, outside of libevent's and OpenSSL's code, so it may free the connection at any
 * time.
 *
 * Input is bounded here and not by libevent's high-water mark: with that, bytes that OpenSSL has decrypted
 * but not handed out stay unseen until the peer sends more, which it may never do, and the read callback
 * comes again and again while the input is full. Without it libevent takes all that is decrypted, which
 * overshoots INPUT_STOP by less than two records. */
#include "net/conn.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/timer.h"
#include "net/tls.h"

#define INPUT_STOP    (40 * 1024)
#define LIBEVENT_READ 4096
#define READ_MORE     32000 /* fits a piece of 32 KiB with libevent's own words before it */
#define LAST_WORDS    16384
#define FLUSH_MS      8000
#define LINGER_MS     2000 /* for the peer's end after ours: unread input would reset our last reply */
/* Behind a standstill (a suspended machine, a stopped process) what was waited for may lie in the socket, a final
 * 250 above all: one round of the loop to read it and one to hand it on, then the time is over. */
#define LATE_ROUNDS 2

enum state { STATE_CONNECTING, STATE_OPEN, STATE_HANDSHAKE, STATE_FAILED };

enum due {
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
	enum state state;
	unsigned due;
	bool reading;	/* as the caller wants it */
	bool full;	/* reading stopped at INPUT_STOP */
	bool eof;	/* the peer has closed */
	bool waited;	/* output had to wait: CONN_DRAINED is due when it has gone */
	bool ended;	/* CONN_CLOSED or CONN_ERROR was given */
	bool tls_error; /* of conn_error_is_tls */
	bool cut;	/* a write has failed, and what came before is not read yet */
	bool finishing, half_closed;
	unsigned char late;	/* rounds of the loop since the time was over */
	TAILQ_ENTRY(conn) next; /* in finishing_conns */
};

/* Those whose callers have called conn_finish. */
static TAILQ_HEAD(conn_list, conn) finishing_conns = TAILQ_HEAD_INITIALIZER(
    finishing_conns); /* oldest first */
static size_t finishing_count;

static struct evbuffer *input_of(const struct conn *conn)
{
	return bufferevent_get_input(conn->bev);
}

static void raise_event(struct conn *conn, enum due due)
{
	conn->due |= due;
	event_active(conn->wake, EV_READ, 0);
}

/* libevent reads during a handshake as OpenSSL needs it: not to be touched then. */
static void adjust_reading(struct conn *conn)
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

static void fail(struct conn *conn, bool tls, const char *text)
{
	if (conn->state == STATE_FAILED)
		return;
	conn->state = STATE_FAILED;
	conn->tls_error = tls;
	conn->error = xstrdup(text);
	bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
	raise_event(conn, DUE_ERROR);
}

static void fail_errno(struct conn *conn, int error)
{
	char text[128];

	snprintf(text, sizeof text, "%s%s",
	    conn->state == STATE_HANDSHAKE ? "during the TLS handshake: " : "",
	    error != 0 ? strerror(error) : "connection lost");
	if (conn->state != STATE_HANDSHAKE)
		text[0] = (char)tolower((unsigned char)text[0]);
	fail(conn, false, text);
}

static void fail_tls(struct conn *conn, unsigned long error)
{
	const char *certificate = tls_verify_failure(conn->ssl);
	char reason[256], text[512];

	tls_reason(reason, sizeof reason, error);
	snprintf(text, sizeof text, "%s: %s",
	    conn->state == STATE_HANDSHAKE ? "TLS handshake failed" : "TLS failed", reason);
	fail(conn, true, certificate != NULL ? certificate : text);
}

/* Drop what was lent, and read on if there is room again. */
static void settle(struct conn *conn)
{
	if (conn->owed > 0) {
		evbuffer_drain(input_of(conn), conn->owed);
		conn->owed = 0;
	}
	if (conn->full && evbuffer_get_length(input_of(conn)) < INPUT_STOP) {
		conn->full = false;
		adjust_reading(conn);
	}
}

static bool is_for_later(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* libevent takes LIBEVENT_READ bytes at a time; where there were as many, there are more. An end met here libevent meets
 * again, but an error is told once. */
static void read_more(struct conn *conn)
{
	struct evbuffer *input = input_of(conn);
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
	if (n < 0 && !is_for_later(error))
		fail_errno(conn, error);
}

static void on_readable(struct bufferevent *bev, void *cookie)
{
	struct conn *conn = cookie;

	(void)bev;
	if (conn->ssl == NULL && conn->reading && evbuffer_get_length(input_of(conn)) == LIBEVENT_READ)
		read_more(conn);
	size_t n = evbuffer_get_length(input_of(conn));
	if (conn->finishing) {
		evbuffer_drain(input_of(conn), n);
		return;
	}
	if (n >= INPUT_STOP)
		conn->full = true;
	adjust_reading(conn);
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
	adjust_reading(conn);
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
		adjust_reading(conn);
		raise_event(conn, DUE_CLOSED);
	} else if ((what & BEV_EVENT_EOF) != 0 && conn->state == STATE_HANDSHAKE) {
		fail(conn, false, "the other side closed the connection during the TLS handshake");
	} else if ((error = oldest_tls_error(conn)) != 0 && !ERR_SYSTEM_ERROR(error)) {
		fail_tls(conn, error);
	} else {
		fail_errno(conn, saved_errno);
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
	struct evbuffer *input = input_of(conn);
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
		enum due due;
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
	settle(conn);
	return true;
}

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

static void finish_step(struct conn *conn)
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
		finish_step(conn);
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

static void take_bufferevent(struct conn *conn, struct bufferevent *bev)
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
		take_bufferevent(conn, bev);
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
		fail_errno(conn, error);
	else if (bufferevent_socket_connect(conn->bev, NULL, 0) < 0)
		fail_errno(conn, errno);
	return conn;
}

/* Plain text before TLS, unsent or unread, must not be mixed with what comes over it. */
static bool may_begin_tls(struct conn *conn)
{
	settle(conn);
	return conn->state == STATE_OPEN && conn->ssl == NULL && !conn->eof && !conn->finishing &&
	       conn_pending(conn) == 0;
}

/* A client may send its hello right behind STARTTLS, or in place of any command. */
static bool holds_hello(struct conn *conn)
{
	struct str in = conn_peek(conn);

	return in.n > 0 && (unsigned char)in.p[0] == CONN_TLS_FIRST;
}

static void begin_tls(struct conn *conn, enum bufferevent_ssl_state side)
{
	struct bufferevent *bev = bufferevent_openssl_socket_new(conn->base, conn->fd, conn->ssl, side, 0);

	if (bev == NULL) {
		fail(conn, true, "libevent gave no TLS connection");
		return;
	}
	bufferevent_free(conn->bev);
	take_bufferevent(conn, bev);
	/* The protocol above has its own end marks. libevent's word for this would hide resets too. */
	SSL_set_options(conn->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_set_mode(conn->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	conn->due &= ~(unsigned)DUE_DATA;
	conn->state = STATE_HANDSHAKE;
}

static bool hand_over_input(struct conn *conn)
{
	size_t n = conn_available(conn);
	const void *bytes = evbuffer_pullup(input_of(conn), (ev_ssize_t)n);

	if (n > 0 && !tls_unread(conn->ssl, conn->fd, bytes, n))
		return false;
	evbuffer_drain(input_of(conn), n);
	return true;
}

bool conn_tls_accept(struct conn *conn, SSL_CTX *ctx, int min_version)
{
	struct err err;

	if (!may_begin_tls(conn) || (conn_available(conn) > 0 && !holds_hello(conn)))
		return false;
	conn->ssl = tls_server_new(ctx, min_version, &err);
	if (conn->ssl == NULL)
		fail(conn, true, err.text);
	else if (!hand_over_input(conn))
		fail(conn, true, "no memory for TLS");
	else
		begin_tls(conn, BUFFEREVENT_SSL_ACCEPTING);
	return true;
}

bool conn_tls_connect(struct conn *conn, SSL_CTX *ctx, const char *host)
{
	struct err err;

	if (!may_begin_tls(conn) || conn_available(conn) > 0)
		return false;
	conn->ssl = tls_client_new(ctx, host, &err);
	if (conn->ssl == NULL)
		fail(conn, true, err.text);
	else
		begin_tls(conn, BUFFEREVENT_SSL_CONNECTING);
	return true;
}

/* What the kernel takes at once. */
static size_t send_plain(struct conn *conn, const char *bytes, size_t n)
{
	ssize_t sent;

	do {
		sent = send(conn->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (size_t)sent;
	if (!is_for_later(errno))
		fail_errno(conn, errno);
	return 0;
}

/* The same over TLS. A record that the kernel has not taken whole is OpenSSL's to repeat, with the same bytes and no fewer
 * (SSL_write(3)): libevent does, with the rest of the bytes, in one piece of its buffer because that was empty. */
static size_t send_tls(struct conn *conn, const char *bytes, size_t n)
{
	size_t sent = 0, part;
	int result = 1;

	ERR_clear_error();
	while (sent < n && (result = SSL_write_ex(conn->ssl, bytes + sent, n - sent, &part)) == 1)
		sent += part;
	if (result == 1)
		return sent;
	switch (SSL_get_error(conn->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_SSL:
		fail_tls(conn, ERR_get_error());
		break;
	default:
		fail_errno(conn, errno);
	}
	return sent;
}

size_t conn_write(struct conn *conn, const void *bytes, size_t n)
{
	const char *rest = bytes;

	if (conn->state == STATE_OPEN && conn_pending(conn) == 0 && n > 0) {
		size_t sent = conn->ssl != NULL ? send_tls(conn, rest, n) : send_plain(conn, rest, n);
		conn->cut = conn->state == STATE_FAILED;
		rest += sent;
		n -= sent;
	}
	if (n > 0 && conn->state != STATE_FAILED) {
		bufferevent_write(conn->bev, rest, n);
		conn->waited = true;
	}
	return conn_pending(conn);
}

size_t conn_pending(const struct conn *conn)
{
	return evbuffer_get_length(bufferevent_get_output(conn->bev));
}

enum conn_line conn_read_line(struct conn *conn, size_t max, struct str *line)
{
	struct evbuffer *input = input_of(conn);
	struct evbuffer_ptr end;
	size_t end_length;

	assert(max + 2 < INPUT_STOP);
	settle(conn);
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
	settle(conn);
	size_t n = evbuffer_get_contiguous_space(input_of(conn));
	if (n == 0)
		n = evbuffer_get_length(input_of(conn));
	return (struct str){(const char *)evbuffer_pullup(input_of(conn), (ev_ssize_t)n), n};
}

void conn_consume(struct conn *conn, size_t n)
{
	settle(conn);
	assert(n <= conn_available(conn));
	conn->owed = n;
	settle(conn);
}

size_t conn_available(const struct conn *conn)
{
	return evbuffer_get_length(input_of(conn)) - conn->owed;
}

void conn_set_reading(struct conn *conn, bool on)
{
	settle(conn);
	if (conn->reading == on)
		return;
	conn->reading = on;
	/* Off: on_readable does it when something comes. A peer hardly says more before the answer that it waits for, so libevent
	 * is mostly spared both calls. */
	if (on)
		adjust_reading(conn);
	if (on && conn_available(conn) > 0)
		raise_event(conn, DUE_DATA);
	else if (on && conn->due != 0)
		event_active(conn->wake, EV_READ, 0);
}

void conn_set_timeout(struct conn *conn, unsigned ms)
{
	conn->late = 0;
	if (ms > 0 && !conn->ended)
		timer_set(conn->timer, ms);
	else
		event_del(conn->timer);
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
	evbuffer_drain(input_of(conn), evbuffer_get_length(input_of(conn)));
	adjust_reading(conn);
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

const struct tls_hello *conn_tls_hello(const struct conn *conn)
{
	return conn->ssl != NULL ? tls_client_hello(conn->ssl) : NULL;
}

const char *conn_tls_version(const struct conn *conn)
{
	return conn->ssl != NULL && SSL_is_init_finished(conn->ssl) ? SSL_get_version(conn->ssl) : NULL;
}

const char *conn_tls_cipher(const struct conn *conn)
{
	return conn->ssl != NULL && SSL_is_init_finished(conn->ssl) ? SSL_get_cipher_name(conn->ssl) : NULL;
}

bool conn_tls_peer(const struct conn *conn, struct tls_peer *out)
{
	return conn->ssl != NULL && tls_describe_peer(conn->ssl, out);
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
