#include "catalogue/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "catalogue/match.h"
#include "catalogue/own.h"
#include "catalogue/topics.h"
#include "smtp/reply.h"

#define SEGMENT_MAX 600 /* what belongs to one code, at most */
#define WORDS_MIN   10	/* shorter fragments of a row mean nothing without its code */
#define CODES_MAX   100 /* more of them are not looked at: each costs a walk through the tables */

/* A place in the text that names an error. */
struct anchor {
	const char *at, *end; /* the code itself */
	long aadsts;	      /* or 0 */
	int code;	      /* of a reply; 0: only the enhanced one is told */
	char enhanced[ENHANCED_ROOM];
	bool goes_on; /* "550-": another line follows */
};

struct finding {
	struct explanation *out;
	size_t count;
};

/* --- where the errors are --- */

static bool is_inside_word(const char *text, const char *at)
{
	return at > text && (ascii_is_alnum(at[-1]) || at[-1] == '.' || at[-1] == '_');
}

static bool is_reply_code(const char *s)
{
	return (s[0] == '4' || s[0] == '5') && ascii_is_digit(s[1]) && ascii_is_digit(s[2]) &&
	       !ascii_is_digit(s[3]) && s[3] != '.';
}

/* "550 5.1.10", "550-5.1.10", "550 #5.1.10", "5.1.10", "AADSTS50126". */
static bool read_anchor(const char *text, const char *at, struct anchor *out)
{
	const char *enhanced = at;

	*out = (struct anchor){.at = at};
	if (is_inside_word(text, at))
		return false;
	if (strncmp(at, "AADSTS", 6) == 0 && ascii_is_digit(at[6])) {
		char *end;
		out->aadsts = strtol(at + 6, &end, 10);
		out->end = end;
		return out->aadsts > 0;
	}
	if (is_reply_code(at)) {
		out->code = (int)strtol(at, NULL, 10);
		out->goes_on = at[3] == '-';
		enhanced = at + 3 + strspn(at + 3, " -#");
	}
	size_t n = enhanced_length(enhanced);
	snprintf(out->enhanced, sizeof out->enhanced, "%.*s", (int)n, enhanced);
	out->end = enhanced + n;
	return n > 0;
}

/* "550 User unknown": three digits and words, at the start of a line or behind what introduces a quotation. */
static bool read_bare_code(const char *text, const char *at, struct anchor *out)
{
	const char *before = at;

	*out = (struct anchor){.at = at, .end = at + 3};
	if (!is_reply_code(at) || (at[3] != ' ' && at[3] != '-' && at[3] != '\0' && at[3] != '\n'))
		return false;
	while (before > text && before[-1] == ' ')
		before--;
	if (before > text && strchr("\n:;\"'<=([>", before[-1]) == NULL)
		return false;
	out->code = (int)strtol(at, NULL, 10);
	out->goes_on = at[3] == '-';
	return true;
}

typedef bool read_fn(const char *text, const char *at, struct anchor *out);

static bool find_anchor(const char *text, const char *from, read_fn *read, struct anchor *out)
{
	for (const char *at = from; *at != '\0'; at++)
		if (read(text, at, out))
			return true;
	return false;
}

/* Whether a new thing begins at this line: a blank line, "Name: value" of a header. */
static bool ends_segment(const char *line)
{
	size_t word = 0;

	if (line[strspn(line, " \t\r")] == '\n')
		return true;
	while (ascii_is_alnum(line[word]) || line[word] == '-')
		word++;
	return word > 1 && line[word] == ':' && line[word + 1] == ' ';
}

/* The end of the words that belong to an anchor, at limit at most. */
static const char *segment_end(const char *from, const char *limit)
{
	const char *at = from;

	while (at < limit && *at != '\0' && at - from < SEGMENT_MAX && !(*at == '\n' && ends_segment(at + 1)))
		at++;
	return at;
}

/* --- what they mean --- */

static void copy_line(char *dst, size_t size, const char *from, const char *end)
{
	size_t n = 0;

	for (; from < end && n < size - 1; from++) {
		char c = *from >= ' ' && *from <= '~'			   ? *from
			 : *from == '\n' || *from == '\t' || *from == '\r' ? ' '
									   : '?';
		if (c != ' ' || (n > 0 && dst[n - 1] != ' '))
			dst[n++] = c;
	}
	while (n > 0 && dst[n - 1] == ' ')
		n--;
	dst[n] = '\0';
}

