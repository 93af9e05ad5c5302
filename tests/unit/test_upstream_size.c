#include <pthread.h>
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

/* The sender of a new config gives the same places to others. */
static void *give_the_place_to_and_fro(void *cookie)
{
	struct upstream_config upstream = {.name = name, .host = host, .port = 587};
	struct upstream_config other = {.name = other_name, .host = other_host, .port = 25};
	struct counters *counters = cookie;

	for (int i = 0; i < 200000; i++) {
		upstream_size_learned(counters, 0, upstream_size_key(&upstream), 100000);
		upstream_size_learned(counters, 0, upstream_size_key(&other), 200000);
	}
	atomic_store(&counters->reports, 1);
	return NULL;
}

static void nor_while_the_place_changes_hands(void **state)
{
	struct upstream_config upstream = {.name = name, .host = host, .port = 587};
	struct counters *counters = counters_new();
	pthread_t thread;
	unsigned wrong = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, give_the_place_to_and_fro, counters), 0);
	while (atomic_load(&counters->reports) == 0) {
		uint64_t bytes = upstream_size(&upstream, counters);
		wrong += bytes != 0 && bytes != 100000 - UPSTREAM_SIZE_SPARE;
	}
	pthread_join(thread, NULL);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_smaller_of_what_is_known_and_what_was_said_counts),
	    cmocka_unit_test(what_one_has_said_is_not_taken_for_another),
	    cmocka_unit_test(nor_while_the_place_changes_hands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
