#include "net/conn_private.h"

#include <errno.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <openssl/err.h>

/* What the kernel takes at once. */
static size_t send_plain(struct conn *conn, const char *bytes, size_t n)
{
	ssize_t sent;

	do {
		sent = send(conn->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (size_t)sent;
	if (!conn_is_for_later(errno))
		conn_fail_errno(conn, errno);
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
		conn_fail_tls(conn, ERR_get_error());
		break;
	default:
		conn_fail_errno(conn, errno);
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
