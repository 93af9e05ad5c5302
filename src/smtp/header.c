#include "smtp/header.h"

#include <string.h>

#include "base/ascii.h"
#include "base/civil.h"

#define FOLD_AT 78

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

/* What a fold is made of. */
static bool is_fold(char c)
{
	return ascii_is_blank(c) || is_line_end(c);
}

static void skip(struct str *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

/* RFC 5322 section 2.2: "ftext". */
static bool is_name_char(char c)
{
	return c > ' ' && c <= '~' && c != ':';
}

enum header_line header_classify(struct str line, size_t *name_n, size_t *value)
{
	size_t n = 0, colon;

	if (line.n == 0)
		return HEADER_EMPTY;
	if (ascii_is_blank(line.p[0]))
		return HEADER_FOLDED;
	while (n < line.n && is_name_char(line.p[n]))
		n++;
	for (colon = n; colon < line.n && ascii_is_blank(line.p[colon]);)
		colon++;
	if (n == 0 || !ascii_is_letter(line.p[0]) || colon == line.n || line.p[colon] != ':')
		return HEADER_OTHER;
	if (colon + 2 < line.n && memcmp(line.p + colon, "://", 3) == 0)
		return HEADER_OTHER;
	*name_n = n;
	*value = colon + 1;
	return HEADER_FIELD;
}

unsigned header_traits(struct str name)
{
	static const struct {
		const char *name;
		unsigned traits;
	} names[] = {{"From", HEADER_OF_MAIL | HEADER_RESUMES}, {"To", HEADER_OF_MAIL | HEADER_RESUMES},
	    {"Cc", HEADER_OF_MAIL | HEADER_RESUMES}, {"Bcc", HEADER_OF_MAIL},
	    {"Subject", HEADER_OF_MAIL | HEADER_RESUMES}, {"Date", HEADER_RESUMES},
	    {"Message-ID", HEADER_OF_MAIL | HEADER_RESUMES}, {"Reply-To", HEADER_OF_MAIL},
	    {"Sender", HEADER_OF_MAIL}, {"Received", HEADER_OF_MAIL}, {"Return-Path", HEADER_OF_MAIL},
	    {"MIME-Version", HEADER_OF_MAIL | HEADER_RESUMES}, {"In-Reply-To", HEADER_OF_MAIL},
	    {"References", HEADER_OF_MAIL}, {"Disposition-Notification-To", HEADER_OF_MAIL},
	    {"DKIM-Signature", HEADER_OF_MAIL}, {"Content-Type", HEADER_OF_MAIL | HEADER_RESUMES},
	    {"Content-Transfer-Encoding", HEADER_OF_MAIL | HEADER_RESUMES},
	    {"Content-Disposition", HEADER_OF_MAIL | HEADER_RESUMES},
	    {"X-Mailer", HEADER_OF_MAIL | HEADER_RESUMES}};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (str_ieq(name, names[i].name))
			return names[i].traits;
	return str_istarts(name, "Content-") || str_istarts(name, "X-") ? HEADER_OF_MAIL : 0;
}

void header_unfold(struct buf *out, struct str value)
{
	while (value.n > 0 && is_fold(value.p[value.n - 1]))
		value.n--;
	while (value.n > 0 && is_fold(value.p[0]))
		skip(&value, 1);
	while (value.n > 0) {
		size_t n = 0;
		while (n < value.n && !is_line_end(value.p[n]))
			n++;
		buf_add(out, value.p, n);
		skip(&value, n);
		if (value.n > 1 && value.p[0] == '\n' && !ascii_is_blank(value.p[1]))
			buf_add_char(out, ' ');
		skip(&value, value.n > 0 ? 1 : 0);
	}
}

/* The length of the blanks that value begins with and of the word behind them. */
static size_t word_length(struct str value)
{
	size_t n = 0;

	while (n < value.n && ascii_is_blank(value.p[n]))
		n++;
	while (n < value.n && !ascii_is_blank(value.p[n]))
		n++;
	return n;
}

void header_fold(struct buf *out, struct str name, struct str value)
{
	size_t column = name.n + 2;
	bool first = true;

	buf_add_str(out, name);
	buf_add_text(out, ":");
	if (value.n > 0)
		buf_add_text(out, " ");
	while (value.n > 0) {
		size_t n = word_length(value);
		/* Not before the first word: some readers take the line for an empty field. */
		if (!first && column + n > FOLD_AT && ascii_is_blank(value.p[0])) {
			buf_add_text(out, "\r\n");
			column = 0;
		}
		buf_add(out, value.p, n);
		column += n;
		value.p += n;
		value.n -= n;
		first = false;
	}
	buf_add_text(out, "\r\n");
}

size_t header_longest_line(struct str text)
{
	size_t longest = 0, length = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\n')
			length = 0;
		else if (text.p[i] != '\r')
			length++;
		if (length > longest)
			longest = length;
	}
	return longest;
}

