#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/counters.h"
#include "config/config.h"
#include "config/upstream_size.h"

static char host[] = "smtp.office365.com", other_host[] = "mail.example.net";
static char name[] = "submission", other_name[] = "hve";

static void the_smaller_of_what_is_known_and_what_was_said_counts(void **state)
{
	static const struct {
		uint64_t known, said, takes;
	} rows[] = {
	    {0, 0, 0},
	    {1000000, 0, 1000000},
	    {0, 1000000, 1000000 - UPSTREAM_SIZE_SPARE},
	    {500000, 1000000, 500000},
	    {1000000, 500000, 500000 - UPSTREAM_SIZE_SPARE},
	    {0, 1, 1},
	    {0, UPSTREAM_SIZE_SPARE, UPSTREAM_SIZE_SPARE},
	};
	struct counters *counters = counters_new();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct upstream_config upstream = {
		    .name = name, .host = host, .port = 587, .limits = {.message_size = rows[i].known}};
		upstream_size_learned(counters, 3, upstream_size_key(&upstream), rows[i].said);
		assert_int_equal(upstream_size(&upstream, counters), rows[i].takes);
	}
}

static void what_one_has_said_is_not_taken_for_another(void **state)
{
	struct upstream_config upstream = {.name = name, .host = host, .port = 587}, other = upstream;
	struct counters *counters = counters_new();

	(void)state;
	upstream_size_learned(counters, 0, upstream_size_key(&upstream), 100000);
	other.port = 25;
	assert_int_equal(upstream_size(&other, counters), 0);
	other = upstream;
	other.host = other_host;
	assert_int_equal(upstream_size(&other, counters), 0);
	other.host = NULL;
	assert_int_equal(upstream_size(&other, counters), 0);
	other = upstream;
	other.name = other_name;
	assert_int_equal(upstream_size(&other, counters), 0);
	/* In another place of another config it is the same upstream. */
	upstream_size_learned(counters, 0, 0, 0);
	upstream_size_learned(counters, 63, upstream_size_key(&upstream), 100000);
	assert_int_equal(upstream_size(&upstream, counters), 100000 - UPSTREAM_SIZE_SPARE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_smaller_of_what_is_known_and_what_was_said_counts),
	    cmocka_unit_test(what_one_has_said_is_not_taken_for_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
