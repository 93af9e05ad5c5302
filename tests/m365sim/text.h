/* Small texts that Microsoft's servers like to put everywhere: times, ids, random characters. */
#ifndef M365SIM_TEXT_H
#define M365SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_TIME 40	/* room for any time below */
#define TEXT_GUID 37

int64_t text_now_us(void);					/* wall clock, since 1970 */
const char *text_time_iso(char *dst, int64_t us);		/* 2026-11-23T18:29:00.123Z */
const char *text_time_entra(char *dst, int64_t us);		/* 2026-11-23 18:29:00Z */
const char *text_time_mail(char *dst, int64_t us);		/* Mon, 23 Nov 2026 18:29:00 +0000 */

void text_random(void *dst, size_t n);
const char *text_random_hex(char *dst, size_t digits);		/* upper case; room for digits + 1 */
const char *text_guid(char *dst);

/* Base64, with or without (url) padding. encode: dst has room for 4 * (n / 3) + 5 bytes. decode: returns
 * the number of bytes, at most as many as text has characters, or -1; strict. */
size_t text_base64(char *dst, const void *bytes, size_t n, bool url);
long text_base64_decode(void *dst, const char *text, size_t n, bool url);

/* malloc that ends the program when there is none. */
void *text_alloc(size_t n);
char *text_copy(const char *s);
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
