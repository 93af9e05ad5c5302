/* Times in text. Apart from the clocks, so that tests can bring clocks of their own. */
#include <string.h>

#include "base/civil.h"
#include "base/clock.h"
#include "base/str.h"

/* The last width digits of number. */
static void put_digits(char *out, int number, unsigned width)
{
	for (; width > 0; number /= 10)
		out[--width] = (char)('0' + number % 10);
}

/* "HH:MM:SS" */
static void put_time(char *out, const struct tm *tm)
{
	put_digits(out, tm->tm_hour, 2);
	put_digits(out + 3, tm->tm_min, 2);
	put_digits(out + 6, tm->tm_sec, 2);
}

/* "YYYY-MM-DDTHH:MM:SS" */
static void put_rfc3339(char *out, int64_t wall_ms)
{
	struct tm tm;

	civil_parts(wall_ms / 1000, &tm);
	put_digits(out, tm.tm_year + 1900, 4);
	put_digits(out + 5, tm.tm_mon + 1, 2);
	put_digits(out + 8, tm.tm_mday, 2);
	put_time(out + 11, &tm);
}

/* strftime's %a and %b follow the locale; mail wants English. */
const char *clock_rfc5322(char *dst, size_t size, int64_t wall_ms)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	char text[] = "Day, 00 Mon 0000 00:00:00 +0000";
	struct tm tm;

	civil_parts(wall_ms / 1000, &tm);
	memcpy(text, days[tm.tm_wday], 3);
	put_digits(text + 5, tm.tm_mday, 2);
	memcpy(text + 8, months[tm.tm_mon], 3);
	put_digits(text + 12, tm.tm_year + 1900, 4);
	put_time(text + 17, &tm);
	str_copy(dst, size, (struct str){text, sizeof text - 1});
	return dst;
}

const char *clock_rfc3339(char *dst, size_t size, int64_t wall_ms)
{
	char text[] = "0000-00-00T00:00:00Z";

	put_rfc3339(text, wall_ms);
	str_copy(dst, size, (struct str){text, sizeof text - 1});
	return dst;
}

const char *clock_rfc3339_ms(char *dst, size_t size, int64_t wall_ms)
{
	char text[] = "0000-00-00T00:00:00.000Z";

	put_rfc3339(text, wall_ms);
	put_digits(text + 20, (int)(wall_ms % 1000), 3);
	str_copy(dst, size, (struct str){text, sizeof text - 1});
	return dst;
}
