#include "smtp/wrap.h"

#include <string.h>

#include "base/word.h"

#define BASE64_MAX 76
#define QUOTED_MAX 75 /* and the '=' of the soft line break */

static size_t put(struct wrap *wrap, const char *bytes, size_t n, char *out)
{
	memcpy(out, bytes, n);
	wrap->column = (uint8_t)(wrap->column + n);
	return n;
}

static size_t put_line_end(struct wrap *wrap, char *out)
{
	memcpy(out, "\r\n", 2);
	wrap->column = 0;
	return 2;
}

static size_t put_escape(struct wrap *wrap, char c, char *out)
{
	static const char hex[] = "0123456789ABCDEF";
	char escape[3] = {'=', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15]};

	return put(wrap, escape, 3, out);
}

/* A soft line break where bytes more would be too many. */
static size_t make_room(struct wrap *wrap, size_t n, char *out)
{
	if (wrap->column + n <= QUOTED_MAX)
		return 0;
	out[0] = '=';
	return 1 + put_line_end(wrap, out + 1);
}

static size_t base64_byte(struct wrap *wrap, char c, char *out)
{
	size_t n = 0;

	if (c == '\r' || c == '\n') {
		out[0] = c;
		wrap->column = 0;
		return 1;
	}
	if (wrap->column == BASE64_MAX)
		n = put_line_end(wrap, out);
	return n + put(wrap, &c, 1, out + n);
}

static bool is_plain(char c)
{
	return (c >= '!' && c <= '~' && c != '=') || c == ' ' || c == '\t';
}

/* Its high bits tell which of eight bytes are not plain, or tabs: below a blank, above '~', an '='. A byte next to such a
 * one may be told wrongly. */
static uint64_t not_plain(uint64_t word)
{
	return word | (word + WORD_OF(1)) | ~(word + WORD_OF(0x80 - ' ')) | word_zeros(word ^ WORD_OF('='));
}

static bool are_plain(const char *bytes, size_t n)
{
	uint64_t found = 0;
	size_t i = 0;

	for (; n - i >= sizeof found; i += sizeof found)
		found |= not_plain(word_at(bytes + i));
	if (i < n && n >= sizeof found) {
		found |= not_plain(word_last(bytes, n));
		i = n;
	}
	if ((found & WORD_HIGH_BITS) != 0)
		i = 0;
	while (i < n && is_plain(bytes[i]))
		i++;
	return i == n;
}

size_t wrap_plain_line(const struct wrap *wrap, const char *line, size_t n)
{
	if (wrap->kind != WRAP_TEXT || wrap->column > 0 || wrap->held_n > 0 || n < 3 || line[n - 2] != '\r' ||
	    line[n - 1] != '\n' || line[n - 3] == ' ' || line[n - 3] == '\t' || !are_plain(line, n - 2))
		return 0;
	for (size_t i = QUOTED_MAX; i < n - 2; i += QUOTED_MAX)
		if (line[i] == '-')
			return 0;
	return n + (n - 3) / QUOTED_MAX * strlen("=\r\n");
}

/* One byte of a line of text. At the start of a line that a soft break made a '-' could make a boundary. */
static size_t text_byte(struct wrap *wrap, char c, bool escaped, char *out)
{
	size_t n;

	if (escaped || !is_plain(c)) {
		n = make_room(wrap, 3, out);
		return n + put_escape(wrap, c, out + n);
	}
	n = make_room(wrap, 1, out);
	if (n > 0 && c == '-')
		return n + put_escape(wrap, c, out + n);
	return n + put(wrap, &c, 1, out + n);
}

/* Held is a blank, or a CR, or a blank and a CR: a blank at the end of a line is escaped. */
static size_t flush_text(struct wrap *wrap, bool ends_line, char *out)
{
	size_t n = 0;

	for (uint8_t i = 0; i < wrap->held_n; i++)
		n += text_byte(wrap, wrap->held[i], ends_line, out + n);
	wrap->held_n = 0;
	return n;
}

static size_t hold(struct wrap *wrap, char c)
{
	wrap->held[wrap->held_n++] = c;
	return 0;
}

static size_t text_to_quoted(struct wrap *wrap, char c, char *out)
{
	bool after_cr = wrap->held_n > 0 && wrap->held[wrap->held_n - 1] == '\r';
	size_t n = 0;

	if (c == '\n' && after_cr) {
		wrap->held_n--;
		n = flush_text(wrap, true, out);
		return n + put_line_end(wrap, out + n);
	}
	if (c == '\r' && !after_cr)
		return hold(wrap, c);
	n = flush_text(wrap, false, out);
	if (c == ' ' || c == '\t' || c == '\r') {
		hold(wrap, c);
		return n;
	}
	return n + text_byte(wrap, c, false, out + n);
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* What is held, an '=' first, as one piece. */
static size_t flush_quoted(struct wrap *wrap, char *out)
{
	size_t n = wrap->held_n > 0 ? make_room(wrap, wrap->held_n, out) : 0;

	n += put(wrap, wrap->held, wrap->held_n, out + n);
	wrap->held_n = 0;
	return n;
}

/* An "=XX" stays in one piece, and so does an '=' at the end of a line. */
static size_t quoted_byte(struct wrap *wrap, char c, char *out)
{
	size_t n = 0;

	if (c == '\r' || c == '\n') {
		/* That '=' may stand in column 76. */
		n = put(wrap, wrap->held, wrap->held_n, out);
		wrap->held_n = 0;
		out[n++] = c;
		wrap->column = 0;
		return n;
	}
	if (wrap->held_n > 0 && is_hex(c)) {
		hold(wrap, c);
		return wrap->held_n == 3 ? flush_quoted(wrap, out) : 0;
	}
	n = flush_quoted(wrap, out);
	if (c == '=') {
		hold(wrap, c);
		return n;
	}
	size_t room = make_room(wrap, 1, out + n);
	if (room > 0 && c == '-')
		return n + room + put_escape(wrap, c, out + n + room);
	return n + room + put(wrap, &c, 1, out + n + room);
}

size_t wrap_byte(struct wrap *wrap, char c, char out[WRAP_OUT_MAX])
{
	switch (wrap->kind) {
	case WRAP_BASE64:
		return base64_byte(wrap, c, out);
	case WRAP_QUOTED:
		return quoted_byte(wrap, c, out);
	default:
		return text_to_quoted(wrap, c, out);
	}
}

size_t wrap_end(struct wrap *wrap, char out[WRAP_OUT_MAX])
{
	if (wrap->kind == WRAP_TEXT)
		return flush_text(wrap, true, out);
	return wrap->kind == WRAP_QUOTED ? flush_quoted(wrap, out) : 0;
}
