/* The advice that goes with a handshake that has failed. The hellos themselves are sent in tests/system/test_tls.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "listener/handshake.h"
#include "net/tls.h"

#define SHARED "TLS handshake failed: no cipher suite in common (no shared cipher)"

static void the_advice_names_the_line_that_would_help(void **state)
{
	static const struct {
		const char *label;
		struct tls_hello hello;
		enum tls_min tls_min;
		const char *error, *want; /* want "": no advice at all */
	} rows[] = {
	    {"no hello", {.seen = false}, TLS_MIN_1_2, "", "without tls = \"implicit\""},
	    {"SSL 3.0", {.seen = true, .version = 0x0300, .rsa_suites = true}, TLS_MIN_1_2, "",
		"only be served without TLS"},
	    {"SSL 3.0, and 1.0 is let in", {.seen = true, .version = 0x0300, .rsa_suites = true}, TLS_MIN_1_0,
		"", "only be served without TLS"},
	    {"TLS 1.0 with suites that are gone", {.seen = true, .version = 0x0301}, TLS_MIN_1_2, "",
		"only be served without TLS"},
	    {"TLS 1.0", {.seen = true, .version = 0x0301, .rsa_suites = true}, TLS_MIN_1_2, "",
		"tls_min = \"1.0\"; HERE"},
	    {"TLS 1.0 where 1.1 is let in", {.seen = true, .version = 0x0301, .rsa_suites = true},
		TLS_MIN_1_1, "", "tls_min = \"1.0\"; HERE"},
	    {"TLS 1.1", {.seen = true, .version = 0x0302, .rsa_suites = true}, TLS_MIN_1_2, "",
		"tls_min = \"1.1\"; HERE"},
	    {"TLS 1.2 where 1.3 is wanted",
		{.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true}, TLS_MIN_1_3, "",
		"tls_min = \"1.2\"; HERE"},
	    {"TLS 1.2 with old signatures", {.seen = true, .version = 0x0303, .rsa_suites = true},
		TLS_MIN_1_2, "", "tls_min = \"1.0\"; HERE"},
	    {"ECDSA alone", {.seen = true, .version = 0x0303, .ecdsa_suites = true, .signatures = true},
		TLS_MIN_1_2, SHARED, "ecdsa_certificate"},
	    {"RSA alone", {.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true},
		TLS_MIN_1_2, SHARED, "with an RSA key"},
	    {"an alert about our CA",
		{.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true}, TLS_MIN_1_2,
		"the other side does not trust the issuer of our certificate", "import the CA"},
	    {"gone without a word", {.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true},
		TLS_MIN_1_2, "the other side closed the connection during the TLS handshake",
		"if the device checks certificates"},
	    {"gone behind our greeting",
		{.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true}, TLS_MIN_1_2,
		HANDSHAKE_GREETED "; the other side closed the connection during the TLS handshake",
		"its next try is waited for"},
	    {"behind our greeting, and too old as well",
		{.seen = true, .version = 0x0301, .rsa_suites = true}, TLS_MIN_1_2,
		HANDSHAKE_GREETED "; TLS handshake failed: unsupported protocol", "tls_min = \"1.0\"; HERE"},
	    {"nothing that we know",
		{.seen = true, .version = 0x0303, .rsa_suites = true, .signatures = true}, TLS_MIN_1_2,
		"bad record mac", ""},
	};
	char remedy[400];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		handshake_remedy(
		    remedy, sizeof remedy, &rows[i].hello, rows[i].tls_min, rows[i].error, "HERE");
		if (strstr(remedy, rows[i].want) == NULL || (rows[i].want[0] == '\0' && remedy[0] != '\0'))
			fail_msg("%s: %s", rows[i].label, remedy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_advice_names_the_line_that_would_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
