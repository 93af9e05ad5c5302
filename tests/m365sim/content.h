/* Message content as it comes in, in pieces: finds the end of DATA (CRLF.CRLF and nothing else), takes the
 * stuffing off, and counts what a correct client never sends. Pure: bytes in, bytes out. */
#ifndef M365SIM_CONTENT_H
#define M365SIM_CONTENT_H

#include <stdbool.h>
#include <stddef.h>

#define CONTENT_HEAD 32768

struct content {
	bool stuffed;		/* DATA; else BDAT: no end, no dots */
	enum { AT_LINE_START, IN_LINE, AFTER_CR, AFTER_DOT, AFTER_DOT_CR } state;
	unsigned long bare_lf, bare_cr, nul, eight_bit, unstuffed_dots, long_lines;
	size_t line_length;
	size_t head_n;
	char head[CONTENT_HEAD];	/* the first bytes, for what is asked of the header */
};

void content_init(struct content *content, bool stuffed);

/* Take up to n bytes; write the content to out (room for n + 1), its length to *out_n. Returns how many
 * were taken; *ended: the last of them was the end. */
size_t content_take(struct content *content, const char *in, size_t n, char *out, size_t *out_n, bool *ended);

/* The Message-ID with its angle brackets, into dst; false, dst empty, when there is none. */
bool content_message_id(const struct content *content, char *dst, size_t size);

/* The address in From, without name and brackets; false, dst empty, when there is none. */
bool content_from(const struct content *content, char *dst, size_t size);

#endif
