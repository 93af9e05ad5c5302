#include "smtp/reply.h"

#include <stddef.h>
#include <string.h>

#include "base/ascii.h"
#include "base/text.h"

/* Returns 0 where line does not begin with a reply's code and what must follow it. */
static int read_code(struct str line)
{
	if (line.n < 3 || !ascii_is_digit(line.p[0]) || !ascii_is_digit(line.p[1]) ||
	    !ascii_is_digit(line.p[2]))
		return 0;
	if (line.n > 3 && line.p[3] != '-' && line.p[3] != ' ')
		return 0;
	int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
	return code >= 200 && code <= 599 ? code : 0;
}

/* The length of ".ddd" at s + at, or 0. */
static size_t dotted_number(struct str s, size_t at)
{
	size_t n = 1;

	if (at >= s.n || s.p[at] != '.')
		return 0;
	while (n <= 3 && at + n < s.n && ascii_is_digit(s.p[at + n]))
		n++;
	return n > 1 ? n : 0;
}

size_t reply_status_length(struct str s)
{
	if (s.n == 0 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5'))
		return 0;
	size_t subject = dotted_number(s, 1);
	size_t detail = dotted_number(s, 1 + subject);
	return subject > 0 && detail > 0 ? 1 + subject + detail : 0;
}

/* The same of a line's text: of this class, and a word by itself. */
static size_t enhanced_length(struct str s, int class)
{
	size_t n = reply_status_length(s);

	return n > 0 && s.p[0] == '0' + class && (n == s.n || s.p[n] == ' ') ? n : 0;
}

static void put(struct reply *reply, struct str s)
{
	size_t used = strlen(reply->text);

	for (size_t i = 0; i < s.n && used < sizeof reply->text - 1; i++) {
		char c = s.p[i];
		reply->text[used++] = c == '\n' || (c >= ' ' && c <= '~') ? c : '?';
	}
	reply->text[used] = '\0';
}

static void put_line(struct reply *reply, struct str text)
{
	size_t n = enhanced_length(text, reply->code / 100);

	if (n > 0) {
		str_copy(reply->enhanced, sizeof reply->enhanced, (struct str){text.p, n});
		text = str_trim((struct str){text.p + n, text.n - n});
	}
	if (reply->lines > 0)
		put(reply, str_of("\n"));
	put(reply, text);
}

void reply_clear(struct reply *reply)
{
	reply->code = 0;
	reply->enhanced[0] = reply->text[0] = '\0';
	reply->lines = 0;
}

enum reply_result reply_feed(struct reply *reply, struct str line)
{
	int code = line.n <= REPLY_LINE_MAX ? read_code(line) : 0;

	if (code == 0 || (reply->lines > 0 && code != reply->code) || reply->lines == REPLY_LINES_MAX)
		return REPLY_GARBAGE;
	/* An LF inside would look like a line of its own. */
	if (memchr(line.p, '\n', line.n) != NULL)
		return REPLY_GARBAGE;
	reply->code = code;
	put_line(reply, line.n > 4 ? (struct str){line.p + 4, line.n - 4} : str_of(""));
	reply->lines++;
	return line.n > 3 && line.p[3] == '-' ? REPLY_MORE : REPLY_DONE;
}

const char *reply_format(char *dst, size_t size, const struct reply *reply)
{
	struct text text = text_in(dst, size);

	if (reply->code == 0)
		return dst;
	text_number(&text, (uint64_t)reply->code, 0);
	text_join(&text, reply->enhanced[0] != '\0' ? " " : "", reply->enhanced,
	    reply->text[0] != '\0' ? " " : "", reply->text, NULL);
	for (char *p = dst; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	return dst;
}

struct offer {
	const char *name;
	size_t flag; /* offset of its bool */
};

static const struct offer extensions[] = {
    {"STARTTLS", offsetof(struct ehlo, starttls)},
    {"PIPELINING", offsetof(struct ehlo, pipelining)},
    {"CHUNKING", offsetof(struct ehlo, chunking)},
    {"8BITMIME", offsetof(struct ehlo, eightbitmime)},
    {"DSN", offsetof(struct ehlo, dsn)},
    {"SMTPUTF8", offsetof(struct ehlo, smtputf8)},
    {"ENHANCEDSTATUSCODES", offsetof(struct ehlo, enhanced_status_codes)},
    {NULL, 0},
};

static const struct offer mechanisms[] = {
    {"LOGIN", offsetof(struct ehlo, auth_login)},
    {"PLAIN", offsetof(struct ehlo, auth_plain)},
    {"XOAUTH2", offsetof(struct ehlo, auth_xoauth2)},
    {NULL, 0},
};

static void set_flag(struct ehlo *out, const struct offer *offers, struct str name)
{
	for (; offers->name != NULL; offers++)
		if (str_ieq(name, offers->name))
			*(bool *)((char *)out + offers->flag) = true;
}

/* Cut off and return what stands before the first byte of set, which is dropped too. */
static struct str next_word(struct str *s, const char *set)
{
	size_t n = 0;

	while (n < s->n && strchr(set, s->p[n]) == NULL)
		n++;
	struct str word = {s->p, n};
	size_t skip = n < s->n ? n + 1 : n;
	*s = (struct str){s->p + skip, s->n - skip};
	return word;
}

static void read_offer(struct str line, struct ehlo *out)
{
	struct str word = next_word(&line, str_istarts(line, "AUTH=") ? "=" : " ");

	if (str_ieq(word, "AUTH")) {
		while (line.n > 0)
			set_flag(out, mechanisms, next_word(&line, " "));
	} else if (str_ieq(word, "SIZE")) {
		out->has_size = true;
		str_u64(str_trim(line), UINT64_MAX, &out->size);
	} else {
		set_flag(out, extensions, word);
	}
}

/* The first line is the server's greeting, no offer. */
void ehlo_parse(const struct reply *reply, struct ehlo *out)
{
	struct str text = str_of(reply->text);

	*out = (struct ehlo){.has_size = false};
	next_word(&text, "\n");
	while (text.n > 0)
		read_offer(str_trim(next_word(&text, "\n")), out);
}
