/* The state's text: what is written is read again, nothing else is, and only for the envelope that it belongs
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "spool/envelope.h"
#include "spool/state.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define ID	      "0d2k1p0a3f7v9c4ef"

static char *recipients[] = {"a@contoso.com", "b@contoso.com"};
static const struct envelope envelope = {
    .id = ID, .recipients = recipients, .recipient_count = LENGTH(recipients)};

static void fill(struct state *state)
{
	state_init(state, LENGTH(recipients));
	state->reports = 3;
	state->recipients[0].status = RECIPIENT_REPORTED;
	state->recipients[0].attempts = 7;
	state->recipients[0].wait_ms = 120000;
	state->recipients[0].waited_ms = 60000;
	state->recipients[0].next_ms = 1795459980123;
	state_set_reason(&state->recipients[0], "submission", "550 5.1.1 no such user: \"a\"");
	state_add_refusal(&state->recipients[0], "internal");
	state_add_refusal(&state->recipients[0], "direct");
	state_set_perhaps_taken(&state->recipients[1], "direct");
	state->recipients[1].status = RECIPIENT_DELIVERED;
	state->recipients[1].attempts = UINT_MAX;
	state->recipients[1].next_ms = INT64_MAX;
}

static int parse(const char *text, size_t n, struct state *out, struct err *err)
{
	char *exact = xcalloc(1, n + 1);

	memcpy(exact, text, n);
	exact = n > 0 ? xrealloc(exact, n) : exact;
	int result = state_parse((struct str){exact, n}, &envelope, out, err);
	free(exact);
	return result;
}

static void assert_same(const struct state *a, const struct state *b)
{
	assert_int_equal(a->reports, b->reports);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_int_equal(a->recipients[i].status, b->recipients[i].status);
		assert_int_equal(a->recipients[i].attempts, b->recipients[i].attempts);
		assert_int_equal(a->recipients[i].wait_ms, b->recipients[i].wait_ms);
		assert_int_equal(a->recipients[i].waited_ms, b->recipients[i].waited_ms);
		assert_int_equal(a->recipients[i].next_ms, b->recipients[i].next_ms);
		assert_string_equal(a->recipients[i].upstream, b->recipients[i].upstream);
		assert_string_equal(a->recipients[i].reason, b->recipients[i].reason);
		assert_string_equal(a->recipients[i].refused_by, b->recipients[i].refused_by);
		assert_string_equal(a->recipients[i].perhaps_taken_by, b->recipients[i].perhaps_taken_by);
	}
}

static void test_round_trip(void **unused)
{
	struct state in, out;
	struct err err = {""};
	size_t n;

	(void)unused;
	fill(&in);
	char *text = state_format(&in, &envelope, &n);
	assert_int_equal(parse(text, n, &out, &err), 0);
	assert_same(&in, &out);
	state_free(&out);
	state_free(&in);
	free(text);
}

static void test_version_1_is_read(void **unused)
{
	static const char text[] =
	    "mfdrelay-state 1\nid: " ID "\nreports: 0\nrecipients: 2\n"
	    "recipient: a@contoso.com\nstatus: pending\nattempts: 1\nwait-ms: 60000\nwaited-ms: 0\n"
	    "next-ms: 5\nupstream: submission\nreason: 451 4.7.0 later\n"
	    "recipient: b@contoso.com\nstatus: delivered\nattempts: 0\nwait-ms: 0\nwaited-ms: 0\n"
	    "next-ms: 0\nupstream: \nreason: \nend: 2\n";
	struct state out;
	struct err err = {""};

	(void)unused;
	assert_int_equal(parse(text, sizeof text - 1, &out, &err), 0);
	assert_int_equal(out.recipients[0].attempts, 1);
	assert_string_equal(out.recipients[0].refused_by, "");
	assert_string_equal(out.recipients[1].perhaps_taken_by, "");
	state_free(&out);
}

static void test_refusals(void **unused)
{
	struct state state;
	char name[65];

	(void)unused;
	state_init(&state, 1);
	struct recipient_state *recipient = &state.recipients[0];
	assert_false(state_is_refused_by(recipient, "direct"));
	state_add_refusal(recipient, "direct");
	state_add_refusal(recipient, "direct");
	assert_string_equal(recipient->refused_by, "direct");
	assert_true(state_is_refused_by(recipient, "direct"));
	assert_false(state_is_refused_by(recipient, "direc"));
	assert_false(state_is_refused_by(recipient, "direct2"));
	for (int i = 0; i < 80; i++) {
		snprintf(name, sizeof name, "%064d", i);
		state_add_refusal(recipient, name);
		assert_true(state_is_refused_by(recipient, name));
	}
	assert_false(state_is_refused_by(recipient, "direct"));
	assert_true(strlen(recipient->refused_by) <= STATE_REFUSED_BY_MAX);
	/* As many as a route can have, with the longest names: or the first would be asked again, for ever. */
	for (int i = 16; i < 80; i++) {
		snprintf(name, sizeof name, "%064d", i);
		assert_true(state_is_refused_by(recipient, name));
	}
	state_free(&state);
}

