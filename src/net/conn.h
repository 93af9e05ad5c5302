/* One TCP connection, of either side, plain or TLS. The only code that knows a bufferevent: what is above it sees the
 * few events below, lines and bytes. The process ignores SIGPIPE, because libevent and OpenSSL write without
 * MSG_NOSIGNAL. */
#ifndef MFDRELAY_NET_CONN_H
#define MFDRELAY_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include "base/str.h"

struct event_base;
struct conn;
struct tls_hello;
struct tls_peer;

#define CONN_TLS_FIRST 0x16	/* the first octet of a client that begins with TLS (RFC 8446 5.1: a handshake record) */

enum conn_event {
	CONN_CONNECTED,		/* conn_connect has got through */
	CONN_TLS_READY,		/* the handshake is done; on a client, name and chain are verified */
	CONN_DATA,		/* there is new input: read lines or bytes until there is no more */
	CONN_DRAINED,		/* all that was written has been given to the kernel */
	CONN_TIMEOUT,		/* conn_set_timeout's time is over; it is off now */
	CONN_CLOSED,		/* the peer has closed in order; input that came before is still there to read, and
				   writing still works. It waits while reading is off; TLS needs no close_notify */
	CONN_ERROR,		/* connect, TLS or the network failed: conn_error() says why; nothing works any more.
				   What came before it comes before it here too, also where a write failed */
};

/* Called from the loop, never from inside a conn_ call. conn_free may be called from inside; nothing of the
 * connection is touched after that. After CONN_CLOSED or CONN_ERROR no further event comes. */
typedef void conn_fn(void *arg, enum conn_event event);

/* Take over fd, an accepted, non-blocking socket (closed with the connection). Reading begins at once.
 * TCP_NODELAY and keep-alive (60 s, 10 s, 6 times) are set. Returns NULL with errno when the loop has no room;
 * fd is closed then too. */
struct conn *conn_accept(struct event_base *base, int fd, conn_fn *fn, void *arg);

/* Begin a connection to address. Failure comes as CONN_ERROR later. CONN_CONNECTED when it stands. */
struct conn *conn_connect(struct event_base *base, const struct sockaddr *address, socklen_t length, conn_fn *fn,
    void *arg);

/* Begin TLS as server or as client. All output must have left, and input that is still in the buffer is a breach:
 * it is text from before the handshake (CVE-2011-0411 and its mirror on clients). Where TLS cannot begin nothing
 * has: the caller closes. Input that begins as TLS does is none of that on a server: it goes into the
 * handshake, all of it. Afterwards CONN_TLS_READY or CONN_ERROR comes. The server takes no version before min_version
 * (TLS1_VERSION ...; 0: as ctx says). The client verifies the chain against ctx and the certificate against host (a DNS
 * name, or an address); host is sent as SNI when it is a name. */
enum conn_tls {
	CONN_TLS_BEGUN,
	CONN_TLS_PLAIN_TEXT,	/* there is input from before it */
	CONN_TLS_GONE,		/* the peer has closed, or the connection failed; or our own mistake: output waits, or TLS is on */
};
enum conn_tls conn_tls_accept(struct conn *conn, SSL_CTX *ctx, int min_version);
enum conn_tls conn_tls_connect(struct conn *conn, SSL_CTX *ctx, const char *host);

/* Queue bytes for sending; they are copied. A short answer on an idle connection goes out at once, in one
 * segment. Returns the number of bytes that wait in user space after it (for back-pressure: stop at some 64 KiB
 * and go on at CONN_DRAINED). Nothing happens after CONN_ERROR. */
size_t conn_write(struct conn *conn, const void *bytes, size_t n);
size_t conn_pending(const struct conn *conn);

/* The first line of the input, without its line end. CONN_LINE: *line is it, borrowed until the next conn_ call,
 * and consumed (conn_write alone may be given it). CONN_NO_LINE: not there yet. CONN_LINE_TOO_LONG: more than max
 * bytes without an end (they stay).
 * Lines end with LF or CRLF; a CR elsewhere is part of the line. max is below 40,000. */
enum conn_line { CONN_LINE, CONN_NO_LINE, CONN_LINE_TOO_LONG };
enum conn_line conn_read_line(struct conn *conn, size_t max, struct str *line);

/* Some bytes at the front of the input, contiguous, as many as lie in one piece (n 0: none); borrowed until the
 * next conn_ call. conn_consume drops n of them. */
struct str conn_peek(struct conn *conn);
void conn_consume(struct conn *conn, size_t n);

/* Bytes of input that wait. */
size_t conn_available(const struct conn *conn);

/* Stop or go on reading from the network; what comes first after a stop may still be read, and is held. Input in the
 * buffer can be read all the same, and when reading goes on with input there, CONN_DATA comes from the loop. At most
 * 64 KiB of input are held in any case. */
void conn_set_reading(struct conn *conn, bool on);

/* One timer: CONN_TIMEOUT comes ms milliseconds from now unless it is set again (0: off). */
void conn_set_timeout(struct conn *conn, unsigned ms);

/* Send what is queued, then close and free, within 10 s, without events from now on. The caller forgets conn. Input is
 * thrown away until the peer closes too (2 s at most), so that no reset overtakes the last reply. */
void conn_finish(struct conn *conn);
#define CONN_FINISHING_MAX 128	/* of these at a time in a process; one more ends the oldest at once */

/* Close at once all that conn_finish has under way: for the end of a process, before its loop is freed. */
void conn_drop_finishing(void);

/* Close now and free, without waiting, but so that what has been sent is not lost to a reset. */
void conn_close(struct conn *conn);

/* The same for a socket that has not become a connection: a last word to it (short: what does not fit is lost), and
 * close it. */
void conn_dismiss(int fd, const void *bytes, size_t n);

/* Close at once and free. NULL is fine. */
void conn_free(struct conn *conn);

/* Whether CONN_ERROR has come or will: what is written goes nowhere. */
bool conn_has_failed(const struct conn *conn);

/* Why CONN_ERROR came: "connection refused", "certificate verify failed: ...". Borrowed, never NULL. */
const char *conn_error(const struct conn *conn);

/* Whether CONN_ERROR came from the TLS layer (then it is about certificates or versions, not the network). */
bool conn_error_is_tls(const struct conn *conn);

/* What the client has offered to conn_tls_accept. Borrowed; NULL without TLS. */
const struct tls_hello *conn_tls_hello(const struct conn *conn);

/* "TLSv1.3" and the suite's name, or NULL without TLS. They live for ever. */
const char *conn_tls_version(const struct conn *conn);
const char *conn_tls_cipher(const struct conn *conn);

/* What a client has verified of the other side. Returns false without TLS, or before CONN_TLS_READY. */
bool conn_tls_peer(const struct conn *conn, struct tls_peer *out);

/* Our own address of the connection. Returns false, *out untouched, when there is none any more. */
bool conn_local_address(const struct conn *conn, struct sockaddr_storage *out);

#endif
