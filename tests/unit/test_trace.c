#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "listener/trace.h"

static void the_header_is_as_rfc_5321_has_it(void **state)
{
	static const struct {
		const char *label, *helo, *peer, *from;
	} rows[] = {
	    {"a plain name", "mfd-2", "10.1.2.17", "mfd-2 ([10.1.2.17])"},
	    {"an IPv6 peer has its tag", "mfd-2", "fd00::1", "mfd-2 ([IPv6:fd00::1])"},
	    {"no name", "", "10.1.2.17", "unknown ([10.1.2.17])"},
	    {"an address literal", "[10.0.0.1]", "10.1.2.17", "[10.0.0.1] ([10.1.2.17])"},
	    {"what has a meaning in a header", "a b(c)\"d\\;<e>\r\n", "10.1.2.17",
		"a?b?c??d???e??? ([10.1.2.17])"},
	};
	char got[TRACE_MAX + 1], want[TRACE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct trace trace = {.helo = rows[i].helo,
		    .peer = rows[i].peer,
		    .hostname = "relay.test",
		    .protocol = "ESMTP",
		    .id = "ID1",
		    .wall_ms = 1795458540000};
		size_t n = trace_received(got, &trace);
		snprintf(want, sizeof want,
		    "Received: from %s\r\n\tby relay.test with ESMTP id ID1;\r\n\tMon, 23 Nov 2026 18:29:00 "
		    "+0000\r\n",
		    rows[i].from);
		assert_string_equal(got, want);
		assert_int_equal(n, strlen(want));
	}
}

static void tls_is_a_comment(void **state)
{
	char got[TRACE_MAX + 1];

	(void)state;
	trace_received(got, &(struct trace){.helo = "mfd",
				.peer = "10.1.2.17",
				.hostname = "relay.test",
				.protocol = "ESMTPS",
				.tls_version = "TLSv1.2",
				.tls_cipher = "AES128-SHA",
				.id = "ID1"});
	assert_non_null(strstr(got, "\tby relay.test with ESMTPS (TLSv1.2 AES128-SHA) id ID1;\r\n"));
}

static void a_long_name_is_cut(void **state)
{
	char helo[2000], got[TRACE_MAX + 1];
	struct trace trace = {
	    .helo = helo, .peer = "10.1.2.17", .hostname = helo, .protocol = "SMTP", .id = "ID1"};
	size_t n;

	(void)state;
	memset(helo, 'x', sizeof helo - 1);
	helo[sizeof helo - 1] = '\0';
	n = trace_received(got, &trace);
	assert_true(n < TRACE_MAX && n == strlen(got));
	assert_string_equal(got + n - 2, "\r\n");
}

static void received_headers_are_counted_at_any_split(void **state)
{
	static const struct {
		const char *label, *text;
		unsigned want;
	} rows[] = {
	    {"none", "Subject: x\r\n\r\n", 0},
	    {"two, in any case", "Received: a\r\nrecEIVed:b\r\n\r\n", 2},
	    {"not in the body", "Received: a\r\n\r\nReceived: b\r\n", 1},
	    {"not a folded line", "Subject: x\r\n Received: b\r\n", 0},
	    {"not another header", "Received-SPF: x\r\nX-Received: y\r\nReceive: z\r\n", 0},
	    {"a header without its end", "Received: a", 1},
	    {"an empty message", "\r\nReceived: a\r\n", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i].text);
		for (size_t split = 0; split <= n; split++) {
			struct trace_scan scan = {0};
			trace_scan(&scan, rows[i].text, split);
			trace_scan(&scan, rows[i].text + split, n - split);
			if (scan.received != rows[i].want)
				fail_msg("%s, split at %zu: %u", rows[i].label, split, scan.received);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_header_is_as_rfc_5321_has_it),
	    cmocka_unit_test(tls_is_a_comment),
	    cmocka_unit_test(a_long_name_is_cut),
	    cmocka_unit_test(received_headers_are_counted_at_any_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
