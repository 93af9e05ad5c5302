#include "smtp/command.h"

#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "smtp/words.h"

static struct str head(struct str s, size_t n)
{
	return (struct str){s.p, n};
}

/* s without its first n bytes. */
static struct str tail(struct str s, size_t n)
{
	return (struct str){s.p + n, s.n - n};
}

static bool is_one_of(char c, const char *set)
{
	while (*set != '\0' && *set != c)
		set++;
	return *set != '\0';
}

/* Whether s holds a byte of set, in quotes or not. */
static bool holds_one_of(struct str s, const char *set)
{
	while (*set != '\0' && (s.n == 0 || memchr(s.p, *set, s.n) == NULL))
		set++;
	return *set != '\0';
}

/* The offset of the first byte of set that is outside quotes; s.n where there is none. */
static size_t find(struct str s, const char *set)
{
	bool quoted = false;

	if (!holds_one_of(s, set))
		return s.n;
	for (size_t i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && is_one_of(s.p[i], set))
			return i;
	}
	return s.n;
}

static bool has(struct str s, const char *set)
{
	return find(s, set) < s.n;
}

static bool is_around_lines(char c)
{
	return ascii_is_blank(c) || c == '\r' || c == '\0';
}

struct str command_trim(struct str line)
{
	while (line.n > 0 && is_around_lines(line.p[0]))
		line = tail(line, 1);
	while (line.n > 0 && is_around_lines(line.p[line.n - 1]))
		line.n--;
	return line;
}

struct command command_split(struct str line)
{
	size_t n = 0;

	line = command_trim(line);
	while (n < line.n && !is_one_of(line.p[n], " \t"))
		n++;
	return (struct command){.verb = head(line, n), .args = str_trim(tail(line, n))};
}

/* Step over "FROM :" or "TO :". */
static bool take_keyword(struct str *args, const char *keyword)
{
	if (!str_istarts(*args, keyword))
		return false;
	struct str rest = str_trim(tail(*args, strlen(keyword)));
	if (rest.n == 0 || rest.p[0] != ':')
		return false;
	*args = str_trim(tail(rest, 1));
	return true;
}

/* Whether s begins with "KEYWORD=" (RFC 5321 esmtp-param). */
static bool is_parameter(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '=')
			return i > 0;
		if (!ascii_is_alnum(c) && c != '-')
			return false;
	}
	return false;
}

/* The word behind a list's ',' or ';' is its next path, however much "FAX=+49@gw" looks like a parameter. */
static bool ends_in_separator(struct str s)
{
	s = str_trim(s);
	return s.n > 0 && is_one_of(s.p[s.n - 1], ",;");
}

/* Where the parameters begin: a blank outside quotes and brackets, followed by one. */
static size_t paths_length(struct str s)
{
	bool bracketed = false;

	for (size_t at = 0; (at += find(tail(s, at), " \t<>")) < s.n; at++) {
		if (s.p[at] == '<')
			bracketed = true;
		else if (s.p[at] == '>')
			bracketed = false;
		else if (!bracketed && is_parameter(tail(s, at + 1)) && !ends_in_separator(head(s, at)))
			return at;
	}
	return s.n;
}

/* Cut s down to what its innermost brackets hold, or to what stands before a '>' without '<'. Behind the
 * first '>' no second path may follow: it would be lost. */
static bool enter_brackets(struct str *s, bool *bracketed)
{
	size_t close = find(*s, ">");
	struct str inner = head(*s, close);

	if (has(tail(*s, close), "<@"))
		return false;
	*bracketed = has(inner, "<");
	while (has(inner, "<"))
		inner = tail(inner, find(inner, "<") + 1);
	*s = str_trim(inner);
	return true;
}

/* "Floor 2 (a@b)" is a@b, and so is "a@b (Floor 2)". Where it is not clear which, s stays and is no
 * address. */
static struct str strip_comment(struct str s)
{
	size_t open = find(s, "(");

	if (open == s.n)
		return s;
	struct str comment = tail(s, open + 1), before = str_trim(head(s, open));
	size_t close = find(comment, ")");
	struct str after = str_trim(tail(comment, close < comment.n ? close + 1 : close));
	struct str beside = before.n > 0 ? before : after;
	comment = head(comment, close);
	if ((before.n > 0 && after.n > 0) || (has(comment, "@") && has(beside, "@")))
		return s;
	return has(comment, "@") ? comment : beside;
}

