#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MAX ((size_t)1 << 30)

static void check_bound(size_t size)
{
	static const char line[] =
	    "mfdrelay: a request for over 1 GiB of memory: a bound is missing in this program\n";

	if (size <= REQUEST_MAX)
		return;
	/* There is nothing to be done where it cannot be said. */
	ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
	(void)ignored;
	abort();
}

/* write(2) and _exit only: the log allocates, and exit handlers might. */
void mem_exhausted(void)
{
	static const char line[] = "mfdrelay: out of memory: this process ends (a worker is started again); "
				   "give the machine more memory, or the unit where MemoryMax= is set\n";

	if (write(STDERR_FILENO, line, sizeof line - 1) < 0)
		_exit(71);
	_exit(70);
}

void *xmalloc(size_t size)
{
	return xrealloc(NULL, size);
}

void *xcalloc(size_t count, size_t size)
{
	size_t all;

	check_bound(__builtin_mul_overflow(count, size, &all) ? SIZE_MAX : all);
	void *p = calloc(count, size);

	if (p == NULL && count > 0 && size > 0)
		mem_exhausted();
	return p;
}

void *xrealloc(void *old, size_t size)
{
	check_bound(size);
	void *p = realloc(old, size);

	if (p == NULL && size > 0)
		mem_exhausted();
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
	char *p = strndup(s, n);

	if (p == NULL)
		mem_exhausted();
	return p;
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	char *p;

	va_start(args, format);
	int n = vasprintf(&p, format, args);
	va_end(args);
	if (n < 0)
		mem_exhausted();
	return p;
}

void mem_keep_spare(int bytes)
{
	mallopt(M_TRIM_THRESHOLD, bytes);
}
