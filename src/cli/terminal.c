#include "cli/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

const char *terminal_text(char *dst, size_t size, const char *text, size_t width)
{
	size_t n = 0;

	if (width > size - 1)
		width = size - 1;
	for (; text[n] != '\0' && n < width; n++)
		dst[n] = text[n] == '\t' ? ' ' : text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
	dst[n] = '\0';
	if (text[n] != '\0' && n >= 3)
		memcpy(dst + n - 3, "...", 3);
	return dst;
}

const char *terminal_bytes(char *dst, size_t size, uint64_t bytes)
{
	if (bytes < 1024)
		snprintf(dst, size, "%" PRIu64 " B", bytes);
	else if (bytes < 1024 * 1024)
		snprintf(dst, size, "%.1f KB", (double)bytes / 1024);
	else
		snprintf(dst, size, "%.1f MB", (double)bytes / (1024 * 1024));
	return dst;
}

const char *terminal_duration(char *dst, size_t size, int64_t ms)
{
	long long s = ms > 0 ? ms / 1000 : 0;

	if (s < 120)
		snprintf(dst, size, "%lld s", s);
	else if (s < 7200)
		snprintf(dst, size, "%lld min", s / 60);
	else if (s < 2 * DAY_S)
		snprintf(dst, size, "%lld h", s / 3600);
	else
		snprintf(dst, size, "%lld d", s / DAY_S);
	return dst;
}

void terminal_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
}
