#include "stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "text.h"

struct stream *stream_new(int fd)
{
	struct stream *stream = text_alloc(sizeof(*stream));

	stream->fd = fd;
	return stream;
}

int stream_start_tls(struct stream *stream, SSL *ssl, char *text, size_t size)
{
	unsigned long code;

	stream_flush(stream);
	stream->ssl = ssl;
	SSL_set_fd(ssl, stream->fd);
	ERR_clear_error();
	if (SSL_accept(ssl) == 1)
		return 0;
	code = ERR_get_error();
	snprintf(text, size, "%s", code ? ERR_reason_error_string(code) : "the client hung up");
	ERR_clear_error();
	stream->broken = true;
	return -1;
}

static long raw_read(struct stream *stream, char *dst, size_t n)
{
	long got;

	if (stream->ssl) {
		ERR_clear_error();
		return SSL_read(stream->ssl, dst, (int)n);
	}
	do {
		got = read(stream->fd, dst, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

size_t stream_fill(struct stream *stream)
{
	long got;

	if (stream->start < stream->end)
		return stream->end - stream->start;
	stream_flush(stream);
	stream->start = stream->end = 0;
	if (stream->broken)
		return 0;
	got = raw_read(stream, stream->in_buffer, sizeof(stream->in_buffer));
	if (got <= 0)
		stream->broken = true;
	else
		stream->end = (size_t)got;
	return stream->end;
}

size_t stream_buffered(const struct stream *stream)
{
	return stream->end - stream->start;
}

const char *stream_bytes(const struct stream *stream)
{
	return stream->in_buffer + stream->start;
}

void stream_take(struct stream *stream, size_t n)
{
	stream->start += n;
}

enum line stream_line(struct stream *stream, char *dst, size_t size, size_t *n, bool *lf_only)
{
	bool too_long = false;
	size_t length = 0;

	for (;;) {
		const char *p, *lf;
		size_t some = stream_fill(stream), part;

		if (some == 0)
			return LINE_END;
		p = stream_bytes(stream);
		lf = memchr(p, '\n', some);
		part = lf ? (size_t)(lf - p) : some;
		if (length + part < size)
			memcpy(dst + length, p, part);
		else
			too_long = true;
		length = too_long ? 0 : length + part;
		stream_take(stream, part + (lf ? 1 : 0));
		if (lf)
			break;
	}
	*lf_only = length == 0 || dst[length - 1] != '\r';
	if (!too_long && !*lf_only)
		length--;
	dst[length] = '\0';
	*n = length;
	return too_long ? LINE_TOO_LONG : LINE_OK;
}

static long raw_write(struct stream *stream, const char *bytes, size_t n)
{
	if (stream->ssl) {
		ERR_clear_error();
		return SSL_write(stream->ssl, bytes, (int)n);
	}
	return write(stream->fd, bytes, n);
}

void stream_flush(struct stream *stream)
{
	size_t done = 0;

	while (done < stream->out && !stream->broken) {
		long n = raw_write(stream, stream->out_buffer + done, stream->out - done);

		if (n > 0)
			done += (size_t)n;
		else if (stream->ssl || errno != EINTR)
			stream->broken = true;
	}
	stream->out = 0;
}

void stream_write(struct stream *stream, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		size_t room = sizeof(stream->out_buffer) - stream->out;
		size_t part = n < room ? n : room;

		memcpy(stream->out_buffer + stream->out, p, part);
		stream->out += part;
		p += part;
		n -= part;
		if (stream->out == sizeof(stream->out_buffer))
			stream_flush(stream);
	}
}

void stream_free(struct stream *stream, bool polite)
{
	if (polite)
		stream_flush(stream);
	if (stream->ssl) {
		if (polite && !stream->broken)
			SSL_shutdown(stream->ssl);
		SSL_free(stream->ssl);
	}
	ERR_clear_error();
	free(stream);
}
