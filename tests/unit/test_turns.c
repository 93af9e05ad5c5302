/* turns.c: whose turn it is among the roads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "sender/turns.h"

static void expect(const struct turns *turns, unsigned first, unsigned second, unsigned third)
{
	assert_int_equal(turns_at(turns, 0), first);
	assert_int_equal(turns_at(turns, 1), second);
	assert_int_equal(turns_at(turns, 2), third);
}

static void the_first_is_the_one_that_was_used_longest_ago(void **state)
{
	struct turns *turns = turns_new(3);

	(void)state;
	expect(turns, 0, 1, 2);
	turns_used(turns, 0);
	expect(turns, 1, 2, 0);
	turns_used(turns, 2);
	expect(turns, 1, 0, 2);
	turns_used(turns, 2);
	expect(turns, 1, 0, 2);
	turns_used(turns, 1);
	expect(turns, 0, 2, 1);
	turns_free(turns);
}

static void one_alone_has_every_turn(void **state)
{
	struct turns *turns = turns_new(1);

	(void)state;
	turns_used(turns, 0);
	assert_int_equal(turns_at(turns, 0), 0);
	turns_free(turns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_is_the_one_that_was_used_longest_ago),
	    cmocka_unit_test(one_alone_has_every_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
