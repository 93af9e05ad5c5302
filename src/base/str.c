#include "base/str.h"

#include <string.h>

#include "base/ascii.h"

struct str str_of(const char *s)
{
	return (struct str){s, strlen(s)};
}

bool str_eq(struct str a, const char *b)
{
	return a.n == strlen(b) && (a.n == 0 || memcmp(a.p, b, a.n) == 0);
}

/* Most names that are looked for differ in their first letter. */
bool str_ieq(struct str a, const char *b)
{
	size_t n = 0;

	while (n < a.n && b[n] != '\0' && (a.p[n] == b[n] || ascii_lower(a.p[n]) == ascii_lower(b[n])))
		n++;
	return n == a.n && b[n] == '\0';
}

bool str_istarts(struct str a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && str_ieq((struct str){a.p, n}, prefix);
}

struct str str_trim(struct str s)
{
	while (s.n > 0 && ascii_is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && ascii_is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_u64(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		unsigned digit = (unsigned)(s.p[i] - '0');
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

bool str_copy(char *dst, size_t size, struct str s)
{
	dst[0] = '\0';
	if (s.n == 0)
		return true;
	if (s.n >= size || memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return true;
}
