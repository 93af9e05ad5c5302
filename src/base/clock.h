/* Two clocks: the monotonic one for every timer, wait and retry; the wall clock only for what people and other
 * machines read (headers, logs, expiry of tokens), because it may jump. */
#ifndef MFDRELAY_BASE_CLOCK_H
#define MFDRELAY_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define DAY_S  86400
#define DAY_MS (INT64_C(1000) * DAY_S)

int64_t clock_mono_ms(void);	/* CLOCK_MONOTONIC, milliseconds */
int64_t clock_wall_ms(void);	/* since 1970-01-01 UTC, milliseconds */
int64_t clock_wall_us(void);	/* the same in microseconds */

void clock_rest_us(unsigned us);	/* sleep that long, less than a second; a signal ends it early */

/* Write wall_ms as an RFC 5322 date-time in UTC ("Mon, 23 Nov 2026 18:29:00 +0000") or as RFC 3339
 * ("2026-11-23T18:29:00Z", "2026-11-23T18:29:00.123Z"). size is at least 40. Returns dst. */
const char *clock_rfc5322(char *dst, size_t size, int64_t wall_ms);
const char *clock_rfc3339(char *dst, size_t size, int64_t wall_ms);
const char *clock_rfc3339_ms(char *dst, size_t size, int64_t wall_ms);

#endif