/* --- tokens --- */

/* The length of what s begins with, up to the byte that ends it. */
static size_t enclosed_length(struct str s, char ends, bool *open)
{
	size_t depth = 0;

	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\' && ends != '>')
			i++;
		else if (s.p[i] == ends && depth-- == 0)
			return i + 1;
		else if (s.p[i] == '(' && ends == ')')
			depth++;
	}
	*open = true;
	return s.n;
}

/* The kind of run that c begins. */
static enum header_run run_of(char c)
{
	switch (c) {
	case '"':
		return RUN_QUOTED;
	case '(':
		return RUN_COMMENT;
	case '<':
		return RUN_ANGLE;
	case ',':
	case ';':
	case ':':
		return RUN_SEPARATOR;
	default:
		return RUN_TEXT;
	}
}

enum header_run header_next_run(struct str *rest, struct str *run, bool *open)
{
	static const char ends[] = {[RUN_QUOTED] = '"', [RUN_COMMENT] = ')', [RUN_ANGLE] = '>'};
	bool ignored = false;
	size_t n = 1;

	if (rest->n == 0)
		return RUN_END;
	enum header_run kind = run_of(rest->p[0]);
	if (kind == RUN_TEXT)
		while (n < rest->n && run_of(rest->p[n]) == RUN_TEXT)
			n++;
	else if (kind != RUN_SEPARATOR)
		n = enclosed_length(*rest, ends[kind], open != NULL ? open : &ignored);
	*run = (struct str){rest->p, n};
	skip(rest, n);
	return kind;
}

/* --- parameters --- */

static void skip_blanks(struct str *s)
{
	while (s->n > 0 && ascii_is_blank(s->p[0]))
		skip(s, 1);
}

/* To behind the next ';' that is in no quotes. */
static bool to_next_param(struct str *rest)
{
	while (rest->n > 0 && rest->p[0] != ';') {
		bool open = false;
		skip(rest, rest->p[0] == '"' ? enclosed_length(*rest, '"', &open) : 1);
	}
	if (rest->n == 0)
		return false;
	skip(rest, 1);
	skip_blanks(rest);
	return true;
}

static void take_param_value(struct str *rest, struct header_param *param)
{
	bool open = false;
	size_t n = 0;

	param->quoted = rest->n > 0 && rest->p[0] == '"';
	if (param->quoted) {
		n = enclosed_length(*rest, '"', &open);
		param->value = (struct str){rest->p + 1, n - (open ? 1 : 2)};
	} else {
		while (n < rest->n && rest->p[n] != ';')
			n++;
		while (n > 0 && ascii_is_blank(rest->p[n - 1]))
			n--;
		param->value = (struct str){rest->p, n};
	}
	skip(rest, n);
	param->end = rest->p;
}

bool header_next_param(struct str *rest, struct header_param *param)
{
	while (to_next_param(rest)) {
		size_t n = 0;
		while (n < rest->n && rest->p[n] != '=' && rest->p[n] != ';')
			n++;
		if (n == rest->n || rest->p[n] != '=')
			continue;
		param->begin = rest->p;
		param->name = str_trim((struct str){rest->p, n});
		skip(rest, n + 1);
		skip_blanks(rest);
		take_param_value(rest, param);
		return true;
	}
	return false;
}

static struct str without_comment(struct str value)
{
	const char *comment = memchr(value.p, '(', value.n);

