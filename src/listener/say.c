#include "listener/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "listener/session_inside.h"

const char *say(const char *format, ...)
{
	static char text[SESSION_REPLY_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return text;
}
