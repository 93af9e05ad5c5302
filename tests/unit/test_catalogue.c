/* The catalogue: real texts and what they mean (tests/catalogue/), and the tables' own order, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/match.h"
#include "config/schema.h"
#include "smtp/reply.h"

#define ROWS_MAX 400

/* Every cause there is, and whether a text has met it. */
static struct {
	const struct cause *cause;
	bool is_met;
} all[ROWS_MAX];
static size_t all_count;

static void list(const struct cause *cause)
{
	assert_true(all_count < ROWS_MAX);
	all[all_count++].cause = cause;
}

static int list_all(void **state)
{
	(void)state;
	for (size_t t = 0; t < REPLY_TABLES; t++)
		for (size_t i = 0; i < reply_tables[t]->count; i++)
			list(&reply_tables[t]->rows[i].cause);
	for (size_t i = 0; i < login_row_count; i++)
		list(&login_rows[i].cause);
	for (size_t i = 0; i < trouble_row_count; i++)
		list(&trouble_rows[i].cause);
	for (size_t i = 0; i < shared_row_count; i++)
		list(&shared_rows[i].cause);
	print_message("%zu rows\n", all_count);
	return 0;
}

static void meet(const struct cause *cause)
{
	for (size_t i = 0; i < all_count; i++)
		if (all[i].cause == cause)
			all[i].is_met = true;
}

/* --- the files --- */

typedef void line_fn(const char *head, const char *rest, const char *label);

