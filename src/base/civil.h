/* UTC and the calendar in 64 bits: as timegm(3) and gmtime_r(3), which end in January 2038 where time_t has 32 bits. Certificates
 * and mail may name later days. */
#ifndef MFDRELAY_BASE_CIVIL_H
#define MFDRELAY_BASE_CIVIL_H

#include <stdint.h>
#include <time.h>

/* Days since 1970-01-01 of a date of the Gregorian calendar; month 1 to 12. */
int64_t civil_days(int64_t year, int month, int day);

/* Seconds since 1970-01-01 UTC. */
int64_t civil_seconds(const struct tm *tm);

/* *tm gets its year, month, day, day of the week, hour, minute and second; 0 the rest. */
void civil_parts(int64_t seconds, struct tm *tm);

#endif
