/* The envelope's text: what is written is read again, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "spool/envelope.h"
#include "spool/spool.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define ID	      "0d2k1p0a3f7v9c4ef"

static char *recipients[] = {"a@contoso.com", "\"x y\"@contoso.com", "root"};

static struct envelope sample(void)
{
	return (struct envelope){
	    .id = ID,
	    .accepted_ms = 1795459740123,
	    .device = "mfd-floor-2",
	    .peer = "10.1.2.17",
	    .helo = "MFD: 0815 ",
	    .user = "",
	    .listener = "*:25",
	    .sender = "scanner@contoso.com",
	    .recipients = recipients,
	    .recipient_count = LENGTH(recipients),
	    .has_8bit = true,
	    .content_bytes = 12345678,
	};
}

static int parse(const char *text, size_t n, struct envelope *out, struct err *err)
{
	size_t used = 0;
	/* A copy that ends where the text ends: a sanitizer sees a read beyond it. */
	char *copy = xcalloc(1, n + 1);

	memcpy(copy, text, n);
	char *exact = n > 0 ? xrealloc(copy, n) : copy;
	int result = envelope_parse((struct str){exact, n}, out, &used, err);
	assert_true(used <= n);
	free(exact);
	return result;
}

static void assert_same(const struct envelope *a, const struct envelope *b)
{
	assert_string_equal(a->id, b->id);
	assert_int_equal(a->accepted_ms, b->accepted_ms);
	assert_int_equal(a->is_report, b->is_report);
	assert_string_equal(a->device, b->device);
	assert_string_equal(a->peer, b->peer);
	assert_string_equal(a->helo, b->helo);
	assert_string_equal(a->user, b->user);
	assert_string_equal(a->listener, b->listener);
	assert_string_equal(a->sender, b->sender);
	assert_int_equal(a->recipient_count, b->recipient_count);
	for (size_t i = 0; i < a->recipient_count; i++)
		assert_string_equal(a->recipients[i], b->recipients[i]);
	assert_int_equal(a->has_8bit, b->has_8bit);
	assert_int_equal(a->content_bytes, b->content_bytes);
}

struct edit {
	const char *label, *from, *to;
};

static char *edited(const char *text, const struct edit *edit)
{
	const char *at = strstr(text, edit->from);

	assert_non_null(at);
	return xasprintf("%.*s%s%s", (int)(at - text), text, edit->to, at + strlen(edit->from));
}

/* Or a damaged file would end in a report on a report. */
static void test_kind_must_fit_the_id(void **state)
{
	struct envelope in = sample(), out;
	struct err err = {""};
	size_t n, tail, used;

	(void)state;
	for (int i = 0; i < 2; i++) {
		in.is_report = i == 0;
		strcpy(in.id + 17, i == 0 ? "" : "r0");
		char *text = envelope_format(&in, &n, &tail);
		assert_int_equal(envelope_parse((struct str){text, n}, &out, &used, &err), -1);
		assert_non_null(strstr(err.text, "the kind does not fit the id"));
		free(text);
	}
}

static void test_round_trip(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail, used;
	struct err err = {""};

	(void)state;
	for (int is_report = 0; is_report < 2; is_report++) {
		in.is_report = is_report == 1;
		strcpy(in.id + 17, is_report == 1 ? "r0" : "");
		in.sender = is_report == 1 ? "" : in.sender;
		char *text = envelope_format(&in, &n, &tail);
		char *more = xasprintf("%.*sSubject: scan\r\n", (int)n, text);
		assert_int_equal(envelope_parse(str_of(more), &out, &used, &err), 0);
		assert_int_equal(used, n);
		assert_same(&in, &out);
		envelope_free(&out);
		free(more);
		free(text);
	}
}

static void test_version_1_is_read(void **state)
{
	static const struct edit earlier[] = {{"", "envelope 2", "envelope 1"}, {"", "listener: *:25\n", ""}};
	struct envelope in = sample(), out;
	struct err err = {""};
	size_t n, tail;

	(void)state;
	char *bytes = envelope_format(&in, &n, &tail);
	char *text = xstrndup(bytes, n);
	for (size_t i = 0; i < LENGTH(earlier); i++) {
		char *before = text;
		text = edited(before, &earlier[i]);
		free(before);
	}
	assert_int_equal(parse(text, strlen(text), &out, &err), 0);
	in.listener = "";
	assert_same(&in, &out);
	envelope_free(&out);
	for (size_t cut = 0; cut < strlen(text); cut++)
		assert_int_equal(parse(text, cut, &out, &err), 1);
	free(text);
	free(bytes);
}

