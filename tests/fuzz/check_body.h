/* What smtp/repair.h promises of a body without parts: its lines may be broken, what it says stays. */
#ifndef MFDRELAY_TESTS_CHECK_BODY_H
#define MFDRELAY_TESTS_CHECK_BODY_H

#include <string.h>

#include "base/buf.h"
#include "fuzz.h"

/* What is behind the first empty line; nothing where there is none. */
static inline struct str body_of(struct str content)
{
	const char *blank = content.n > 0 ? memmem(content.p, content.n, "\r\n\r\n", 4) : NULL;

	return blank != NULL ? (struct str){blank + 4, content.n - (size_t)(blank + 4 - content.p)}
			     : (struct str){"", 0};
}

static inline int hex_value(char c)
{
	const char *digits = "0123456789ABCDEFabcdef", *found = c != '\0' ? strchr(digits, c) : NULL;

	return found == NULL ? -1 : found - digits < 16 ? (int)(found - digits) : (int)(found - digits) - 6;
}

/* RFC 2045 section 6.7, but for blanks, which are left out all: those at the end of a line say nothing. What is no
 * escape stands for itself. */
static inline struct buf decode_quoted(struct str in)
{
	struct buf out = {0};

	for (size_t i = 0; i < in.n; i++) {
		bool has_two = in.p[i] == '=' && i + 2 < in.n;
		char c = in.p[i];
		if (has_two && in.p[i + 1] == '\r' && in.p[i + 2] == '\n') {
			i += 2;
			continue;
		}
		if (has_two && hex_value(in.p[i + 1]) >= 0 && hex_value(in.p[i + 2]) >= 0) {
			c = (char)(hex_value(in.p[i + 1]) << 4 | hex_value(in.p[i + 2]));
			i += 2;
		}
		if (c != ' ' && c != '\t')
			buf_add_char(&out, c);
	}
	return out;
}

static inline struct buf without_all(struct str in, const char *bytes)
{
	struct buf out = {0};

	for (size_t i = 0; i < in.n; i++)
		if (strchr(bytes, in.p[i]) == NULL)
			buf_add_char(&out, in.p[i]);
	return out;
}

/* The stored content in became out, by the repairs of these names. Where a line could be a boundary nothing is checked. */
static inline void check_body(struct str in, struct str out, const char *names)
{
	struct str before = body_of(in), after = body_of(out);
	struct buf was, is;

	if (before.n == 0 || strncmp(in.p, "--", 2) == 0 || memmem(in.p, in.n, "\n--", 3) != NULL)
		return;
	if (strstr(names, "long-base64") != NULL) {
		was = without_all(before, "\r\n");
		is = without_all(after, "\r\n");
	} else {
		bool was_text = strstr(names, "long-text") != NULL,
		     quoted = strstr(names, "long-quoted") != NULL;
		was = quoted ? decode_quoted(before) : without_all(before, was_text ? " \t" : "");
		is = quoted || was_text ? decode_quoted(after) : without_all(after, "");
	}
	/* What was no header, but stood above that line, may now be behind it. */
	PROMISE(was.n <= is.n && (was.n == 0 || memcmp(was.p, is.p + is.n - was.n, was.n) == 0));
	buf_free(&was);
	buf_free(&is);
}

#endif
