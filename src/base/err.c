#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct err *err, const char *format, va_list args)
{
	if (err != NULL)
		vsnprintf(err->text, sizeof err->text, format, args);
}

int err_set(struct err *err, const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	va_start(args, format);
	fill(err, format, args);
	va_end(args);
	errno = saved_errno;
	return -1;
}

int err_sys(struct err *err, const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	va_start(args, format);
	fill(err, format, args);
	va_end(args);
	if (err != NULL) {
		size_t used = strlen(err->text);
		snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(saved_errno));
	}
	errno = saved_errno;
	return -1;
}
