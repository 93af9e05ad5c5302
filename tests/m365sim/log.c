#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "text.h"

#define SHOWN 600 /* bytes of a protocol line */

static int log_fd = -1;

int log_open(const char *dir)
{
	char *path = text_format("%s/log", dir);

	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	free(path);
	return log_fd < 0 ? -1 : 0;
}

void log_close(void)
{
	close(log_fd);
	log_fd = -1;
}

/* One write(2) a line, so lines of threads do not mix. */
static void put(const char *who, unsigned long connection, const char *text)
{
	char line[SHOWN * 4 + 128], when[TEXT_TIME], number[24] = "";
	int n;

	if (connection)
		snprintf(number, sizeof(number), "#%lu", connection);
	n = snprintf(
	    line, sizeof(line) - 1, "%s %s%s %s", text_time_iso(when, text_now_us()), who, number, text);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	while (write(log_fd, line, (size_t)n) < 0)
		break;
}

void log_event(const char *who, unsigned long connection, const char *format, ...)
{
	char text[SHOWN * 4];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put(who, connection, text);
}

void log_wire(const char *who, unsigned long connection, char way, const char *line, size_t n)
{
	char text[SHOWN * 4 + 64];
	size_t i, out = 0;

	text[out++] = way;
	text[out++] = ' ';
	for (i = 0; i < n && i < SHOWN; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c < 32 || c == 127 || c == '\\')
			out += (size_t)snprintf(text + out, 5, "\\x%02x", c);
		else
			text[out++] = (char)c;
	}
	if (n > SHOWN)
		snprintf(text + out, 40, "... (%zu bytes)", n);
	else
		text[out] = '\0';
	put(who, connection, text);
}
