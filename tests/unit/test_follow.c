/* What a person watches is told of in order, and is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "catalogue/catalogue.h"
#include "sender/follow.h"

static size_t count(const struct follow *follow, const char *id)
{
	json_t *results = follow_results(follow, id);
	size_t n = json_array_size(results);

	json_decref(results);
	return n;
}

static void results_come_in_order_with_cause_and_remedy(void **state)
{
	struct follow *follow = follow_new();
	struct failure why;

	(void)state;
	failure_from_trouble(&why, ROAD_CONNECT, "refused");
	follow_begin(follow, "m1");
	follow_result(follow, "m1", "deferred", "a@x.test", "up", "", &why, 60000);
	follow_result(follow, "other", "delivered", "a@x.test", "up", "250 ok", NULL, 0);
	follow_begin(follow, "m1");
	follow_result(follow, "m1", "delivered", "a@x.test", "up", "250 2.0.0 ok", NULL, 0);
	json_t *results = follow_results(follow, "m1");
	assert_int_equal(json_array_size(results), 2);
	const json_t *first = json_array_get(results, 0), *second = json_array_get(results, 1);
	assert_string_equal(json_string_value(json_object_get(first, "event")), "deferred");
	assert_string_equal(json_string_value(json_object_get(first, "reply")), "refused");
	assert_string_equal(json_string_value(json_object_get(first, "cause")), why.cause->cause);
	assert_string_equal(json_string_value(json_object_get(first, "remedy")), why.cause->remedy);
	assert_int_equal(json_integer_value(json_object_get(first, "next_ms")), 60000);
	assert_string_equal(json_string_value(json_object_get(second, "reply")), "250 2.0.0 ok");
	assert_null(json_object_get(second, "cause"));
	json_decref(results);
	assert_int_equal(count(follow, "other"), 0);
	follow_free(follow);
}

static void the_one_watched_longest_is_forgotten(void **state)
{
	struct follow *follow = follow_new();
	char id[16];

	(void)state;
	for (int i = 0; i <= FOLLOW_MAX; i++) {
		snprintf(id, sizeof id, "m%d", i);
		follow_begin(follow, id);
		for (int k = 0; k < FOLLOW_RESULTS_MAX + 5; k++)
			follow_result(follow, id, "delivered", "a@x.test", "up", "250", NULL, 0);
	}
	assert_int_equal(count(follow, "m0"), 0);
	assert_int_equal(count(follow, "m1"), FOLLOW_RESULTS_MAX);
	assert_int_equal(count(follow, id), FOLLOW_RESULTS_MAX);
	follow_result(follow, "m0", "delivered", "a@x.test", "up", "250", NULL, 0);
	assert_int_equal(count(follow, "m0"), 0);
	follow_free(follow);
	follow_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(results_come_in_order_with_cause_and_remedy),
	    cmocka_unit_test(the_one_watched_longest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