/* What quotes around a whole address hold, as in "'a@b'" and "\"a@b\"". */
static struct str strip_quotes(struct str s)
{
	if (s.n < 3 || s.p[0] != s.p[s.n - 1])
		return s;
	if (s.p[0] == '\'' || (s.p[0] == '"' && memchr(s.p, '@', s.n) != NULL))
		return head(tail(s, 1), s.n - 2);
	return s;
}

/* "@a,@b:c@d" asks to go by a and b; RFC 5321 appendix C lets us go straight. */
static struct str strip_source_route(struct str s)
{
	if (s.n == 0 || s.p[0] != '@' || !has(s, ":"))
		return s;
	return str_trim(tail(s, find(s, ":") + 1));
}

/* Without brackets the address is the first word; what follows are parameters without a value. */
static struct str first_word(struct str s)
{
	size_t n = find(s, " \t");

	return has(head(s, n), "@") && !has(tail(s, n), "@") ? head(s, n) : s;
}

/* Parse one path. *out is the null path for "<>" and for the "<@>" of Lotus. */
static enum args_result parse_path(struct str s, struct address *out)
{
	bool bracketed;

	*out = (struct address){.at = 0};
	if (!enter_brackets(&s, &bracketed))
		return ARGS_ADDRESS;
	if (bracketed && (s.n == 0 || str_eq(s, "@")))
		return ARGS_OK;
	s = strip_comment(strip_source_route(s));
	if (!bracketed)
		s = first_word(s);
	/* What is no address without its quotes may be one with them: "\"@\"" is a local part. */
	if (!address_parse(strip_quotes(s), out) && !address_parse(s, out))
		return words_is_ascii(s) ? ARGS_ADDRESS : ARGS_NOT_ASCII;
	if (memchr(out->text, '%', out->at) != NULL || memchr(out->text, '!', out->at) != NULL)
		return ARGS_RELAYED;
	return ARGS_OK;
}

static void read_parameters(struct str s, struct mail_args *out)
{
	for (s = str_trim(s); s.n > 0;) {
		struct command words = command_split(s);
		if (str_istarts(words.verb, "SIZE=") && str_u64(tail(words.verb, 5), UINT64_MAX, &out->size))
			out->has_size = true;
		s = words.args;
	}
}

enum args_result command_mail(struct str args, struct mail_args *out)
{
	*out = (struct mail_args){.has_size = false};
	if (!take_keyword(&args, "FROM") || args.n == 0)
		return ARGS_SYNTAX;
	size_t n = paths_length(args);
	read_parameters(tail(args, n), out);
	return parse_path(head(args, n), &out->sender);
}

/* The commas of a source route part no paths. */
static size_t first_path_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && is_one_of(s.p[n], " \t<"))
		n++;
	if (n < s.n && s.p[n] == '@')
		n += find(tail(s, n), ":");
	return n + find(tail(s, n), ",;");
}

/* What a trailing separator leaves: nothing, or the bracket of "<a@b;>". */
static bool is_no_path(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_one_of(s.p[i], " \t>"))
			return false;
	return true;
}

enum args_result command_rcpt(struct str args, struct address *out, size_t max, size_t *count)
{
	*count = 0;
	if (!take_keyword(&args, "TO") || args.n == 0)
		return ARGS_SYNTAX;
	struct str paths = head(args, paths_length(args));
	while (paths.n > 0) {
		size_t n = first_path_length(paths);
		struct str path = head(paths, n);
		paths = tail(paths, n < paths.n ? n + 1 : n);
		if (is_no_path(path))
			continue;
		if (*count == max)
			return ARGS_TOO_MANY;
		enum args_result result = parse_path(path, &out[*count]);
		if (result != ARGS_OK)
			return result;
		if (address_domain(&out[*count])[0] == '\0' &&
		    strcasecmp(out[*count].text, "postmaster") != 0)
			return ARGS_ADDRESS;
		(*count)++;
	}
	return *count > 0 ? ARGS_OK : ARGS_ADDRESS;
}
