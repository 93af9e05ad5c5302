/* Lines of a body that are too long, broken so that what they say stays the same (RFC 2045 sections 6.7 and 6.8).
 * Pure, a byte at a time. */
#ifndef MFDRELAY_SMTP_WRAP_H
#define MFDRELAY_SMTP_WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wrap_kind {
	WRAP_BASE64,		/* is base64: broken at 76 */
	WRAP_QUOTED,		/* is quoted-printable: soft line breaks put in */
	WRAP_TEXT,		/* is text as it is: becomes quoted-printable */
};

#define WRAP_OUT_MAX 24		/* bytes that come of one byte, at most */

/* Begins as {.kind = ...} at the start of a line. */
struct wrap {
	enum wrap_kind kind;
	uint8_t column;
	uint8_t held_n;
	char held[3];		/* read, not put out: what they mean depends on what follows */
};

/* Take one byte of content with CRLF line ends, put what comes of it into out. Returns the number of bytes. */
size_t wrap_byte(struct wrap *wrap, char c, char out[WRAP_OUT_MAX]);

/* The same for the length alone, and fast: how many bytes come of a whole line of text, its line end with it, where each of its
 * characters stays as it is. 0: it is not such a line, and nothing has been taken. */
size_t wrap_plain_line(const struct wrap *wrap, const char *line, size_t n);

/* The end of the content: put what is held. */
size_t wrap_end(struct wrap *wrap, char out[WRAP_OUT_MAX]);

#endif
