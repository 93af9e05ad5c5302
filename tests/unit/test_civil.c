#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/civil.h"

/* Through years that are leap years and such that are not, before and after 32 bits end. */
static void every_day_comes_back(void **state)
{
	struct tm tm;

	(void)state;
	for (int64_t day = -800000; day < 3000000; day++) {
		civil_parts(day * 86400 + 86399, &tm);
		assert_int_equal(civil_days((int64_t)tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday), day);
		assert_int_equal(civil_seconds(&tm), day * 86400 + 86399);
		assert_in_range(tm.tm_mon, 0, 11);
		assert_in_range(tm.tm_mday, 1, 31);
	}
}

static void it_is_the_calendar_of_the_library(void **state)
{
	(void)state;
	for (int64_t at = INT32_MIN; at <= INT32_MAX - 100003; at += 100003) {
		time_t seconds = (time_t)at;
		struct tm want, got;

		gmtime_r(&seconds, &want);
		civil_parts(at, &got);
		assert_int_equal(civil_seconds(&want), at);
		assert_true(
		    got.tm_year == want.tm_year && got.tm_mon == want.tm_mon && got.tm_mday == want.tm_mday);
		assert_true(got.tm_wday == want.tm_wday && got.tm_hour == want.tm_hour);
		assert_true(got.tm_min == want.tm_min && got.tm_sec == want.tm_sec);
	}
}

static void known_days(void **state)
{
	struct tm tm;

	(void)state;
	assert_int_equal(civil_days(1970, 1, 1), 0);
	assert_int_equal(civil_days(2000, 2, 29), 11016);
	assert_int_equal(civil_days(2038, 1, 20), 24856);
	civil_parts(INT64_C(253402300799), &tm);
	assert_true(
	    tm.tm_year == 8099 && tm.tm_mon == 11 && tm.tm_mday == 31 && tm.tm_wday == 5 && tm.tm_sec == 59);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_day_comes_back),
	    cmocka_unit_test(it_is_the_calendar_of_the_library),
	    cmocka_unit_test(known_days),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
