/* Ids, 17 characters: the wall clock in microseconds (11 digits of base 32), two random digits, and the four
 * of this spool. The digits are in the order of ASCII, so ids sort by time. A report's id is the message's,
 * an 'r', and its number in the same digits; that of the one on such a report is this and an 'x'. */
#include "spool/spool_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/fsutil.h"

#define TIME_DIGITS    11 /* 55 bits: until the year 3111 */
#define RANDOM_DIGITS  2
#define TAG_DIGITS     (ID_TAG_SIZE - 1)
#define PLAIN_DIGITS   (TIME_DIGITS + RANDOM_DIGITS + TAG_DIGITS)
#define NTH_DIGITS_MAX 6

static const char digits[] = "0123456789abcdefghijklmnopqrstuv";

static char *put_base32(char *out, uint64_t value, unsigned count)
{
	for (unsigned i = count; i > 0; i--, value >>= 5)
		out[i - 1] = digits[value & 31];
	return out + count;
}

int id_read_tag(int var, char tag[ID_TAG_SIZE])
{
	size_t n;
	char *text = fs_read_file(var, "spool-id", 16, &n);

	if (text == NULL)
		return -1;
	bool good =
	    n == TAG_DIGITS + 1 && strspn(text, "0123456789abcdef") == TAG_DIGITS && text[TAG_DIGITS] == '\n';
	if (good)
		str_copy(tag, ID_TAG_SIZE, (struct str){text, TAG_DIGITS});
	free(text);
	errno = EBADMSG;
	return good ? 0 : -1;
}

void id_new(struct id_source *source, char *out)
{
	int64_t now = clock_wall_us();
	uint16_t noise = 0;

	/* Time and tag make it unique; the noise is for two generations of workers in the same microsecond.
	 */
	if (getrandom(&noise, sizeof noise, GRND_NONBLOCK) < 0)
		noise = (uint16_t)now;
	source->last_us = now > source->last_us ? now : source->last_us + 1;
	out = put_base32(out, (uint64_t)source->last_us, TIME_DIGITS);
	out = put_base32(out, noise, RANDOM_DIGITS);
	memcpy(out, source->tag, TAG_DIGITS + 1);
}

/* Whether the first n of text are decimal digits or letters up to most. */
static bool are_digits(const char *text, size_t n, char most)
{
	for (size_t i = 0; i < n; i++)
		if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= most))
			return false;
	return true;
}

bool spool_id_valid(const char *text)
{
	size_t n = strnlen(text, SPOOL_ID_MAX + 1);

	if (n < PLAIN_DIGITS || n > SPOOL_ID_MAX)
		return false;
	if (!are_digits(text, PLAIN_DIGITS, 'v') ||
	    !are_digits(text + PLAIN_DIGITS - TAG_DIGITS, TAG_DIGITS, 'f'))
		return false;
	if (n == PLAIN_DIGITS)
		return true;
	text += PLAIN_DIGITS;
	n -= PLAIN_DIGITS;
	if (text[n - 1] == 'x')
		n--;
	return text[0] == 'r' && n >= 2 && are_digits(text + 1, n - 1, 'v');
}

bool id_is_report(const char *id)
{
	return strlen(id) > PLAIN_DIGITS;
}

static bool put_report_on_report(char *out, const char *id, unsigned nth)
{
	size_t n = strlen(id);

	if (nth > 0 || id[n - 1] == 'x' || n == SPOOL_ID_MAX)
		return false;
	memcpy(out, id, n);
	memcpy(out + n, "x", 2);
	return true;
}

bool spool_report_id(char *out, const char *id, unsigned nth)
{
	unsigned count = 1;

	if (id_is_report(id))
		return put_report_on_report(out, id, nth);
	while (count < NTH_DIGITS_MAX && nth >> (5 * count) != 0)
		count++;
	memcpy(out, id, PLAIN_DIGITS);
	out[PLAIN_DIGITS] = 'r';
	*put_base32(out + PLAIN_DIGITS + 1, nth, count) = '\0';
	return true;
}

bool spool_report_of(char *out, const char *id)
{
	if (!id_is_report(id))
		return false;
	size_t n = id[strlen(id) - 1] == 'x' ? strlen(id) - 1 : PLAIN_DIGITS;
	memcpy(out, id, n);
	out[n] = '\0';
	return true;
}

int64_t spool_id_time_ms(const char *id)
{
	uint64_t us = 0;

	assert(spool_id_valid(id));
	for (unsigned i = 0; i < TIME_DIGITS; i++)
		us = us << 5 | (uint64_t)(strchr(digits, id[i]) - digits);
	return (int64_t)(us / 1000);
}
