/* A borrowed run of bytes: what parsers take and give. Never NUL-terminated by promise, may hold NUL. */
#ifndef MFDRELAY_BASE_STR_H
#define MFDRELAY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	const char *p;
	size_t n;
};

/* The bytes of a C string, without its NUL. */
struct str str_of(const char *s);

/* Whether a and b hold the same bytes; str_ieq takes ASCII letters of either case as the same. */
bool str_eq(struct str a, const char *b);
bool str_ieq(struct str a, const char *b);
bool str_istarts(struct str a, const char *prefix);

/* s without blanks and tabs at both ends. */
struct str str_trim(struct str s);

/* Read a decimal number that is all of s, at most max. Returns false, *out untouched, on anything else. */
bool str_u64(struct str s, uint64_t max, uint64_t *out);

/* Copy s into dst (size bytes) as a C string. Returns false, dst empty, when it does not fit or holds a NUL. */
bool str_copy(char *dst, size_t size, struct str s);

#endif
