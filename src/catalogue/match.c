/* Which row of the tables fits. */
#include "catalogue/catalogue.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/rows.h"
#include "smtp/reply.h"

#define ENHANCED_ROOM 16

/* "5.7.139", or "5.7.606-649" for a range of its last part. */
static bool enhanced_fits_one(struct str pattern, const char *enhanced)
{
	const char *dot = memrchr(pattern.p, '.', pattern.n);
	size_t head = (size_t)(dot - pattern.p) + 1;
	char *end;

	if (strncmp(pattern.p, enhanced, head) != 0)
		return false;
	long detail = strtol(enhanced + head, NULL, 10);
	long first = strtol(dot + 1, &end, 10);
	long last = *end == '-' ? strtol(end + 1, NULL, 10) : first;
	return detail >= first && detail <= last;
}

static bool next_alternative(const char **rest, struct str *out)
{
	if (*rest == NULL)
		return false;
	const char *bar = strchr(*rest, '|');
	*out = (struct str){*rest, bar != NULL ? (size_t)(bar - *rest) : strlen(*rest)};
	*rest = bar != NULL ? bar + 1 : NULL;
	return true;
}

static bool enhanced_fits(const char *patterns, const char *enhanced)
{
	struct str pattern;

	if (patterns == NULL)
		return true;
	if (enhanced[0] == '\0')
		return false;
	while (next_alternative(&patterns, &pattern))
		if (enhanced_fits_one(pattern, enhanced))
			return true;
	return false;
}

static bool fragment_fits(const char *fragments, const char *text)
{
	struct str fragment;

	if (fragments == NULL)
		return true;
	while (next_alternative(&fragments, &fragment))
		if (memmem(text, strlen(text), fragment.p, fragment.n) != NULL)
			return true;
	return false;
}

/* What is known of a reply. */
struct said {
	int code;
	unsigned from, phase; /* one bit each: FROM(), AT() */
	const char *enhanced, *text;
};

static bool match_fits(const struct reply_match *match, const struct said *said)
{
	return (match->code == 0 || match->code == said->code || match->code == said->code / 100) &&
	       (match->from == 0 || (match->from & said->from) != 0) &&
	       (match->phases == 0 || (match->phases & said->phase) != 0) &&
	       enhanced_fits(match->enhanced, said->enhanced) && fragment_fits(match->fragment, said->text);
}

static bool is_match(const struct reply_match *match)
{
	return match->code != 0 || match->enhanced != NULL || match->fragment != NULL;
}

static bool row_fits(const struct reply_row *row, const struct said *said)
{
	if (said->code < 500 && (row->cause.outcome == OUTCOME_N || row->cause.outcome == OUTCOME_P))
		return false;
	for (size_t i = 0; i < REPLY_MATCHES && is_match(&row->matches[i]); i++)
		if (match_fits(&row->matches[i], said))
			return true;
	return false;
}

/* The length of an enhanced status code at s, which ends there: "5.7.139". 0: none. */
static size_t enhanced_length(const char *s)
{
	size_t n = 1;

	if (s[0] != '4' && s[0] != '5')
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;
		if (s[n++] != '.')
			return 0;
		while (isdigit((unsigned char)s[n + digits]))
			digits++;
		if (digits < 1 || digits > 3)
			return 0;
		n += digits;
	}
	return s[n] == '.' || isalnum((unsigned char)s[n]) ? 0 : n;
}

/* The code that counts: a 5.7.139 anywhere goes first, because clients and servers glue it behind a 5.7.57;
 * then the reply's own; then one of another class than the reply's (451 5.7.3, 550 4.4.4), which stands at
 * the start of a line of the text. */
static void pick_enhanced(char *dst, const struct reply *reply)
{
	dst[0] = '\0';
	for (const char *at = reply->text; (at = strstr(at, "5.7.139")) != NULL; at++)
		if ((at == reply->text || (!isdigit((unsigned char)at[-1]) && at[-1] != '.')) &&
		    enhanced_length(at) == 7) {
			strcpy(dst, "5.7.139");
			return;
		}
	if (reply->enhanced[0] != '\0') {
		snprintf(dst, ENHANCED_ROOM, "%s", reply->enhanced);
		return;
	}
	for (const char *line = reply->text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t n = enhanced_length(line);
		if (n != 0) {
			snprintf(dst, ENHANCED_ROOM, "%.*s", (int)n, line);
			return;
		}
	}
}

/* For comparing: lower case, one line, without the "[HOST date id]" that Exchange appends. */
static void comparable(char *dst, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] == '\n' ? ' ' : (char)tolower((unsigned char)text[i]);
	dst[n] = '\0';
	while (n > 0 && dst[n - 1] == ' ')
		dst[--n] = '\0';
	char *bracket = n > 0 && dst[n - 1] == ']' ? strrchr(dst, '[') : NULL;
	if (bracket != NULL)
		*bracket = '\0';
}

void failure_from_reply(
    struct failure *out, const struct reply *reply, enum upstream_kind kind, enum smtp_phase phase)
{
	char enhanced[ENHANCED_ROOM], text[REPLY_TEXT_MAX];
	struct said said = {
	    /* Anything else was not a refusal; whoever asks all the same is told "try again". */
	    .code = reply->code >= 400 && reply->code <= 599 ? reply->code : 400,
	    .from = FROM(kind),
	    .phase = AT(phase),
	    .enhanced = enhanced,
	    .text = text,
	};
	const struct reply_row *row = reply_rows;

	pick_enhanced(enhanced, reply);
	comparable(text, sizeof text, reply->text);
	while (!row_fits(row, &said)) {
		row++;
		assert(row < reply_rows + reply_row_count);
	}
	*out = (struct failure){.cause = &row->cause};
	reply_format(out->text, sizeof out->text, reply);
}

/* One line of what came from outside, cut to fit. */
static void set_text(struct failure *out, const char *text)
{
	size_t n = strnlen(text, sizeof out->text - 1);

	for (size_t i = 0; i < n; i++)
		out->text[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : ' ';
	out->text[n] = '\0';
}

void failure_from_trouble(struct failure *out, enum road_trouble trouble, const char *text)
{
	*out = (struct failure){.cause = &trouble_causes[trouble]};
	set_text(out, text != NULL ? text : "");
}

static const struct cause *login_cause(const char *error, long aadsts, int http_status)
{
	if (http_status >= 500 || http_status == 429 || strcmp(error, "temporarily_unavailable") == 0 ||
	    strcmp(error, "server_error") == 0)
		return &login_busy;
	for (size_t i = 0; aadsts != 0 && i < login_row_count; i++)
		for (size_t k = 0; k < LOGIN_NUMBERS; k++)
			if (login_rows[i].numbers[k] == aadsts)
				return &login_rows[i].cause;
	return &login_refused;
}

void failure_from_login(
    struct failure *out, const char *error, const char *description, long aadsts, int http_status)
{
	char text[2 * FAILURE_TEXT_MAX];

	error = error != NULL ? error : "";
	snprintf(
	    text, sizeof text, "HTTP %d %s: %s", http_status, error, description != NULL ? description : "");
	*out = (struct failure){.cause = login_cause(error, aadsts, http_status)};
	set_text(out, text);
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[] = {"T", "S", "A", "C", "N", "P"};

	return names[outcome];
}
