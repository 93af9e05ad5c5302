/* Bytes that grow. Begins as {0}; what it holds is not NUL-terminated, and stays valid until the next call that adds. */
#ifndef MFDRELAY_BASE_BUF_H
#define MFDRELAY_BASE_BUF_H

#include <stddef.h>
#include "base/str.h"

struct buf {
	char *p;
	size_t n, room;
};

/* Add at the end. The bytes may not lie in buf itself. */
void buf_add(struct buf *buf, const char *bytes, size_t n);
void buf_add_str(struct buf *buf, struct str s);
void buf_add_text(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_join(struct buf *buf, ...) __attribute__((sentinel));	/* C strings, the last argument NULL */

/* What it holds, borrowed. */
struct str buf_str(const struct buf *buf);

/* Free what it holds; it is {0} after it. */
void buf_free(struct buf *buf);

#endif