static void each_line(const char *path, line_fn *fn)
{
	char line[2048], label[2048] = "";
	FILE *file = fopen(path, "re");

	if (file == NULL)
		fail_msg("%s cannot be opened; run this where the tree is", path);
	while (fgets(line, sizeof line, file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		char *bar = strstr(line, " | ");
		if (line[0] == '#')
			snprintf(label, sizeof label, "%s", line);
		if (line[0] == '#' || line[0] == '\0')
			continue;
		if (bar == NULL)
			fail_msg("%s: no \" | \" in: %s", path, line);
		*bar = '\0';
		fn(line, bar + 3, label);
	}
	fclose(file);
}

static size_t index_of(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	fail_msg("\"%s\" is not a word of this file", word);
	return 0;
}

static void check(
    const struct failure *failure, const char *class, const char *name, const char *label, const char *text)
{
	if (strcmp(failure->cause->name, name) != 0 ||
	    strcmp(outcome_name(failure->cause->outcome), class) != 0)
		fail_msg("%s\n%s\ngot %s %s, want %s %s", label, text, outcome_name(failure->cause->outcome),
		    failure->cause->name, class, name);
	assert_int_equal(failure->retry_after_s, 0);
	meet(failure->cause);
}

/* As it comes in: line by line; "\n" parts them. */
static void read_reply(struct reply *reply, const char *text)
{
	*reply = (struct reply){0};
	for (const char *end; text != NULL; text = end != NULL ? end + 2 : NULL) {
		end = strstr(text, "\\n");
		reply_feed(reply, (struct str){text, end != NULL ? (size_t)(end - text) : strlen(text)});
	}
}

static void check_reply_line(const char *head, const char *text, const char *label)
{
	static const char *const phases[] = {
	    "banner", "ehlo", "starttls", "auth", "password", "mail", "rcpt", "data", "content"};
	char kind[20], phase[20], class[4], name[60];
	struct failure failure;
	struct reply reply;

	assert_int_equal(sscanf(head, "%19s %19s %3s %59s", kind, phase, class, name), 4);
	read_reply(&reply, text);
	assert_true(reply.code != 0);
	failure_from_reply(&failure, &reply,
	    (enum upstream_kind)index_of(upstream_kind_names, UPSTREAM_SMTP + 1, kind),
	    (enum smtp_phase)index_of(phases, PHASES, phase));
	check(&failure, class, name, label, text);
}

static void replies_have_their_meaning(void **state)
{
	(void)state;
	each_line("tests/catalogue/replies.txt", check_reply_line);
}

static void check_login_line(const char *head, const char *rest, const char *label)
{
	char class[4], name[60], error[40];
	struct failure failure;
	int status, at = 0;

	assert_int_equal(sscanf(head, "%3s %59s", class, name), 2);
	assert_int_equal(sscanf(rest, "%d %39s | %n", &status, error, &at), 2);
	const char *description = rest + at;
	long number = strncmp(description, "AADSTS", 6) == 0 ? strtol(description + 6, NULL, 10) : 0;
	failure_from_login(&failure, error, description, number, status);
	check(&failure, class, name, label, rest);
	assert_non_null(strstr(failure.text, description));
}

static void login_errors_have_their_meaning(void **state)
{
	struct failure failure;

	(void)state;
	each_line("tests/catalogue/login.txt", check_login_line);
	failure_from_login(&failure, NULL, NULL, 0, 400);
	assert_string_equal(failure.text, "HTTP 400 : ");
	assert_string_equal(failure.cause->name, "login-refused");
}

static void check_trouble_line(const char *head, const char *text, const char *label)
{
	static const char *const troubles[] = {"dns", "mx-none", "mx-foreign", "proxy", "proxy-login",
	    "connect", "tls", "certificate", "starttls", "auth", "cut", "timeout", "garbage", "secret",
	    "identity", "identity-busy", "identity-silent", "identity-answer", "sign-in", "login-host",
	    "login-certificate", "login-answer", "spool", "header", "too-large", "no-route", "expired"};
	char trouble[20], class[4], name[60];
	struct failure failure;

	assert_int_equal(sscanf(head, "%19s %3s %59s", trouble, class, name), 3);
	failure_from_trouble(&failure,
	    (enum road_trouble)index_of(troubles, sizeof troubles / sizeof troubles[0], trouble), text);
	check(&failure, class, name, label, text);
}

static void troubles_have_their_meaning(void **state)
{
	struct failure failure;

	(void)state;
	each_line("tests/catalogue/troubles.txt", check_trouble_line);
	failure_from_trouble(&failure, ROAD_DNS, "line one\r\nline two");
	assert_string_equal(failure.text, "line one  line two");
	for (size_t i = 0; i <= ROAD_EXPIRED; i++) {
		failure_from_trouble(&failure, (enum road_trouble)i, NULL);
		assert_string_equal(failure.text, "");
		assert_non_null(failure.cause);
	}
}

static const struct cause *cause_named(const char *name)
{
	for (size_t i = 0; i < all_count; i++)
		if (strcmp(all[i].cause->name, name) == 0)
			return all[i].cause;
	fail_msg("no row is called %s", name);
	return NULL;
}

static void what_all_mail_meets_is_the_configurations(void **state)
{
	(void)state;
	for (size_t i = 0; i < shared_row_count; i++) {
		const struct cause *one = cause_named(shared_rows[i].name), *all_of_it = cause_of_all(one);
		assert_ptr_equal(all_of_it, &shared_rows[i].cause);
		assert_true(one->outcome == OUTCOME_P || one->outcome == OUTCOME_T);
		assert_int_equal(all_of_it->outcome, OUTCOME_C);
		assert_null(cause_of_all(all_of_it));
		meet(all_of_it);
	}
	assert_null(cause_of_all(cause_named("recipient-not-found")));
}

/* After those that read the files. */
static void every_row_is_met_by_a_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < all_count; i++)
		if (!all[i].is_met)
			fail_msg("no text in tests/catalogue/ reaches %s: is it hidden by a row above?",
			    all[i].cause->name);
}

/* --- the tables --- */

/* The first alternative of a pattern; the lower end of a range. */
static void first_of(char *dst, size_t size, const char *pattern, const char *end_at)
{
	snprintf(dst, size, "%.*s", pattern != NULL ? (int)strcspn(pattern, end_at) : 0,
	    pattern != NULL ? pattern : "");
}

static unsigned lowest_bit(unsigned mask, unsigned otherwise)
{
	return mask == 0 ? otherwise : mask & -mask;
}