static struct explanation *found_already(const struct finding *finding, const struct cause *cause)
{
	for (size_t i = 0; i < finding->count; i++)
		if (finding->out[i].cause == cause)
			return &finding->out[i];
	return NULL;
}

/* NULL: there is no room, or it stands there already. */
static struct explanation *add(
    struct finding *finding, const struct cause *cause, bool is_listed, const char *from, const char *end)
{
	if (finding->count == EXPLAIN_MAX || found_already(finding, cause) != NULL)
		return NULL;
	struct explanation *out = &finding->out[finding->count++];
	*out = (struct explanation){.cause = cause, .is_listed = is_listed};
	copy_line(out->text, sizeof out->text, from, end);
	return out;
}

/* One meaning of a reply, and who means it when. */
struct meaning {
	const struct reply_row *row;
	unsigned from, phases;
};

static void note_meaning(
    struct meaning *meanings, size_t *count, const struct reply_row *row, const struct said *said)
{
	size_t i = 0;

	while (i < *count && meanings[i].row != row)
		i++;
	if (i == EXPLAIN_MAX)
		return;
	if (i == *count)
		meanings[(*count)++] = (struct meaning){row, 0, 0};
	meanings[i].from |= said->from;
	meanings[i].phases |= said->phase;
}

#define ALL_PHASES ((1u << PHASES) - 1)

/* 535 is an answer to AUTH and nothing else; an MX knows no AUTH. */
static unsigned phases_of(int code, unsigned from)
{
	unsigned phases = code == 535 ? LOGIN : ALL_PHASES;

	return from == MX && code != 535 ? phases & ~LOGIN : phases;
}

/* Whoever may have said it, whenever. */
static size_t all_meanings(int code, const char *enhanced, const char *text, struct meaning *meanings)
{
	size_t count = 0;
	struct said said = {.code = code, .enhanced = enhanced, .text = text};

	for (said.from = SUBMISSION; said.from <= OTHER; said.from <<= 1)
		for (unsigned phase = 0; phase < PHASES; phase++) {
			said.phase = AT(phase);
			if ((said.phase & phases_of(code, said.from)) != 0)
				note_meaning(meanings, &count, match_reply(&said), &said);
		}
	return count;
}

static size_t count_listed(const struct meaning *meanings, size_t count)
{
	size_t listed = 0;

	for (size_t i = 0; i < count; i++)
		listed += !match_is_unlisted(meanings[i].row);
	return listed;
}

/* Where only the enhanced code is told, the rows know it by one of these. */
static size_t meanings_of(const struct anchor *anchor, const char *text, struct meaning *meanings)
{
	static const int usual[] = {550, 554, 535, 530, 501, 504, 552, 450, 451, 421, 432, 452};
	int class = anchor->enhanced[0] - '0';
	char enhanced[ENHANCED_ROOM];

	pick_enhanced(enhanced, anchor->enhanced, text);
	if (anchor->code != 0)
		return all_meanings(anchor->code, enhanced, text, meanings);
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
		if (usual[i] / 100 != class)
			continue;
		size_t count = all_meanings(usual[i], enhanced, text, meanings);
		if (count_listed(meanings, count) > 0)
			return count;
	}
	return all_meanings(class * 100 + 50, enhanced, text, meanings);
}

static void add_meanings(
    struct finding *finding, const struct meaning *meanings, size_t count, const char *from, const char *end)
{
	size_t listed = count_listed(meanings, count);
	bool is_listed = listed > 0, is_only = listed == 1 || count == 1;

	for (size_t i = 0; i < count; i++) {
		if (match_is_unlisted(meanings[i].row) == is_listed)
			continue;
		struct explanation *out = add(finding, &meanings[i].row->cause, is_listed, from, end);
		if (out == NULL)
			continue;
		out->from = meanings[i].from == ANYBODY || is_only ? 0 : meanings[i].from;
		out->phases = meanings[i].phases == ALL_PHASES || is_only ? 0 : meanings[i].phases;
	}
}

/* The text of an anchor, with the line that it stands in: a connection's trouble is often told before the code. */
static const struct cause *trouble_around(const char *text, const char *from, const char *end)
{
	char line[SEGMENT_MAX];

	while (from > text && from[-1] != '\n')
		from--;
	copy_line(line, sizeof line, from, end);
	return match_trouble(~0u, line, false);
}

