/* What a character is in US-ASCII, whatever the locale: what <ctype.h> says of a byte above 0x7f, or of a letter, can differ. Any
 * char may be asked about. */
#ifndef MFDRELAY_BASE_ASCII_H
#define MFDRELAY_BASE_ASCII_H

#include <stdbool.h>

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(char c)
{
	return ascii_is_letter(c) || ascii_is_digit(c);
}

/* RFC 5234's WSP. */
static inline bool ascii_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

#endif
