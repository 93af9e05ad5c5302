#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <cmocka.h>

#include "base/counters.h"
#include "listener/tls_first.h"

static struct in6_addr numbered(unsigned number)
{
	return (struct in6_addr){
	    .s6_addr = {[0] = 0xfd, [14] = (uint8_t)(number >> 8), [15] = (uint8_t)number}};
}

static void the_latest_are_remembered(void **state)
{
	static struct counters counters;
	struct in6_addr nobody = IN6ADDR_ANY_INIT;

	(void)state;
	assert_false(tls_first_has(&counters, &nobody));
	for (unsigned i = 0; i < 3 * COUNTERS_TLS_FIRST; i++) {
		struct in6_addr peer = numbered(i);
		assert_false(tls_first_has(&counters, &peer));
		tls_first_note(&counters, &peer);
		tls_first_note(&counters, &peer);
	}
	for (unsigned i = 0; i < 3 * COUNTERS_TLS_FIRST; i++) {
		struct in6_addr peer = numbered(i);
		assert_int_equal(tls_first_has(&counters, &peer), i >= 2 * COUNTERS_TLS_FIRST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_latest_are_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
