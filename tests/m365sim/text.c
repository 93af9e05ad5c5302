#include "text.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t text_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct tm broken_down(int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return tm;
}

const char *text_time_iso(char *dst, int64_t us)
{
	struct tm tm = broken_down(us);
	char day[24];

	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(dst, TEXT_TIME, "%s.%03dZ", day, (int)(us / 1000 % 1000));
	return dst;
}

const char *text_time_entra(char *dst, int64_t us)
{
	struct tm tm = broken_down(us);

	strftime(dst, TEXT_TIME, "%Y-%m-%d %H:%M:%SZ", &tm);
	return dst;
}

const char *text_time_mail(char *dst, int64_t us)
{
	struct tm tm = broken_down(us);

	strftime(dst, TEXT_TIME, "%a, %d %b %Y %H:%M:%S +0000", &tm);
	return dst;
}

void text_random(void *dst, size_t n)
{
	if (RAND_bytes(dst, (int)n) != 1)
		abort();
}

const char *text_random_hex(char *dst, size_t digits)
{
	unsigned char bytes[32];
	size_t i;

	text_random(bytes, sizeof(bytes));
	for (i = 0; i < digits; i++)
		dst[i] = "0123456789ABCDEF"[bytes[i % sizeof(bytes)] >> (i < sizeof(bytes) ? 0 : 4) & 15];
	dst[digits] = '\0';
	return dst;
}

const char *text_guid(char *dst)
{
	unsigned char b[16];

	text_random(b, sizeof(b));
	snprintf(dst, TEXT_GUID, "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", b[0],
	    b[1], b[2], b[3], b[4], b[5], b[6] & 15u, b[7], b[8] & 15u, b[9], b[10], b[11], b[12], b[13],
	    b[14], b[15]);
	return dst;
}

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t text_base64(char *dst, const void *bytes, size_t n, bool url)
{
	const char *alphabet = url ? url_safe : standard;
	const unsigned char *in = bytes;
	size_t i, out = 0;

	for (i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0u) |
			     (left > 2 ? (unsigned)in[i + 2] : 0u);

		dst[out++] = alphabet[v >> 18];
		dst[out++] = alphabet[v >> 12 & 63];
		if (left > 1)
			dst[out++] = alphabet[v >> 6 & 63];
		else if (!url)
			dst[out++] = '=';
		if (left > 2)
			dst[out++] = alphabet[v & 63];
		else if (!url)
			dst[out++] = '=';
	}
	dst[out] = '\0';
	return out;
}

long text_base64_decode(void *dst, const char *text, size_t n, bool url)
{
	const char *alphabet = url ? url_safe : standard;
	unsigned char *out = dst;
	unsigned value = 0, bits = 0;
	size_t padding = 0, i;
	long count = 0;

	if (!url) {
		while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
			padding++;
		if (n % 4 != 0)
			return -1;
	}
	for (i = 0; i < n - padding; i++) {
		const char *at = text[i] ? strchr(alphabet, text[i]) : NULL;

		if (!at)
			return -1;
		value = (value << 6 | (unsigned)(at - alphabet)) & 0xffffu;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[count++] = (unsigned char)(value >> bits & 0xffu);
		}
	}
	return count;
}

void *text_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);

	if (!p)
		abort();
	return p;
}

char *text_copy(const char *s)
{
	return text_format("%s", s);
}

char *text_format(const char *format, ...)
{
	va_list args;
	char *s;

	va_start(args, format);
	if (vasprintf(&s, format, args) < 0)
		abort();
	va_end(args);
	return s;
}