	return comment != NULL ? str_trim((struct str){value.p, (size_t)(comment - value.p)}) : value;
}

bool header_param(struct str value, const char *name, char *out, size_t size)
{
	struct header_param param;
	size_t n = 0;

	while (header_next_param(&value, &param)) {
		if (!str_ieq(param.name, name))
			continue;
		if (!param.quoted)
			param.value = without_comment(param.value);
		for (size_t i = 0; i < param.value.n && n + 1 < size; i++) {
			if (param.quoted && param.value.p[i] == '\\' && i + 1 < param.value.n)
				i++;
			out[n++] = param.value.p[i];
		}
		out[n] = '\0';
		return n + 1 < size;
	}
	return false;
}

struct str header_media_type(struct str value)
{
	const char *end = memchr(value.p, ';', value.n);

	return str_trim((struct str){value.p, end != NULL ? (size_t)(end - value.p) : value.n});
}

/* --- the date --- */

static bool take_number(struct str *s, size_t least, size_t most, int *out)
{
	size_t n = 0;

	*out = 0;
	while (n < s->n && n < most && ascii_is_digit(s->p[n]))
		*out = *out * 10 + (s->p[n++] - '0');
	skip(s, n);
	return n >= least && (s->n == 0 || !ascii_is_digit(s->p[0]));
}

static bool take_char(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	skip(s, 1);
	return true;
}

/* The index of one of count names of three letters, in names one after the other. */
static bool take_name(struct str *s, const char *names, int count, int *out)
{
	for (*out = 0; *out < count; ++*out) {
		char name[4] = {names[3 * *out], names[3 * *out + 1], names[3 * *out + 2], '\0'};
		if (str_istarts(*s, name)) {
			skip(s, 3);
			return true;
		}
	}
	return false;
}

static bool take_day(struct str *s, int *day, int *month, int *year)
{
	int ignored;

	if (s->n > 0 && ascii_is_letter(s->p[0])) {
		if (!take_name(s, "SunMonTueWedThuFriSat", 7, &ignored) || !take_char(s, ','))
			return false;
		skip_blanks(s);
	}
	if (!take_number(s, 1, 2, day) || *day < 1 || *day > 31)
		return false;
	skip_blanks(s);
	if (!take_name(s, "JanFebMarAprMayJunJulAugSepOctNovDec", 12, month))
		return false;
	skip_blanks(s);
	return take_number(s, 4, 4, year);
}

static bool take_time(struct str *s, int *seconds)
{
	int hour, minute, second = 0;

	skip_blanks(s);
	if (!take_number(s, 1, 2, &hour) || !take_char(s, ':') || !take_number(s, 2, 2, &minute))
		return false;
	if (take_char(s, ':') && !take_number(s, 2, 2, &second))
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	skip_blanks(s);
	return hour < 24 && minute < 60 && second <= 60;
}

static bool take_zone(struct str *s, int *minutes)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = {{"GMT", 0}, {"UTC", 0}, {"UT", 0}, {"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
	    {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
	int number, sign = s->n > 0 && s->p[0] == '-' ? -1 : 1;

	if (take_char(s, '+') || take_char(s, '-')) {
		*minutes = take_number(s, 4, 4, &number) ? sign * (number / 100 * 60 + number % 100) : -10000;
		return *minutes > -1440 && *minutes < 1440;
	}
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
		size_t n = strlen(zones[i].name);
		if (s->n >= n && memcmp(s->p, zones[i].name, n) == 0) {
			skip(s, n);
			*minutes = zones[i].hours * 60;
			return true;
		}
	}
	return false;
}

bool header_date(struct str value, int64_t *wall_ms)
{
	struct str s = str_trim(value);
	int day, month, year, seconds, zone;

	if (!take_day(&s, &day, &month, &year) || !take_time(&s, &seconds) || !take_zone(&s, &zone))
		return false;
	s = str_trim(s);
	if (s.n > 0 && (s.p[0] != '(' || s.p[s.n - 1] != ')'))
		return false;
	*wall_ms = ((civil_days(year, month + 1, day) * 1440 - zone) * 60 + seconds) * 1000;
	return true;
}
