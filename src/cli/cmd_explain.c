#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buf.h"
#include "catalogue/explain.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "config/values.h"

static const char usage[] =
    "usage: mfdrelay explain [--json] [TEXT ...]\n"
    "       mfdrelay explain --list [--json]\n"
    "\n"
    "Say what an error of Microsoft's, of the way there, or of the relay itself means: its cause, who\n"
    "must act, what to change, and what the relay does about it. TEXT is a reply (535 5.7.139 ...), a "
    "number\n"
    "(AADSTS7000222), a message of curl or OpenSSL, a line of the log, a name of the catalogue, or a\n"
    "question such as \"nothing arrives\". Without TEXT it is read from standard input, for example a\n"
    "whole report of non-delivery. No config is needed.\n"
    "  --list   the whole catalogue\n"
    "  --json   for programs\n"
    "Exits 0 when all that was found is in the catalogue, 1 when something is not.\n";

#define TEXT_MAX  (1u << 17)
#define WIDTH	  100
#define INDENT	  12
#define WORDS_MAX 400

/* --- for people --- */

/* "  Remedy:   ..." with its lines broken at blanks. */
static void print_wrapped(const char *title, const char *text)
{
	int column = printf("  %-*s", INDENT - 2, title);

	while (*text != '\0') {
		int n = (int)strcspn(text, " ");
		if (column + n > WIDTH && column > INDENT)
			column = printf("\n%*s", INDENT, "") - 1;
		else if (column > INDENT)
			column += printf(" ");
		column += printf("%.*s", n, text);
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* "looked at again after 1h, then 2 times as long each time, up to 6h"; "" where there is nothing to say. */
static const char *wait_words(char *dst, size_t size, const struct cause *cause)
{
	const char *whom = cause->hold.of_recipient ? ", for this recipient alone" : "";
	const struct hold *hold = &cause->hold;
	char first[24], most[24];

	dst[0] = '\0';
	if (hold->first_s == REST_AT_ONCE)
		snprintf(dst, size, "none: the others follow at once");
	else if (hold->first_s == IN_HALVES)
		snprintf(dst, size, "none: it goes out again in halves");
	else if (hold->first_s > 0 && hold->growth > 1)
		snprintf(dst, size, "%s, then %u times as long each time, at most %s%s",
		    value_duration_text(first, sizeof first, hold->first_s * UINT64_C(1000)), hold->growth,
		    value_duration_text(most, sizeof most, hold->max_s * UINT64_C(1000)),
		    hold->own_max ? ", whatever retry.max is" : " (and retry.max)");
	else if (hold->first_s > 0)
		snprintf(dst, size, "%s each time%s (at most retry.max)",
		    value_duration_text(first, sizeof first, hold->first_s * UINT64_C(1000)), whom);
	else if (cause->outcome == OUTCOME_T)
		snprintf(dst, size, "retry.first, doubling up to retry.max");
	return dst;
}

/* "High Volume Email, to AUTH with a token or MAIL" */
static const char *where_words(char *dst, size_t size, const struct explanation *explanation)
{
	unsigned from = explanation->from, phases = explanation->phases;
	const char *word, *between = "";
	size_t n = 0;

	dst[0] = '\0';
	while ((word = explain_speaker(&from)) != NULL && n < size) {
		n += (size_t)snprintf(dst + n, size - n, "%s%s", between, word);
		between = " or ";
	}
	between = n > 0 ? ", to " : "in answer to ";
	while ((word = explain_phase(&phases)) != NULL && n < size) {
		n += (size_t)snprintf(dst + n, size - n, "%s%s", between, word);
		between = " or ";
	}
	return dst;
}

static void print_cause(const struct cause *cause)
{
	char words[WORDS_MAX];

	print_wrapped("Name:", cause->name);
	print_wrapped("Cause:", cause->cause);
	print_wrapped("Who acts:", actor_words(cause->actor));
	print_wrapped("Remedy:", cause->remedy);
	if (catalogue_no_class(cause) != NULL) {
		snprintf(words, sizeof words, "none: %s", catalogue_no_class(cause));
		print_wrapped("Class:", words);
		return;
	}
	snprintf(words, sizeof words, "%s, %s", outcome_name(cause->outcome), outcome_words(cause->outcome));
	print_wrapped("Class:", words);
	if (cause_of_all(cause) != NULL) {
		snprintf(words, sizeof words, "for long or for every message: %s (C, the upstream is held)",
		    cause_of_all(cause)->name);
		print_wrapped("Becomes:", words);
	}
	if (wait_words(words, sizeof words, cause)[0] != '\0')
		print_wrapped("Wait:", words);
}

static void print_one(const struct explanation *explanation, const char *before)
{
	char words[WORDS_MAX];

	if (before == NULL || strcmp(before, explanation->text) != 0)
		printf("%s%s\n", before != NULL ? "\n" : "", explanation->text);
	else
		putchar('\n');
	if (!explanation->is_listed)
		print_wrapped(
		    "Note:", "The catalogue does not know this; what follows goes by its code alone.");
	if (where_words(words, sizeof words, explanation)[0] != '\0')
		print_wrapped("Where:", words);
	print_cause(explanation->cause);
}

/* --- for programs --- */

static json_t *cause_json(const struct cause *cause)
{
	return json_pack("{s:s, s:s?, s:s, s:s, s:s}", "name", cause->name, "class",
	    catalogue_no_class(cause) != NULL ? NULL : outcome_name(cause->outcome), "cause", cause->cause,
	    "who_acts", actor_words(cause->actor), "remedy", cause->remedy);
}

static json_t *words_json(unsigned set, const char *take(unsigned *set))
{
	json_t *array = json_array();

	for (const char *word = take(&set); word != NULL; word = take(&set))
		json_array_append_new(array, json_string(word));
	return array;
}

static void add_json(json_t *array, const struct explanation *explanation)
{
	json_t *object = cause_json(explanation->cause);

	json_object_set_new(object, "text", json_string(explanation->text));
	json_object_set_new(object, "listed", json_boolean(explanation->is_listed));
	json_object_set_new(object, "said_by", words_json(explanation->from, explain_speaker));
	json_object_set_new(object, "in_answer_to", words_json(explanation->phases, explain_phase));
	json_array_append_new(array, object);
}

static void print_json(json_t *json)
{
	terminal_json(json);
	json_decref(json);
}

/* --- what is asked for --- */

static int explain_text(const char *text, bool is_json)
{
	static struct explanation found[EXPLAIN_MAX];
	size_t count = explain(text, found);
	json_t *array = json_array();
	int result = count > 0 ? 0 : 1;

	for (size_t i = 0; i < count; i++) {
		if (!found[i].is_listed)
			result = 1;
		if (is_json)
			add_json(array, &found[i]);
		else
			print_one(&found[i], i > 0 ? found[i - 1].text : NULL);
	}
	if (is_json)
		print_json(array);
	else
		json_decref(array);
	if (count == 0)
		fputs("mfdrelay explain: no reply, number or words in it that the catalogue knows. Give the "
		      "whole "
		      "reply, with its\n"
		      "codes: 550 5.7.1 ...; or see mfdrelay explain --list\n",
		    stderr);
	return result;
}

struct listing {
	json_t *array; /* NULL: for people */
	const char *subject;
	size_t count;
};

static void list_one(void *arg, const char *subject, const struct cause *cause, const char *told_as)
{
	struct listing *listing = arg;
	bool is_new = listing->subject == NULL || strcmp(listing->subject, subject) != 0;

	listing->count++;
	if (listing->array != NULL) {
		json_t *object = cause_json(cause);
		json_object_set_new(object, "subject", json_string(subject));
		json_object_set_new(object, "told_as", json_string(told_as));
		json_array_append_new(listing->array, object);
		return;
	}
	if (is_new)
		printf("%s%s\n", listing->count > 1 ? "\n" : "", subject);
	putchar('\n');
	if (told_as[0] != '\0')
		print_wrapped("Told as:", told_as);
	print_cause(cause);
	listing->subject = subject;
}

static int list(bool is_json)
{
	struct listing listing = {is_json ? json_array() : NULL, NULL, 0};

	catalogue_each(list_one, &listing);
	if (is_json)
		print_json(listing.array);
	else
		printf("\n%zu causes\n", listing.count);
	return 0;
}

/* A NUL in it ends it. Returns false where it is too long or cannot be read. */
static bool read_input(struct buf *text)
{
	char chunk[4096];
	size_t n;

	if (isatty(STDIN_FILENO))
		fputs("Paste the error, then press Enter and Ctrl-D.\n", stderr);
	while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0 && text->n <= TEXT_MAX)
		buf_add(text, chunk, n);
	buf_add_char(text, '\0');
	return !ferror(stdin) && text->n <= TEXT_MAX;
}

int cmd_explain(int argc, char **argv)
{
	struct options options;
	struct buf text = {0};
	int status = options_parse(argc, argv, "jl+", usage, &options);

	if (status >= 0)
		return status;
	if (options.list)
		return list(options.json);
	for (int i = 0; i < options.argc; i++) {
		buf_add_text(&text, i > 0 ? " " : "");
		buf_add_text(&text, options.argv[i]);
	}
	if (options.argc > 0) {
		buf_add_char(&text, '\0');
	} else if (!read_input(&text)) {
		fputs("mfdrelay explain: standard input cannot be read, or is longer than 128 KB; give it "
		      "the lines that matter\n",
		    stderr);
		buf_free(&text);
		return EX_IOERR;
	}
	status = explain_text(text.p, options.json);
	buf_free(&text);
	return status;
}