static void check_reach(const struct reply_row *row, const struct reply_match *match)
{
	char enhanced[ENHANCED_ROOM], fragment[200];
	struct said said = {
	    .code = match->code >= 100 ? match->code
		    : match->code == 4 ? 450
				       : 550,
	    .from = lowest_bit(match->from, SUBMISSION),
	    .phase = lowest_bit(match->phases, AT(PHASE_CONTENT)),
	    .enhanced = enhanced,
	    .text = fragment,
	};

	first_of(enhanced, sizeof enhanced, match->enhanced, "|-");
	first_of(fragment, sizeof fragment, match->fragment, "|");
	if (fragment[0] == '!')
		fragment[0] = '\0';
	const struct reply_row *got = match_reply(&said);
	if (got != row)
		fail_msg("%s (%d %s \"%s\") is hidden by %s", row->cause.name, said.code, enhanced, fragment,
		    got->cause.name);
}

static void check_fragment(const char *name, const char *fragment)
{
	for (const char *p = fragment; p != NULL && *p != '\0'; p++)
		if (isupper((unsigned char)*p) || *p == '\'')
			fail_msg("row %s: fragment \"%s\" can never fit", name, fragment);
}

static void check_matches(const struct reply_row *row)
{
	assert_true(row->matches[0].code != 0 || row->matches[0].enhanced != NULL ||
		    row->matches[0].fragment != NULL);
	for (size_t k = 0; k < REPLY_MATCHES; k++) {
		const struct reply_match *match = &row->matches[k];
		check_fragment(row->cause.name, match->fragment);
		if (match->code != 0 || match->enhanced != NULL || match->fragment != NULL)
			check_reach(row, match);
	}
}

static void every_form_of_a_row_reaches_it(void **state)
{
	(void)state;
	for (size_t t = 0; t < REPLY_TABLES; t++)
		for (size_t i = 0; i < reply_tables[t]->count; i++)
			check_matches(&reply_tables[t]->rows[i]);
	for (size_t i = 0; i < trouble_row_count; i++)
		check_fragment(trouble_rows[i].cause.name, trouble_rows[i].fragment);
}

static void check_sentence(const struct cause *cause, const char *text)
{
	size_t n = strlen(text);

	if (n < 15 || text[n - 1] != '.' || strstr(text, "  ") != NULL)
		fail_msg("%s: \"%s\" is no sentence", cause->name, text);
}

static void check_hold(const struct cause *cause)
{
	const struct hold *hold = &cause->hold;

	switch (cause->outcome) {
	case OUTCOME_S:
	case OUTCOME_A:
	case OUTCOME_C:
		assert_in_range(hold->first_s, 30, 3600);
		assert_true(hold->growth >= 1 && hold->max_s >= hold->first_s);
		assert_true(!hold->own_max || (cause->outcome == OUTCOME_S && hold->max_s <= 21600));
		break;
	case OUTCOME_T:
		assert_true(hold->first_s <= 3600 || hold->first_s == REST_AT_ONCE);
		break;
	case OUTCOME_N:
	case OUTCOME_P:
		assert_true(hold->first_s == 0 || hold->first_s == IN_HALVES);
	}
}

static void every_row_says_cause_and_remedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < all_count; i++) {
		const struct cause *cause = all[i].cause;
		assert_true(strlen(cause->name) > 2);
		assert_true(
		    strspn(cause->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(cause->name));
		check_sentence(cause, cause->cause);
		check_sentence(cause, cause->remedy);
		check_hold(cause);
		assert_true(actor_words(cause->actor)[0] != '\0');
		/* They go into a state's reason behind 300 octets of the reply, parted by " | ". */
		assert_true(
		    strlen(cause->cause) + strlen(cause->remedy) + strlen(actor_words(cause->actor)) < 700);
		assert_null(strstr(cause->cause, " | "));
		assert_null(strstr(cause->remedy, " | "));
		/* What only a person can mend names the person. */
		if (cause->outcome == OUTCOME_C || cause->outcome == OUTCOME_P)
			assert_int_not_equal(cause->actor, ACTOR_NOBODY);
	}
}

