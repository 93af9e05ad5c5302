#include "net/conn_private.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

#include "base/err.h"
#include "net/tls.h"

/* Plain text before TLS, unsent or unread, must not be mixed with what comes over it. */
static bool may_begin_tls(struct conn *conn)
{
	conn_settle(conn);
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
		conn_fail(conn, true, "libevent gave no TLS connection");
		return;
	}
	bufferevent_free(conn->bev);
	conn_take_bufferevent(conn, bev);
	/* The protocol above has its own end marks. libevent's word for this would hide resets too. */
	SSL_set_options(conn->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_set_mode(conn->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	conn->due &= ~(unsigned)DUE_DATA;
	conn->state = STATE_HANDSHAKE;
}

static bool hand_over_input(struct conn *conn)
{
	size_t n = conn_available(conn);
	const void *bytes = evbuffer_pullup(conn_input(conn), (ev_ssize_t)n);

	if (n > 0 && !tls_unread(conn->ssl, conn->fd, bytes, n))
		return false;
	evbuffer_drain(conn_input(conn), n);
	return true;
}

enum conn_tls conn_tls_accept(struct conn *conn, SSL_CTX *ctx, int min_version)
{
	bool may_begin = may_begin_tls(conn);
	struct err err;

	if (conn->ssl == NULL && conn_available(conn) > 0 && !holds_hello(conn))
		return CONN_TLS_PLAIN_TEXT;
	if (!may_begin)
		return CONN_TLS_GONE;
	conn->ssl = tls_server_new(ctx, min_version, &err);
	if (conn->ssl == NULL)
		conn_fail(conn, true, err.text);
	else if (!hand_over_input(conn))
		conn_fail(conn, true, "no memory for TLS");
	else
		begin_tls(conn, BUFFEREVENT_SSL_ACCEPTING);
	return CONN_TLS_BEGUN;
}

enum conn_tls conn_tls_connect(struct conn *conn, SSL_CTX *ctx, const char *host)
{
	bool may_begin = may_begin_tls(conn);
	struct err err;

	if (conn->ssl == NULL && conn_available(conn) > 0)
		return CONN_TLS_PLAIN_TEXT;
	if (!may_begin)
		return CONN_TLS_GONE;
	conn->ssl = tls_client_new(ctx, host, &err);
	if (conn->ssl == NULL)
		conn_fail(conn, true, err.text);
	else
		begin_tls(conn, BUFFEREVENT_SSL_CONNECTING);
	return CONN_TLS_BEGUN;
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
