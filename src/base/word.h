/* Eight bytes at once, for scans of text that have to be fast: a question is asked of all of them by arithmetic, and the answer
 * stands in the high bit of each byte. */
#ifndef MFDRELAY_BASE_WORD_H
#define MFDRELAY_BASE_WORD_H

#include <stdint.h>
#include <string.h>

/* A word of eight times that byte (0 to 0xff); the high bits of a word. */
#define WORD_OF(byte)	(UINT64_C(0x0101010101010101) * (byte))
#define WORD_HIGH_BITS	WORD_OF(0x80)

/* The eight bytes at p. */
static inline uint64_t word_at(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

/* The last eight of n bytes at p, n at least eight: the rest of a scan, in a word that begins before it. */
static inline uint64_t word_last(const char *p, size_t n)
{
	return word_at(p + n - sizeof(uint64_t));
}

/* High bits tell that some byte of word is zero. Which one, only as to the first: one next to it may be told wrongly. Bytes above
 * 0x7f are never told. */
static inline uint64_t word_zeros(uint64_t word)
{
	return (word - WORD_OF(1)) & ~word;
}

#endif