static bool is_key(const char *name, size_t n)
{
	for (size_t i = 0; i < schema_count; i++) {
		size_t length = strlen(schema[i].path);
		if (length >= n && memcmp(schema[i].path + length - n, name, n) == 0 &&
		    (length == n || schema[i].path[length - n - 1] == '.'))
			return true;
	}
	return false;
}

/* As "oauth.tenant" in a remedy. */
static void keys_that_a_remedy_names_are_in_the_config(void **state)
{
	static const char *const groups[] = {
	    "oauth.", "window.", "limits.", "retry.", "devices.", "upstreams."};
	size_t checked = 0;

	(void)state;
	for (size_t i = 0; i < all_count; i++)
		for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
			for (const char *at = all[i].cause->remedy; (at = strstr(at, groups[g])) != NULL;
			     at++) {
				size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz_.");
				n -= at[n - 1] == '.';
				if (strcspn(groups[g], ".") != n && !is_key(at, n))
					fail_msg("%s: no key %.*s", all[i].cause->name, (int)n, at);
				checked++;
			}
	assert_true(checked > 5);
}

static void names_are_of_one_row_each(void **state)
{
	(void)state;
	for (size_t i = 0; i < all_count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(all[i].cause->name, all[k].cause->name) == 0)
				fail_msg("two rows are called %s", all[i].cause->name);
}

/* --- the edges --- */

static void what_is_no_refusal_at_all_is_tried_again(void **state)
{
	struct failure failure;
	struct reply reply;

	(void)state;
	read_reply(&reply, "250 2.0.0 OK");
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	assert_string_equal(failure.cause->name, "unlisted-temporary");
}

static void long_texts_are_cut(void **state)
{
	static char text[REPLY_TEXT_MAX];
	struct reply reply = {.code = 550, .lines = 1, .enhanced = "5.1.1"};
	struct failure failure;

	(void)state;
	memset(text, '[', sizeof text - 2);
	text[sizeof text - 2] = ']';
	memcpy(reply.text, text, sizeof text);
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	assert_string_equal(failure.cause->name, "recipient-unknown");
	assert_true(strlen(failure.text) < FAILURE_TEXT_MAX);
	failure_from_trouble(&failure, ROAD_CUT, text);
	assert_int_equal(strlen(failure.text), FAILURE_TEXT_MAX - 1);
	failure_from_login(&failure, text, text, 1, 400);
	assert_true(strlen(failure.text) < FAILURE_TEXT_MAX);
}

/* What stands in the bracket is a host and an id, never a reason. */
static void the_trailing_bracket_is_not_matched(void **state)
{
	struct reply reply = {.code = 550,
	    .lines = 1,
	    .enhanced = "5.4.1",
	    .text = "Recipient address rejected [relay access denied 2026-11-20T08:15:30Z 08DC]\n"};
	struct failure failure;

	(void)state;
	failure_from_reply(&failure, &reply, UPSTREAM_SUBMISSION, PHASE_RCPT);
	assert_string_equal(failure.cause->name, "recipient-refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replies_have_their_meaning),
	    cmocka_unit_test(login_errors_have_their_meaning),
	    cmocka_unit_test(troubles_have_their_meaning),
	    cmocka_unit_test(what_all_mail_meets_is_the_configurations),
	    cmocka_unit_test(every_row_is_met_by_a_text),
	    cmocka_unit_test(every_form_of_a_row_reaches_it),
	    cmocka_unit_test(every_row_says_cause_and_remedy),
	    cmocka_unit_test(keys_that_a_remedy_names_are_in_the_config),
	    cmocka_unit_test(names_are_of_one_row_each),
	    cmocka_unit_test(what_is_no_refusal_at_all_is_tried_again),
	    cmocka_unit_test(long_texts_are_cut),
	    cmocka_unit_test(the_trailing_bracket_is_not_matched),
	};

	return cmocka_run_group_tests_name("catalogue", tests, list_all, NULL);
}
