/* One connection's bytes, plain or under TLS: blocking, buffered both ways. What was written goes out
 * before the next read that has to wait, so pipelined commands get their replies together, as from the real
 * servers. */
#ifndef M365SIM_STREAM_H
#define M365SIM_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#define STREAM_BUFFER 65536

struct stream {
	int fd;
	SSL *ssl;
	bool broken;		/* nothing can be read or written any more */
	size_t start, end;	/* what was read and not yet taken */
	size_t out;
	char in_buffer[STREAM_BUFFER];
	char out_buffer[STREAM_BUFFER];
};

struct stream *stream_new(int fd);

/* Speak TLS from here on, as the server. ssl is the stream's. Returns 0, or -1 with the stream broken and
 * why in text. */
int stream_start_tls(struct stream *stream, SSL *ssl, char *text, size_t size);

/* Read more into the buffer when it is empty. Returns how many bytes are there; 0: the end. */
size_t stream_fill(struct stream *stream);
size_t stream_buffered(const struct stream *stream);
const char *stream_bytes(const struct stream *stream);
void stream_take(struct stream *stream, size_t n);

enum line { LINE_OK, LINE_TOO_LONG, LINE_END };

/* Take one line, without its end, NUL behind it; at most size - 1 bytes, else the whole line is skipped.
 * *lf_only: it ended without CR. */
enum line stream_line(struct stream *stream, char *dst, size_t size, size_t *n, bool *lf_only);

void stream_write(struct stream *stream, const void *bytes, size_t n);
void stream_flush(struct stream *stream);

/* polite: with TLS's close_notify. The descriptor is the caller's. */
void stream_free(struct stream *stream, bool polite);

#endif
