#include "base/buf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ROOM_MIN 64 /* a short line */

void buf_add(struct buf *buf, const char *bytes, size_t n)
{
	if (n == 0)
		return;
	if (n > buf->room - buf->n) {
		size_t more = buf->room > 0 ? 2 * buf->room : ROOM_MIN;
		buf->room = more > buf->n + n ? more : buf->n + n;
		buf->p = xrealloc(buf->p, buf->room);
	}
	memcpy(buf->p + buf->n, bytes, n);
	buf->n += n;
}

void buf_add_str(struct buf *buf, struct str s)
{
	buf_add(buf, s.p, s.n);
}

void buf_add_text(struct buf *buf, const char *text)
{
	buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void buf_join(struct buf *buf, ...)
{
	const char *s;
	va_list args;

	va_start(args, buf);
	while ((s = va_arg(args, const char *)) != NULL)
		buf_add_text(buf, s);
	va_end(args);
}

struct str buf_str(const struct buf *buf)
{
	return (struct str){buf->n > 0 ? buf->p : "", buf->n};
}

void buf_free(struct buf *buf)
{
	free(buf->p);
	*buf = (struct buf){0};
}
