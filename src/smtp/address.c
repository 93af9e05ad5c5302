#include "smtp/address.h"

#include <string.h>
#include <strings.h>

#include "base/ascii.h"

#define ATEXT "!#$%&'*+-/=?^_`{|}~" /* and letters and digits */

/* Letters, digits, and those of others. */
static bool holds_only(struct str s, const char *others)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_alnum(s.p[i]) && (s.p[i] == '\0' || strchr(others, s.p[i]) == NULL))
			return false;
	return true;
}

/* What may stand without quotes by RFC 5321 (Dot-string). */
static bool is_dot_atom(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '.' && (i == 0 || i + 1 == s.n || s.p[i - 1] == '.'))
			return false;
	return s.n > 0 && holds_only(s, ATEXT ".");
}

static void put(struct address *out, const char *p, size_t n)
{
	size_t used = strlen(out->text);

	memcpy(out->text + used, p, n);
	out->text[used + n] = '\0';
}

static void put_quoted(struct address *out, struct str local)
{
	put(out, "\"", 1);
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			put(out, "\\", 1);
		put(out, &local.p[i], 1);
	}
	put(out, "\"", 1);
}

/* The length of the quoted string s begins with, quotes and all; 0 where it does not end. */
static size_t quoted_length(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* "\"a.b\"" names the same mailbox as "a.b" and is written so; what needs its quotes gets them anew, never
 * longer than they came. */
static bool put_quoted_local(struct address *out, struct str raw)
{
	char bytes[ADDRESS_MAX];
	size_t n = 0;

	for (size_t i = 1; i + 1 < raw.n; i++) {
		if (raw.p[i] == '\\')
			i++;
		if (raw.p[i] < ' ' || raw.p[i] > '~')
			return false;
		bytes[n++] = raw.p[i];
	}
	struct str local = {bytes, n};
	if (n == 0)
		return false;
	if (is_dot_atom(local))
		put(out, local.p, local.n);
	else
		put_quoted(out, local);
	return true;
}

static bool put_plain_local(struct address *out, struct str raw)
{
	if (raw.n == 0 || !holds_only(raw, ATEXT "."))
		return false;
	put(out, raw.p, raw.n);
	return true;
}

static bool is_literal(struct str domain)
{
	return domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']' &&
	       holds_only((struct str){domain.p + 1, domain.n - 2}, ".:-");
}

static bool is_domain_name(struct str domain)
{
	for (size_t i = 0; i < domain.n; i++)
		if (domain.p[i] == '.' && (i == 0 || i + 1 == domain.n || domain.p[i - 1] == '.'))
			return false;
	return holds_only(domain, "-_.");
}

/* An empty domain ("root@", an unset field in a panel) is as good as none. */
static bool put_domain(struct address *out, struct str domain)
{
	if (domain.n > 0 && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (domain.n == 0)
		return true;
	if (!is_literal(domain) && !is_domain_name(domain))
		return false;
	put(out, "@", 1);
	put(out, domain.p, domain.n);
	return true;
}

static size_t local_length(struct str text)
{
	if (text.p[0] == '"')
		return quoted_length(text);
	const char *at = memchr(text.p, '@', text.n);
	return at == NULL ? text.n : (size_t)(at - text.p);
}

static bool parse(struct str text, struct address *out)
{
	if (text.n == 0 || text.n > ADDRESS_MAX)
		return false;
	size_t n = local_length(text);
	struct str local = {text.p, n};
	if (n == 0 || (n < text.n && text.p[n] != '@'))
		return false;
	if (!(text.p[0] == '"' ? put_quoted_local(out, local) : put_plain_local(out, local)))
		return false;
	out->at = strlen(out->text);
	return n == text.n || put_domain(out, (struct str){text.p + n + 1, text.n - n - 1});
}

bool address_parse(struct str text, struct address *out)
{
	*out = (struct address){.at = 0};
	if (parse(str_trim(text), out))
		return true;
	*out = (struct address){.at = 0};
	return false;
}

const char *address_domain(const struct address *a)
{
	return a->text[a->at] == '@' ? a->text + a->at + 1 : "";
}

bool address_is(const struct address *a, const char *text)
{
	return strncmp(text, a->text, a->at) == 0 && strcasecmp(text + a->at, a->text + a->at) == 0;
}

bool address_is_useless(const char *address)
{
	struct address parsed;

	if (!address_parse(str_of(address), &parsed))
		return true;
	const char *domain = address_domain(&parsed);
	return domain[0] == '\0' || domain[0] == '[' || strcasecmp(domain, "localhost") == 0 ||
	       strcasecmp(domain, "localhost.localdomain") == 0 || parsed.text[parsed.at - 1] == '.';
}

/* On a mismatch only the last '*' need take one byte more: what stood before it has matched as early as it
 * could. */
bool address_matches(const char *text, const char *pattern)
{
	const char *after_star = NULL, *resume = NULL;

	while (*text != '\0') {
		if (*pattern == '*') {
			after_star = ++pattern;
			if (*after_star == '\0')
				return true;
			resume = text;
		} else if (ascii_lower(*pattern) == ascii_lower(*text)) {
			pattern++;
			text++;
		} else if (after_star != NULL) {
			pattern = after_star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

bool address_matches_any(const char *text, char *const *patterns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (address_matches(text, patterns[i]))
			return true;
	return n == 0;
}