static void test_negative_numbers_become_none(void **unused)
{
	struct state in, out;
	struct err err = {""};
	size_t n;

	(void)unused;
	state_init(&in, LENGTH(recipients));
	in.recipients[0].next_ms = -5;
	char *text = state_format(&in, &envelope, &n);
	assert_int_equal(parse(text, n, &out, &err), 0);
	assert_int_equal(out.recipients[0].next_ms, 0);
	state_free(&out);
	state_free(&in);
	free(text);
}

static void test_every_cut_is_refused(void **unused)
{
	struct state in, out;
	size_t n;

	(void)unused;
	fill(&in);
	char *text = state_format(&in, &envelope, &n);
	for (size_t cut = 0; cut < n; cut++) {
		struct err err = {""};
		assert_int_equal(parse(text, cut, &out, &err), -1);
		assert_true(err.text[0] != '\0');
		assert_null(out.recipients);
	}
	state_free(&in);
	free(text);
}

static const struct {
	const char *label, *from, *to;
} edits[] = {
    {"a later version is refused", "state 2", "state 3"},
    {"version 1 has no refusals", "state 2", "state 1"},
    {"an upstream that may have taken it is no list", "perhaps-taken-by: direct\n", ""},
    {"another message's id is refused", "id: 0", "id: 1"},
    {"another recipient is refused", "recipient: b@", "recipient: c@"},
    {"another number of recipients is refused", "recipients: 2", "recipients: 1"},
    {"an unknown word is refused", "status: reported", "status: reportet"},
    {"a number above its type is refused", "attempts: 4294967295", "attempts: 4294967296"},
    {"a negative number is refused", "wait-ms: 1", "wait-ms: -"},
    {"CR LF is refused", "upstream: submission\n", "upstream: submission\r\n"},
    {"a field twice is refused", "upstream: submission\n", "upstream: submission\nupstream: submission\n"},
    {"a missing field is refused", "upstream: submission\n", ""},
    {"text after the end is refused", "end: 2\n", "end: 2\n\n"},
    {"another end is refused", "end: 2\n", "end: 3\n"},
};

static void test_edits_are_refused(void **unused)
{
	struct state in, out;
	size_t n;

	(void)unused;
	fill(&in);
	char *bytes = state_format(&in, &envelope, &n);
	char *text = xstrndup(bytes, n);
	for (size_t i = 0; i < LENGTH(edits); i++) {
		struct err err = {""};
		const char *at = strstr(text, edits[i].from);
		assert_non_null(at);
		char *bad =
		    xasprintf("%.*s%s%s", (int)(at - text), text, edits[i].to, at + strlen(edits[i].from));
		if (parse(bad, strlen(bad), &out, &err) != -1 || err.text[0] == '\0')
			fail_msg("%s", edits[i].label);
		assert_null(out.recipients);
		free(bad);
	}
	state_free(&in);
	free(text);
	free(bytes);
}

