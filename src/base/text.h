/* A text of bounded length, put together piece by piece: what printf does, for lines that every message costs. It always ends
 * in NUL; what does not fit is cut off. */
#ifndef MFDRELAY_BASE_TEXT_H
#define MFDRELAY_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

struct text {
	char *p;
	size_t n, room;		/* the NUL not counted */
};

/* An empty text in p, size bytes (at least 1) with the NUL; borrowed for the text's life. */
struct text text_in(char *p, size_t size);

/* Add at the end: a byte; bytes; C strings, the last argument NULL. */
static inline void text_char(struct text *text, char c)
{
	if (text->n == text->room)
		return;
	text->p[text->n++] = c;
	text->p[text->n] = '\0';
}

void text_add(struct text *text, struct str s);
void text_join(struct text *text, ...) __attribute__((sentinel));

/* Add number in decimal, with zeros in front where it has fewer digits than width (at most 20). */
void text_number(struct text *text, uint64_t number, unsigned width);

/* number in decimal, in out. Returns out. */
#define TEXT_NUMBER_SIZE 21
const char *text_of_number(char out[TEXT_NUMBER_SIZE], uint64_t number);

#endif
