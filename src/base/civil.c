#include "base/civil.h"

#include "base/clock.h"

#define ERA_DAYS     146097 /* of 400 years, after which the calendar repeats itself */
#define MARCH_0_DAYS 719468 /* from 0000-03-01 to 1970-01-01 */

/* Years begin in March here: the day that a leap year has more is their last. */
int64_t civil_days(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t in_era = year - era * 400;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100 + of_year - MARCH_0_DAYS;
}

int64_t civil_seconds(const struct tm *tm)
{
	int64_t days = civil_days((int64_t)tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday);

	return days * DAY_S + (int64_t)tm->tm_hour * 3600 + (int64_t)tm->tm_min * 60 + tm->tm_sec;
}

void civil_parts(int64_t seconds, struct tm *tm)
{
	int64_t since_1970 = (seconds >= 0 ? seconds : seconds - (DAY_S - 1)) / DAY_S;
	int64_t days = since_1970 + MARCH_0_DAYS;
	int64_t era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
	int of_era = (int)(days - era * ERA_DAYS), of_day = (int)(seconds - since_1970 * DAY_S);
	int in_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / (ERA_DAYS - 1)) / 365;
	int of_year = of_era - (365 * in_era + in_era / 4 - in_era / 100);
	int march_0 = (5 * of_year + 2) / 153;

	*tm = (struct tm){
	    .tm_year = (int)(in_era + era * 400) + (march_0 >= 10) - 1900,
	    .tm_mon = march_0 < 10 ? march_0 + 2 : march_0 - 10,
	    .tm_mday = of_year - (153 * march_0 + 2) / 5 + 1,
	    .tm_wday = (int)(((since_1970 + 4) % 7 + 7) % 7),
	    .tm_hour = of_day / 3600,
	    .tm_min = of_day / 60 % 60,
	    .tm_sec = of_day % 60,
	};
}
