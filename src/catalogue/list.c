/* The catalogue as a list, and its sets in words. */
#include <stdio.h>
#include <string.h>

#include "catalogue/explain.h"
#include "catalogue/own.h"
#include "catalogue/rows.h"
#include "catalogue/topics.h"

struct words {
	unsigned bit;
	const char *text;
};

static const char *take(unsigned *set, const struct words *words)
{
	for (; words->bit != 0; words++)
		if ((*set & words->bit) != 0) {
			*set &= ~words->bit;
			return words->text;
		}
	return NULL;
}

const char *explain_speaker(unsigned *set)
{
	static const struct words words[] = {{SUBMISSION, "smtp.office365.com"}, {HVE, "High Volume Email"},
	    {MX, "a tenant's MX (direct-send, connector)"}, {ACS, "Azure Communication Services"},
	    {OTHER, "any other server"}, {0, NULL}};

	return take(set, words);
}

const char *explain_phase(unsigned *set)
{
	static const struct words words[] = {{AT(PHASE_BANNER), "the connection"}, {AT(PHASE_EHLO), "EHLO"},
	    {AT(PHASE_STARTTLS), "STARTTLS"}, {AT(PHASE_AUTH), "AUTH with a token"},
	    {AT(PHASE_PASSWORD), "AUTH with a password"}, {AT(PHASE_MAIL), "MAIL"}, {AT(PHASE_RCPT), "RCPT"},
	    {AT(PHASE_DATA), "DATA"}, {AT(PHASE_CONTENT), "the content"}, {0, NULL}};

	return take(set, words);
}

#define TOLD_AS_MAX 600

struct told {
	char text[TOLD_AS_MAX];
	size_t n;
};

static void say(struct told *told, const char *before, const char *text)
{
	int n = snprintf(told->text + told->n, sizeof told->text - told->n, "%s%s", before, text);

	told->n = told->n + (size_t)n < sizeof told->text ? told->n + (size_t)n : sizeof told->text - 1;
}

/* "a|b" as "a or b". */
static void say_alternatives(struct told *told, const char *before, const char *patterns, const char *quote)
{
	char one[200];

	for (const char *at = patterns; at != NULL && *at != '\0'; at += *at == '|') {
		size_t n = strcspn(at, "|");
		bool is_not = *at == '!';
		snprintf(one, sizeof one, "%s%s%.*s%s", is_not ? "not " : "", quote, (int)n - is_not,
		    at + is_not, quote);
		say(told, at == patterns ? before : " or ", one);
		at += n;
	}
}

static void say_match(struct told *told, const struct reply_match *match)
{
	char code[12];
	unsigned from = match->from;
	const char *between = told->n > 0 ? "; " : "";

	snprintf(code, sizeof code, match->code < 10 ? "%dxx" : "%d", match->code);
	if (match->code >= 10 || (match->enhanced == NULL && match->fragment == NULL)) {
		say(told, between, code);
		between = " ";
	}
	if (match->enhanced != NULL) {
		say_alternatives(told, between, match->enhanced, "");
		between = " ";
	}
	say_alternatives(told, between, match->fragment, "\"");
	between = " from ";
	for (const char *speaker = from == ANYBODY ? NULL : explain_speaker(&from); speaker != NULL;
	     speaker = explain_speaker(&from), between = ", ")
		say(told, between, speaker);
}

static void each_reply(catalogue_fn *fn, void *arg, const struct reply_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct reply_row *row = &table->rows[i];
		struct told told = {"", 0};
		for (size_t k = 0; k < REPLY_MATCHES; k++)
			if (row->matches[k].code != 0 || row->matches[k].enhanced != NULL ||
			    row->matches[k].fragment != NULL)
				say_match(&told, &row->matches[k]);
		fn(arg, table->title, &row->cause, told.text);
	}
}

static void each_login(catalogue_fn *fn, void *arg)
{
	for (size_t i = 0; i < login_row_count; i++) {
		const struct login_row *row = &login_rows[i];
		struct told told = {"", 0};
		char number[24];
		for (size_t k = 0; k < LOGIN_NUMBERS && row->numbers[k] != 0; k++) {
			snprintf(number, sizeof number, "AADSTS%ld", row->numbers[k]);
			say(&told, k > 0 ? ", " : "", number);
		}
		say_alternatives(&told, told.n > 0 ? "; " : "", row->error, "");
		fn(arg, "The login host", &row->cause, told.n > 0 ? told.text : "any other answer");
	}
}

static void each_shared(catalogue_fn *fn, void *arg)
{
	for (size_t i = 0; i < shared_row_count; i++) {
		struct told told = {"", 0};
		say(&told, "", shared_rows[i].name);
		say(&told, "", ", by all mail of a mailbox");
		fn(arg, "What all mail meets", &shared_rows[i].cause, told.text);
	}
}

const char *catalogue_no_class(const struct cause *cause)
{
	if (cause >= topic_taken_causes && cause < topic_taken_causes + topic_taken_count)
		return "the relay has done its part";
	for (size_t i = 0; i < own_row_count; i++)
		if (cause == &own_rows[i].cause)
			return "the relay itself answers so, and has not accepted the message";
	return NULL;
}

void catalogue_each(catalogue_fn *fn, void *arg)
{
	for (size_t t = 0; t < REPLY_TABLES; t++)
		each_reply(fn, arg, reply_tables[t]);
	each_login(fn, arg);
	for (size_t i = 0; i < trouble_row_count; i++) {
		struct told told = {"", 0};
		say_alternatives(&told, "", trouble_rows[i].fragment, "\"");
		fn(arg, "Network, TLS and the relay itself", &trouble_rows[i].cause, told.text);
	}
	each_shared(fn, arg);
	for (size_t i = 0; i < own_row_count; i++) {
		struct told told = {"", 0};
		say_alternatives(&told, "", own_rows[i].fragment, "\"");
		fn(arg, "What the relay itself answers to devices", &own_rows[i].cause, told.text);
	}
	for (size_t i = 0; i < topic_taken_count; i++)
		fn(arg, "Microsoft takes the mail and nothing arrives", &topic_taken_causes[i], "");
}
