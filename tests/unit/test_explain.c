/* What people paste, and what must be found in it (tests/catalogue/explain.txt); and each text of the other files there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/explain.h"
#include "catalogue/match.h"
#include "catalogue/own.h"
#include "catalogue/topics.h"

#define CASE_MAX 8192

static struct explanation found[EXPLAIN_MAX];

static void check_case(const char *want, const char *text)
{
	size_t count = explain(text, found);
	char got[1000] = "";

	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strcat(got, " ");
		strcat(got, found[i].cause->name);
	}
	if (strcmp(want, count > 0 ? got : "-") != 0)
		fail_msg("got %s, want %s in:\n%s", got, want, text);
}

static void what_is_pasted_is_found(void **state)
{
	static char line[2048], want[1000], text[CASE_MAX];
	FILE *file = fopen("tests/catalogue/explain.txt", "re");

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof line, file) != NULL) {
		if (line[0] != '=') {
			if (want[0] != '\0')
				strcat(text, line);
			continue;
		}
		if (want[0] != '\0')
			check_case(want, text);
		line[strcspn(line, "\n")] = '\0';
		strcpy(want, line + 2);
		text[0] = '\0';
	}
	check_case(want, text);
	fclose(file);
}

/* Every text of this file is explained by the cause that the daemon finds, among others where it cannot know who said it. */
static void check_file(const char *path, size_t words_before_name)
{
	static char line[2048];
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	while (fgets(line, sizeof line, file) != NULL) {
		char *bar = strstr(line, " | ");
		if (line[0] == '#' || bar == NULL)
			continue;
		*bar = '\0';
		char *rest = line, *name = strtok_r(line, " ", &rest);
		for (size_t i = 0; i < words_before_name; i++)
			name = strtok_r(NULL, " ", &rest);
		for (char *parted; (parted = strstr(bar + 3, "\\n")) != NULL;)
			memcpy(parted, " \n", 2);
		size_t count = explain(bar + 3, found), i = 0;
		while (i < count && strcmp(found[i].cause->name, name) != 0)
			i++;
		/* By its code alone, or by the status of HTTP: that is not in a text without phase and status. */
		if (count > 0 &&
		    (strncmp(name, "unlisted-", 9) == 0 || strcmp(name, "login-host-busy") == 0 ||
			strcmp(name, "login-refused") == 0))
			continue;
		if (i == count)
			fail_msg("%s is not found in: %s (but %s)", name, bar + 3,
			    count > 0 ? found[0].cause->name : "nothing");
	}
	fclose(file);
}

static void every_reply_is_explained(void **state)
{
	(void)state;
	check_file("tests/catalogue/replies.txt", 3);
}

static void every_login_error_is_explained(void **state)
{
	(void)state;
	check_file("tests/catalogue/login.txt", 1);
}

static void who_says_it_and_when_is_told_where_it_matters(void **state)
{
	(void)state;
	assert_int_equal(explain("550 5.7.68 Direct Send not allowed", found), 1);
	assert_int_equal(found[0].from, 0);
	assert_true(explain("535 5.7.3 Authentication unsuccessful", found) >= 6);
	for (size_t i = 0; i < 6; i++) {
		assert_true(found[i].is_listed);
		assert_int_not_equal(found[i].from, 0);
		assert_int_not_equal(found[i].phases, 0);
	}
	assert_int_equal(explain("550 5.9.9 The moon is full", found), 2);
	assert_false(found[0].is_listed);
}

static void a_flood_of_errors_is_bounded(void **state)
{
	static char text[200000];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "550 5.7.%d x\nAADSTS%d\n", i, 50000 + i);
	assert_in_range(explain(text, found), 10, EXPLAIN_MAX);
	memset(text, '5', sizeof text - 1);
	assert_int_equal(explain(text, found), 0);
}

struct seen {
	size_t count;
	bool has_all;
};

static void see(void *arg, const char *subject, const struct cause *cause, const char *told_as)
{
	struct seen *seen = arg;

	seen->count++;
	assert_non_null(subject);
	if (told_as[0] == '\0' && catalogue_no_class(cause) == NULL)
		seen->has_all = seen->has_all && strstr(subject, "Network") != NULL;
	if (strcmp(cause->name, "sender-mailbox-full") == 0)
		assert_string_equal(told_as,
		    "5.2.2 \"storedrv.submission\" or \"storedrv.clientsubmit\"; 554 5.2.2 not "
		    "\"storedrv.deliver\" from smtp.office365.com, High Volume Email, any other server");
}

static void the_list_has_every_cause_and_how_it_is_told(void **state)
{
	struct seen seen = {0, true};
	size_t rows =
	    login_row_count + trouble_row_count + shared_row_count + own_row_count + topic_taken_count;

	(void)state;
	for (size_t t = 0; t < REPLY_TABLES; t++)
		rows += reply_tables[t]->count;
	catalogue_each(see, &seen);
	assert_int_equal(seen.count, rows);
	assert_true(seen.has_all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_pasted_is_found),
	    cmocka_unit_test(every_reply_is_explained),
	    cmocka_unit_test(every_login_error_is_explained),
	    cmocka_unit_test(who_says_it_and_when_is_told_where_it_matters),
	    cmocka_unit_test(a_flood_of_errors_is_bounded),
	    cmocka_unit_test(the_list_has_every_cause_and_how_it_is_told),
	};

	return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