static void explain_reply(
    struct finding *finding, const char *text, const struct anchor *anchor, const char *end)
{
	struct meaning meanings[EXPLAIN_MAX];
	char words[REPLY_TEXT_MAX], lower[REPLY_TEXT_MAX];
	const struct cause *trouble = trouble_around(text, anchor->at, end);

	copy_line(words, sizeof words, anchor->end, end);
	comparable(lower, sizeof lower, words);
	size_t count = meanings_of(anchor, lower, meanings);
	if (trouble != NULL && (anchor->code == 0 || count_listed(meanings, count) == 0))
		add(finding, trouble, true, anchor->at, end);
	else
		add_meanings(finding, meanings, count, anchor->at, end);
}

#define ERROR_WORD_ROOM 60

static bool find_one_of(const char *text, const char *words, char found[ERROR_WORD_ROOM])
{
	while (*words != '\0') {
		size_t n = strcspn(words, "|");
		snprintf(found, ERROR_WORD_ROOM, "%.*s", (int)n, words);
		if (n > 0 && strstr(text, found) != NULL)
			return true;
		words += n + (words[n] == '|');
	}
	return false;
}

/* A word of the login host's "error". */
static bool find_error_word(const char *text, char found[ERROR_WORD_ROOM])
{
	for (size_t i = 0; i < login_row_count; i++)
		if (login_rows[i].error != NULL && find_one_of(text, login_rows[i].error, found))
			return true;
	return find_one_of(text, "invalid_client|unauthorized_client|invalid_request", found);
}

static void explain_login(
    struct finding *finding, const char *text, const struct anchor *anchor, const char *end)
{
	char word[ERROR_WORD_ROOM] = "";
	bool is_known, is_word_known;
	const struct cause *cause = match_login("", anchor->aadsts, &is_known);

	if (!is_known && find_error_word(text, word))
		cause = match_login(word, 0, &is_word_known);
	add(finding, cause, is_known, anchor->at, end);
}

/* The words of a further anchor belong to this one: a further line of the reply, or what a 5.7.57 is glued before. */
static bool belongs_to(const struct anchor *next, const struct anchor *anchor)
{
	if (strcmp(anchor->enhanced, "5.7.57") == 0 && strcmp(next->enhanced, "5.7.139") == 0)
		return true;
	return anchor->goes_on && next->code == anchor->code && strcmp(next->enhanced, anchor->enhanced) == 0;
}

/* What "Status: 5.1.10" adds to a "550 5.1.10 ..." is nothing. */
static bool is_repeated(const char *text, const struct anchor *anchor, read_fn *read)
{
	struct anchor other = {.end = text};

	if (anchor->code != 0 || anchor->aadsts != 0)
		return false;
	while (find_anchor(text, other.end, read, &other))
		if (other.code != 0 && strcmp(other.enhanced, anchor->enhanced) == 0)
			return true;
	return false;
}

static void explain_anchors(struct finding *finding, const char *text, read_fn *read)
{
	struct anchor anchor, next;
	bool more = find_anchor(text, text, read, &anchor);

	for (int i = 0; more && i < CODES_MAX; i++) {
		const char *from = anchor.end, *end;
		do {
			more = find_anchor(text, from, read, &next);
			end = segment_end(anchor.end, more ? next.at : text + strlen(text));
			from = more ? next.end : from;
		} while (more && belongs_to(&next, &anchor));
		if (anchor.aadsts != 0)
			explain_login(finding, text, &anchor, end);
		else if (!is_repeated(text, &anchor, read))
			explain_reply(finding, text, &anchor, end);
		anchor = next;
	}
}

/* --- texts without a number --- */

/* The "error" of the login host's JSON. */
static void explain_error_words(struct finding *finding, const char *text)
{
	char word[ERROR_WORD_ROOM];
	bool is_known;

	if (!find_error_word(text, word))
		return;
	const struct cause *cause = match_login(word, 0, &is_known);
	add(finding, cause, is_known, text, text + strlen(text));
}

/* Each line may tell of a trouble of its own. */
static void explain_troubles(struct finding *finding, const char *text)
{
	char line[SEGMENT_MAX];

	for (const char *end; *text != '\0'; text = *end == '\n' ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		copy_line(line, sizeof line, text, end);
		const struct cause *cause = match_trouble(~0u, line, false);
		if (cause != NULL)
			add(finding, cause, true, text, end);
	}
}

