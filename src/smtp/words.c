#include "smtp/words.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"

#define WORD_OCTETS	  45 /* of text in one encoded word: 60 of base64, 72 with what surrounds them */
#define WORD_QUOTED_MAX	  60 /* the same, written as Q */
#define PARAM_PIECE_CHARS 20 /* of a long parameter; 240 octets at the most */
#define PARAM_WHOLE_CHARS 60 /* of one that is in one piece; 720 octets at the most */

bool words_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] > 127)
			return false;
	return true;
}

/* The length of the UTF-8 sequence s begins with; 0 where it is none (RFC 3629: shortest forms, no surrogates). */
static size_t sequence_length(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0x80	 ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;

	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool words_is_utf8(struct str s)
{
	while (s.n > 0) {
		size_t n = sequence_length(s);
		if (n == 0)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

size_t words_cut(struct str utf8, size_t count)
{
	size_t at = 0;

	for (; count > 0 && at < utf8.n; count--) {
		size_t n = sequence_length((struct str){utf8.p + at, utf8.n - at});
		at += n > 0 ? n : 1;
	}
	return at;
}

/* --- charsets --- */

static void add_code(struct buf *out, unsigned code)
{
	if (code < 0x80) {
		buf_add_char(out, (char)code);
	} else if (code < 0x800) {
		buf_add_char(out, (char)(0xc0 | code >> 6));
		buf_add_char(out, (char)(0x80 | (code & 0x3f)));
	} else {
		buf_add_char(out, (char)(0xe0 | code >> 12));
		buf_add_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (code & 0x3f)));
	}
}

static unsigned windows_1252(unsigned char c)
{
	static const uint16_t codes[32] = {0x20ac, 0xfffd, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
	    0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0xfffd, 0x017d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c,
	    0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0xfffd, 0x017e, 0x0178};

	return c >= 0x80 && c < 0xa0 ? codes[c - 0x80] : c;
}

static unsigned iso_8859_15(unsigned char c)
{
	static const uint16_t pairs[][2] = {{0xa4, 0x20ac}, {0xa6, 0x160}, {0xa8, 0x161}, {0xb4, 0x17d},
	    {0xb8, 0x17e}, {0xbc, 0x152}, {0xbd, 0x153}, {0xbe, 0x178}};

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		if (pairs[i][0] == c)
			return pairs[i][1];
	return c >= 0x80 && c < 0xa0 ? 0xfffd : c;
}

bool words_to_utf8(struct buf *out, const char *charset, struct str s)
{
	unsigned (*code)(unsigned char) = NULL;

	if (strcasecmp(charset, "windows-1252") == 0 || strcasecmp(charset, "ISO-8859-1") == 0)
		code = windows_1252;
	else if (strcasecmp(charset, "ISO-8859-15") == 0)
		code = iso_8859_15;
	else
		return false;
	for (size_t i = 0; i < s.n; i++)
		add_code(out, code((unsigned char)s.p[i]));
	return true;
}

const char *words_charset_alias(const char *label)
{
	static const char *const aliases[][2] = {
	    {"cp-850", "ibm850"},
	    {"cp850", "ibm850"},
	    {"cp-437", "ibm437"},
	    {"cp437", "ibm437"},
	    {"cp-1252", "windows-1252"},
	    {"cp1252", "windows-1252"},
	    {"ansi", "windows-1252"},
	    {"latin1", "iso-8859-1"},
	    {"latin-1", "iso-8859-1"},
	    {"iso8859-1", "iso-8859-1"},
	    {"iso8859_1", "iso-8859-1"},
	    {"iso-8859-1-windows-3.1-latin-1", "windows-1252"},
	    {"utf8", "utf-8"},
	    {"utf_8", "utf-8"},
	    {"sjis", "shift_jis"},
	    {"x-sjis", "shift_jis"},
	    {"ascii", "us-ascii"},
	    {"default", "us-ascii"},
	    {"none", "us-ascii"},
	    {"unknown", "us-ascii"},
	    {"unknown-8bit", "us-ascii"},
	    {"x-unknown", "us-ascii"},
	};

	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (strcasecmp(label, aliases[i][0]) == 0)
			return aliases[i][1];
	return NULL;
}

/* --- encoded words --- */

bool words_is_encoded(struct str s)
{
	size_t marks = 0, at[5];

	if (s.n < 8 || memcmp(s.p, "=?", 2) != 0 || memcmp(s.p + s.n - 2, "?=", 2) != 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		/* What a display name cannot hold is none either (RFC 2047 section 5 (3)). */
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("()<>@,;:\"\\[]", s.p[i]) != NULL)
			return false;
		if (s.p[i] == '?' && marks == 4)
			return false;
		if (s.p[i] == '?')
			at[marks++] = i;
	}
	return marks == 4 && at[1] > 2 && at[2] == at[1] + 2 && strchr("bBqQ", s.p[at[1] + 1]) != NULL;
}