static void test_reason_is_one_line(void **unused)
{
	struct recipient_state recipient = {.reason = NULL};
	char *text = xcalloc(1, 4000);

	(void)unused;
	state_set_reason(&recipient, "up\nstream", "a\r\nstatus: delivered\x1b[31m\x7f");
	assert_string_equal(recipient.upstream, "up stream");
	assert_string_equal(recipient.reason, "a  status: delivered [31m ");
	memset(text, 'x', 3000);
	state_set_reason(&recipient, text, text);
	assert_int_equal(strlen(recipient.upstream), 255);
	assert_int_equal(strlen(recipient.reason), STATE_REASON_MAX);
	memcpy(text + STATE_REASON_MAX - 1, "\xe2\x82\xac", 3);
	state_set_reason(&recipient, "", text);
	assert_int_equal(strlen(recipient.reason), STATE_REASON_MAX - 1);
	free(recipient.upstream);
	free(recipient.reason);
	free(text);
}

/* The largest state there can be is one that can be read. */
static void test_largest(void **unused)
{
	char address[321], reason[STATE_REASON_MAX + 1], upstream[256], refused[STATE_REFUSED_BY_MAX + 1],
	    **many = xcalloc(ENVELOPE_RECIPIENTS_MAX, sizeof *many);
	struct envelope large = {.id = ID, .recipients = many, .recipient_count = ENVELOPE_RECIPIENTS_MAX};
	struct state in, out;
	struct err err = {""};
	size_t n;

	(void)unused;
	memset(address, 'a', sizeof address - 1);
	memset(reason, 'r', sizeof reason - 1);
	memset(upstream, 'u', sizeof upstream - 1);
	memset(refused, 'n', sizeof refused - 1);
	address[sizeof address - 1] = reason[sizeof reason - 1] = upstream[sizeof upstream - 1] = '\0';
	refused[sizeof refused - 1] = '\0';
	state_init(&in, ENVELOPE_RECIPIENTS_MAX);
	for (size_t i = 0; i < ENVELOPE_RECIPIENTS_MAX; i++) {
		many[i] = address;
		in.recipients[i].attempts = UINT_MAX;
		in.recipients[i].wait_ms = 366LL * 86400 * 1000;
		in.recipients[i].waited_ms = 100 * in.recipients[i].wait_ms;
		in.recipients[i].next_ms = INT64_MAX;
		state_set_reason(&in.recipients[i], upstream, reason);
		state_add_refusal(&in.recipients[i], refused);
		state_set_perhaps_taken(&in.recipients[i], upstream);
	}
	char *text = state_format(&in, &large, &n);
	assert_true(n <= STATE_MAX);
	assert_int_equal(state_parse((struct str){text, n}, &large, &out, &err), 0);
	assert_int_equal(out.count, ENVELOPE_RECIPIENTS_MAX);
	state_free(&out);
	state_free(&in);
	free(text);
	free(many);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void test_mutations(void **unused)
{
	static const char bytes[] = "\n\r: 0919azAZ-\0\377\x7f";
	struct state in, out, again;
	size_t n, taken = 0;
	uint32_t seed = 4711;

	(void)unused;
	fill(&in);
	char *text = state_format(&in, &envelope, &n);
	char *copy = xcalloc(1, n);
	for (int i = 0; i < 20000; i++) {
		struct err err = {""};
		size_t length = n;
		memcpy(copy, text, n);
		for (uint32_t k = 1 + next_random(&seed) % 3; k > 0; k--) {
			size_t at = next_random(&seed) % length;
			if (next_random(&seed) % 3 == 0) {
				memmove(copy + at, copy + at + 1, length - at - 1);
				length--;
			} else {
				copy[at] = next_random(&seed) % 2
					       ? (char)next_random(&seed)
					       : bytes[next_random(&seed) % (sizeof bytes - 1)];
			}
		}
		if (parse(copy, length, &out, &err) < 0) {
			assert_true(err.text[0] != '\0');
			assert_null(out.recipients);
			continue;
		}
		taken++;
		size_t written;
		char *formatted = state_format(&out, &envelope, &written);
		assert_int_equal(parse(formatted, written, &again, &err), 0);
		assert_same(&out, &again);
		state_free(&again);
		state_free(&out);
		free(formatted);
	}
	assert_true(taken > 100 && taken < 19000);
	state_free(&in);
	free(copy);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_version_1_is_read),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_negative_numbers_become_none),
	    cmocka_unit_test(test_every_cut_is_refused),
	    cmocka_unit_test(test_edits_are_refused),
	    cmocka_unit_test(test_reason_is_one_line),
	    cmocka_unit_test(test_largest),
	    cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
