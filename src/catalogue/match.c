#include "catalogue/match.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "smtp/reply.h"

const struct reply_table *const reply_tables[REPLY_TABLES] = {
    &auth_replies, &limit_replies, &graph_replies, &mail_replies};

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

static bool has(const char *text, struct str fragment)
{
	return memmem(text, strlen(text), fragment.p, fragment.n) != NULL;
}

bool match_fragment(const char *patterns, const char *text)
{
	struct str fragment;

	if (patterns == NULL)
		return true;
	while (next_alternative(&patterns, &fragment)) {
		bool is_not = fragment.n > 0 && fragment.p[0] == '!';
		if (has(text, is_not ? (struct str){fragment.p + 1, fragment.n - 1} : fragment) != is_not)
			return true;
	}
	return false;
}

static bool match_fits(const struct reply_match *match, const struct said *said)
{
	return (match->code == 0 || match->code == said->code || match->code == said->code / 100) &&
	       (match->from == 0 || (match->from & said->from) != 0) &&
	       (match->phases == 0 || (match->phases & said->phase) != 0) &&
	       enhanced_fits(match->enhanced, said->enhanced) && match_fragment(match->fragment, said->text);
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

const struct reply_row *match_reply(const struct said *said)
{
	for (size_t t = 0; t < REPLY_TABLES; t++)
		for (size_t i = 0; i < reply_tables[t]->count; i++)
			if (row_fits(&reply_tables[t]->rows[i], said))
				return &reply_tables[t]->rows[i];
	assert(!"the last rows fit everything");
	return NULL;
}

bool match_is_unlisted(const struct reply_row *row)
{
	return row->matches[0].enhanced == NULL && row->matches[0].fragment == NULL &&
	       row->matches[0].code < 10;
}

const struct cause *match_trouble(unsigned troubles, const char *text, bool any_text)
{
	char lower[FAILURE_TEXT_MAX];

	comparable(lower, sizeof lower, text);
	for (size_t i = 0; i < trouble_row_count; i++) {
		const struct trouble_row *row = &trouble_rows[i];
		if ((row->troubles & troubles & ~ANY_TEXT) == 0 || (row->fragment == NULL && !any_text))
			continue;
		if ((any_text && (row->troubles & ANY_TEXT) != 0) || match_fragment(row->fragment, lower))
			return &row->cause;
	}
	return NULL;
}

static const struct cause *by_number(long aadsts)
{
	for (size_t i = 0; i < login_row_count; i++)
		for (size_t k = 0; k < LOGIN_NUMBERS && login_rows[i].numbers[k] != 0; k++)
			if (login_rows[i].numbers[k] == aadsts)
				return &login_rows[i].cause;
	return NULL;
}

static bool is_one_of(const char *patterns, const char *word)
{
	struct str pattern;

	while (next_alternative(&patterns, &pattern))
		if (str_eq(pattern, word))
			return true;
	return false;
}

const struct cause *match_login(const char *error, long aadsts, bool *is_known)
{
	const struct cause *cause = by_number(aadsts);

	*is_known = true;
	for (size_t i = 0; cause == NULL && i < login_row_count; i++)
		if (login_rows[i].error != NULL && error[0] != '\0' && is_one_of(login_rows[i].error, error))
			cause = &login_rows[i].cause;
	if (cause != NULL)
		return cause;
	*is_known = false;
	return &login_rows[login_row_count - 1].cause;
}

size_t enhanced_length(const char *s)
{
	size_t n = s[0] != '2' ? reply_status_length((struct str){s, strnlen(s, ENHANCED_ROOM)}) : 0;

	return s[n] == '.' || ascii_is_alnum(s[n]) ? 0 : n;
}

/* It stands for itself, not inside another number. */
static bool holds_5_7_139(const char *text)
{
	for (const char *at = text; (at = strstr(at, "5.7.139")) != NULL; at++)
		if ((at == text || (!ascii_is_digit(at[-1]) && at[-1] != '.')) && enhanced_length(at) == 7)
			return true;
	return false;
}

void pick_enhanced(char dst[ENHANCED_ROOM], const char *own, const char *text)
{
	snprintf(dst, ENHANCED_ROOM, "%s", holds_5_7_139(text) ? "5.7.139" : own);
	for (const char *line = text; dst[0] == '\0' && line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		snprintf(dst, ENHANCED_ROOM, "%.*s", (int)enhanced_length(line), line);
	}
}

void comparable(char *dst, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);

	for (size_t i = 0; i < n; i++)
		dst[i] = text[i] == '\n' ? ' ' : ascii_lower(text[i]);
	dst[n] = '\0';
	while (n > 0 && dst[n - 1] == ' ')
		dst[--n] = '\0';
	char *bracket = n > 0 && dst[n - 1] == ']' ? strrchr(dst, '[') : NULL;
	if (bracket != NULL)
		*bracket = '\0';
}