static void add_base64(struct buf *out, const unsigned char *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		unsigned bits = (unsigned)p[i] << 16;
		bits |= i + 1 < n ? (unsigned)p[i + 1] << 8 : 0;
		bits |= i + 2 < n ? p[i + 2] : 0;
		buf_add_char(out, digits[bits >> 18]);
		buf_add_char(out, digits[bits >> 12 & 63]);
		buf_add_char(out, i + 1 < n ? digits[bits >> 6 & 63] : '=');
		buf_add_char(out, i + 2 < n ? digits[bits & 63] : '=');
	}
}

static void add_hex(struct buf *out, char mark, char c)
{
	char text[4];

	snprintf(text, sizeof text, "%c%02X", mark, (unsigned char)c);
	buf_add(out, text, 3);
}

/* What RFC 2047 section 5 (3) lets stand in a display name. */
static bool stands_in_q(char c)
{
	return ascii_is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

static size_t q_length(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == ' ' || stands_in_q(s.p[i]) ? 1 : 3;
	return n;
}

static void add_q(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ' ')
			buf_add_char(out, '_');
		else if (stands_in_q(s.p[i]))
			buf_add_char(out, s.p[i]);
		else
			add_hex(out, '=', s.p[i]);
	}
}

/* As many whole characters as one word takes. */
static struct str take_chunk(struct str *rest, bool as_q)
{
	struct str chunk = {rest->p, 0};
	size_t octets = 0;

	while (rest->n > 0) {
		size_t n = sequence_length(*rest);
		n = n > 0 ? n : 1;
		octets += as_q ? q_length((struct str){rest->p, n}) : n;
		if (octets > (as_q ? WORD_QUOTED_MAX : WORD_OCTETS))
			break;
		chunk.n += n;
		rest->p += n;
		rest->n -= n;
	}
	return chunk;
}

void words_encode_all(struct buf *out, struct str utf8)
{
	bool as_q = q_length(utf8) <= utf8.n * 4 / 3 + 6;

	for (bool first = true; utf8.n > 0; first = false) {
		struct str chunk = take_chunk(&utf8, as_q);
		buf_add_text(out, first ? "" : " ");
		buf_add_text(out, as_q ? "=?utf-8?Q?" : "=?utf-8?B?");
		if (as_q)
			add_q(out, chunk);
		else
			add_base64(out, (const unsigned char *)chunk.p, chunk.n);
		buf_add_text(out, "?=");
	}
}

void words_encode(struct buf *out, struct str utf8)
{
	size_t from = 0, to = utf8.n;

	if (words_is_ascii(utf8)) {
		buf_add_str(out, utf8);
		return;
	}
	while ((unsigned char)utf8.p[from] < 128)
		from++;
	while (from > 0 && !ascii_is_blank(utf8.p[from - 1]))
		from--;
	while ((unsigned char)utf8.p[to - 1] < 128)
		to--;
	while (to < utf8.n && !ascii_is_blank(utf8.p[to]))
		to++;
	/* The blank between two encoded words is not shown: it must be in one of them. */
	buf_add(out, utf8.p, from);
	if (from > 2 && memcmp(utf8.p + from - 3, "?=", 2) == 0)
		from--;
	if (to + 2 < utf8.n && memcmp(utf8.p + to + 1, "=?", 2) == 0)
		to++;
	words_encode_all(out, (struct str){utf8.p + from, to - from});
	if (to > 0 && to < utf8.n && ascii_is_blank(utf8.p[to - 1]))
		to--;
	buf_add(out, utf8.p + to, utf8.n - to);
}

/* --- parameters --- */

static void add_percent(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (ascii_is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '.' || s.p[i] == '_')
			buf_add_char(out, s.p[i]);
		else
			add_hex(out, '%', s.p[i]);
	}
}

/* In pieces of whole characters. */
static void add_param_pieces(struct buf *out, struct str name, struct str utf8)
{
	char piece[40];

	for (size_t i = 0; utf8.n > 0; i++) {
		size_t n = words_cut(utf8, PARAM_PIECE_CHARS);
		snprintf(piece, sizeof piece, "*%zu*=%s", i, i == 0 ? "utf-8''" : "");
		buf_add_text(out, i > 0 ? "; " : "");
		buf_add_str(out, name);
		buf_add_text(out, piece);
		add_percent(out, (struct str){utf8.p, n});
		utf8 = (struct str){utf8.p + n, utf8.n - n};
	}
}

void words_encode_param(struct buf *out, struct str name, struct str utf8)
{
	if (words_cut(utf8, PARAM_WHOLE_CHARS) < utf8.n) {
		add_param_pieces(out, name, utf8);
		return;
	}
	buf_add_str(out, name);
	buf_add_text(out, "*=utf-8''");
	add_percent(out, utf8);
}