/* The relay's own answers, a line each; their numbers are others' too, with another meaning. */
static void explain_own(struct finding *finding, const char *text)
{
	char line[SEGMENT_MAX], lower[SEGMENT_MAX];

	for (const char *end; *text != '\0'; text = *end == '\n' ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		copy_line(line, sizeof line, text, end);
		comparable(lower, sizeof lower, line);
		size_t i = 0;
		while (i < own_row_count && !match_fragment(own_rows[i].fragment, lower))
			i++;
		if (i < own_row_count)
			add(finding, &own_rows[i].cause, true, text, end);
	}
}

/* Whether the text holds a fragment that is long enough to speak for itself. */
static bool holds_fragment(const struct reply_row *row, const char *text)
{
	char fragment[100];

	for (size_t k = 0; k < REPLY_MATCHES; k++)
		for (const char *at = row->matches[k].fragment; at != NULL && *at != '\0'; at += *at == '|') {
			size_t n = strcspn(at, "|");
			snprintf(fragment, sizeof fragment, "%.*s", (int)n, at);
			if (n >= WORDS_MIN && *at != '!' && strstr(text, fragment) != NULL)
				return true;
			at += n;
		}
	return false;
}

/* The words of a row without its code. */
static void explain_words(struct finding *finding, const char *text)
{
	char words[REPLY_TEXT_MAX], lower[REPLY_TEXT_MAX];
	const char *end = text + strlen(text);

	copy_line(words, sizeof words, text, end);
	comparable(lower, sizeof lower, words);
	for (size_t t = 0; t < REPLY_TABLES; t++)
		for (size_t i = 0; i < reply_tables[t]->count; i++)
			if (holds_fragment(&reply_tables[t]->rows[i], lower))
				add(finding, &reply_tables[t]->rows[i].cause, true, text, end);
}

static void explain_topics(struct finding *finding, const char *text)
{
	char words[REPLY_TEXT_MAX], lower[REPLY_TEXT_MAX];
	const char *end = text + strlen(text);

	copy_line(words, sizeof words, text, end);
	comparable(lower, sizeof lower, words);
	if (!match_fragment(topic_taken_fragments, lower))
		return;
	for (size_t i = 0; i < topic_taken_count; i++)
		add(finding, &topic_taken_causes[i], true, text, end);
}

/* --- names of entries --- */

struct name_search {
	struct finding *finding;
	struct str name;
	const char *from, *end; /* what it is read from */
};

static void add_if_named(void *arg, const char *subject, const struct cause *cause, const char *told_as)
{
	struct name_search *search = arg;

	(void)subject;
	(void)told_as;
	if (str_eq(search->name, cause->name))
		add(search->finding, cause, true, search->from, search->end);
}

/* As the log has them (reason=send-as-denied), where they say more than the reply does; or a name by itself. */
static void explain_names(struct finding *finding, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	struct name_search search = {.finding = finding};
	const char *at = text + strspn(text, " \n\r\t");

	search.name = (struct str){at, strspn(at, letters)};
	search.from = at;
	search.end = at + search.name.n;
	if (search.end[strspn(search.end, " \n\r\t")] == '\0')
		catalogue_each(add_if_named, &search);
	for (int i = 0; i < CODES_MAX && (at = strstr(at, "reason=")) != NULL; i++) {
		search.from = at;
		at += strlen("reason=");
		search.name = (struct str){at, strspn(at, letters)};
		search.end = at + strcspn(at, "\n");
		catalogue_each(add_if_named, &search);
	}
}

size_t explain(const char *text, struct explanation *out)
{
	struct finding finding = {out, 0};

	explain_names(&finding, text);
	if (finding.count == 0)
		explain_own(&finding, text);
	if (finding.count == 0)
		explain_anchors(&finding, text, read_anchor);
	if (finding.count == 0)
		explain_troubles(&finding, text);
	if (finding.count == 0)
		explain_error_words(&finding, text);
	if (finding.count == 0)
		explain_words(&finding, text);
	if (finding.count == 0)
		explain_anchors(&finding, text, read_bare_code);
	if (finding.count == 0)
		explain_topics(&finding, text);
	return finding.count;
}