static void test_many_recipients(void **state)
{
	struct envelope in = sample(), out;
	char address[321], **many = xcalloc(ENVELOPE_RECIPIENTS_MAX, sizeof *many);
	size_t n, tail, used;
	struct err err = {""};

	(void)state;
	memset(address, 'a', 320);
	address[320] = '\0';
	for (size_t i = 0; i < ENVELOPE_RECIPIENTS_MAX; i++)
		many[i] = address;
	in.recipients = many;
	in.recipient_count = ENVELOPE_RECIPIENTS_MAX;
	char *text = envelope_format(&in, &n, &tail);
	assert_true(n < ENVELOPE_MAX);
	assert_int_equal(envelope_parse((struct str){text, n}, &out, &used, &err), 0);
	assert_int_equal(out.recipient_count, ENVELOPE_RECIPIENTS_MAX);
	envelope_free(&out);
	free(text);
	free(many);
}

static void test_tail_is_written_in_place(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail;
	struct err err = {""};

	(void)state;
	in.has_8bit = false;
	in.content_bytes = 0;
	char *text = envelope_format(&in, &n, &tail);
	assert_int_equal(tail + ENVELOPE_TAIL_BYTES + 1, n);
	envelope_format_tail(text + tail, true, INT64_MAX);
	assert_int_equal(parse(text, n, &out, &err), 0);
	assert_true(out.has_8bit);
	assert_int_equal(out.content_bytes, INT64_MAX);
	envelope_free(&out);
	free(text);
}

static void test_every_cut_is_seen(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail;

	(void)state;
	char *text = envelope_format(&in, &n, &tail);
	for (size_t cut = 0; cut < n; cut++) {
		struct err err = {""};
		assert_int_equal(parse(text, cut, &out, &err), 1);
		assert_null(out.recipients);
	}
	free(text);
}

static const struct edit edits[] = {
    {"a later version is refused", "envelope 2", "envelope 3"},
    {"a longer first line is refused", "envelope 2", "envelope 2 "},
    {"an earlier version with a later one's field is refused", "envelope 2", "envelope 1"},
    {"CR LF is refused", "kind: message\n", "kind: message\r\n"},
    {"an unknown field is refused", "kind: message\n", "kind: message\ncolour: red\n"},
    {"a field twice is refused", "user: \n", "user: \nuser: \n"},
    {"a missing field is refused", "user: \n", ""},
    {"another order is refused", "user: \nlistener: *:25\n", "listener: *:25\nuser: \n"},
    {"a missing listener is refused", "listener: *:25\n", ""},
    {"a missing blank is refused", "user: \n", "user:\n"},
    {"an unknown kind is refused", "kind: message", "kind: massage"},
    {"a bad id is refused", "id: 0d2", "id: 0D2"},
    {"an id with a path is refused", "id: 0d2k", "id: ../k"},
    {"a short id is refused", "id: 0d2", "id: 0"},
    {"a negative time is refused", "accepted-ms: 1", "accepted-ms: -1"},
    {"a time beyond 63 bits is refused", "accepted-ms: 1795459740123", "accepted-ms: 9223372036854775808"},
    {"an empty number is refused", "accepted-ms: 1795459740123", "accepted-ms: "},
    {"no recipient is refused", "recipients: 3", "recipients: 0"},
    {"fewer recipients than counted is refused", "recipients: 3", "recipients: 4"},
    {"more recipients than counted is refused", "recipients: 3", "recipients: 2"},
    {"too many recipients is refused", "recipients: 3", "recipients: 10001"},
    {"a huge count is refused", "recipients: 3", "recipients: 99999999999999999999"},
    {"an empty recipient is refused", "recipient: root", "recipient: "},
    {"a flag of 2 is refused", "has-8bit: 1", "has-8bit: 2"},
    {"a shorter size is refused", "content-bytes: 0000", "content-bytes: 000"},
    {"a size beyond 63 bits is refused", "content-bytes: 00", "content-bytes: 99"},
    {"a missing empty line is refused", "5678\n\n", "5678\nx\n"},
};

static void test_edits_are_refused(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail;

	(void)state;
	char *bytes = envelope_format(&in, &n, &tail);
	char *text = xstrndup(bytes, n);
	for (size_t i = 0; i < LENGTH(edits); i++) {
		struct err err = {""};
		char *bad = edited(text, &edits[i]);
		int result = parse(bad, strlen(bad), &out, &err);
		if (result != -1 || strncmp(err.text, "line ", 5) != 0)
			fail_msg("%s: %d %s", edits[i].label, result, err.text);
		assert_null(out.recipients);
		free(bad);
	}
	free(text);
	free(bytes);
}

static void test_long_fields(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail;
	struct err err = {""};
	char *address = xcalloc(1, 400);

	(void)state;
	memset(address, 'x', 320);
	in.sender = address;
	char *text = envelope_format(&in, &n, &tail);
	assert_int_equal(parse(text, n, &out, &err), 0);
	envelope_free(&out);
	char *at = memmem(text, n, "sender: x", 9);
	assert_non_null(at);
	char *longer = xasprintf(
	    "%.*ssender: x%.*s", (int)(at - text), text, (int)(n - (size_t)(at - text) - 8), at + 8);
	assert_int_equal(parse(longer, strlen(longer), &out, &err), -1);
	free(longer);
	free(text);
	free(address);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void mutate(char *text, size_t *n, size_t room, uint32_t *seed)
{
	static const char bytes[] = "\n\r: 0919azAZ-\0\377\x7f";
	size_t at = next_random(seed) % *n;

	switch (next_random(seed) % 5) {
	case 0:
		text[at] = (char)next_random(seed);
		break;
	case 1:
		text[at] = bytes[next_random(seed) % (sizeof bytes - 1)];
		break;
	case 2:
		memmove(text + at, text + at + 1, *n - at - 1);
		--*n;
		break;
	case 3:
		if (*n < room) {
			memmove(text + at + 1, text + at, *n - at);
			text[at] = bytes[next_random(seed) % (sizeof bytes - 1)];
			++*n;
		}
		break;
	default:
		text[at] = (char)(text[at] ^ (1 << next_random(seed) % 8));
	}
}

/* What is taken is a message in order: formatted again it is the same text, but for leading zeros. */
static void assert_harmless(const struct envelope *out)
{
	struct envelope again;
	size_t n, tail, used;
	struct err err = {""};

	assert_true(spool_id_valid(out->id));
	assert_true(out->recipient_count >= 1 && out->recipient_count <= ENVELOPE_RECIPIENTS_MAX);
	char *text = envelope_format(out, &n, &tail);
	assert_int_equal(envelope_parse((struct str){text, n}, &again, &used, &err), 0);
	assert_same(out, &again);
	envelope_free(&again);
	free(text);
}

static void test_mutations(void **state)
{
	struct envelope in = sample(), out;
	size_t n, tail, taken = 0;
	uint32_t seed = 20261123;

	(void)state;
	char *text = envelope_format(&in, &n, &tail);
	char *copy = xcalloc(1, n + 8);
	for (int i = 0; i < 20000; i++) {
		size_t length = n;
		memcpy(copy, text, n);
		for (uint32_t k = 1 + next_random(&seed) % 3; k > 0; k--)
			mutate(copy, &length, n + 8, &seed);
		struct err err = {""};
		int result = parse(copy, length, &out, &err);
		if (result == 0) {
			assert_harmless(&out);
			taken++;
		} else if (result < 0) {
			assert_true(err.text[0] != '\0');
		}
		envelope_free(&out);
	}
	/* Some only change a name or a number: both ends of the test are reached. */
	assert_true(taken > 100 && taken < 19000);
	free(copy);
	free(text);
}

static void test_no_end_in_sight(void **state)
{
	struct envelope out;
	size_t used;
	struct err err = {""};
	char *text = xcalloc(1, ENVELOPE_MAX);

	(void)state;
	memset(text, 'x', ENVELOPE_MAX);
	assert_int_equal(envelope_parse((struct str){text, ENVELOPE_MAX}, &out, &used, &err), -1);
	memset(text, '\0', ENVELOPE_MAX);
	assert_int_equal(envelope_parse((struct str){text, ENVELOPE_MAX}, &out, &used, &err), -1);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kind_must_fit_the_id),
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_version_1_is_read),
	    cmocka_unit_test(test_many_recipients),
	    cmocka_unit_test(test_tail_is_written_in_place),
	    cmocka_unit_test(test_every_cut_is_seen),
	    cmocka_unit_test(test_edits_are_refused),
	    cmocka_unit_test(test_long_fields),
	    cmocka_unit_test(test_mutations),
	    cmocka_unit_test(test_no_end_in_sight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
