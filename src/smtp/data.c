#include "smtp/data.h"

#include <string.h>

#include "base/word.h"

/* A run is looked for in so many bytes at a time: with a CR or NUL at every second byte the search for an LF
 * would otherwise read all of the input again and again. */
#define WINDOW 1024

enum {
	LINE_START, /* behind a CRLF, or at the first byte */
	IN_LINE,    /* also behind a bare LF: a dot there is content */
	CR,	    /* a CR was read and not put out: a line end, or a bare one */
	DOT,	    /* "CRLF." was read, the dot not put out */
	DOT_CR,	    /* "CRLF.CR" was read */
	/* Where LF ends lines: */
	LF_START,  /* behind a bare LF */
	LF_DOT,	   /* "LF." was read, the dot not put out */
	LF_DOT_LF, /* ".LF" was read as a line and not put out: perhaps the end */
};

void data_reader_init(struct data_reader *reader)
{
	*reader = (struct data_reader){.state = LINE_START};
}

static size_t put_crlf(char *out)
{
	out[0] = '\r';
	out[1] = '\n';
	return 2;
}

/* One byte where nothing is pending. A NUL is dropped, but what it parts stays parted: "CRLF NUL ." is no dot
 * at a line's start. */
static size_t take_byte(struct data_reader *reader, char c, char *out)
{
	reader->state = c == '\r' ? CR : IN_LINE;
	switch (c) {
	case '\r':
		return 0;
	case '\n':
		reader->bare_lf++;
		if (reader->lf_ends)
			reader->state = LF_START;
		return put_crlf(out);
	case '\0':
		reader->nul++;
		return 0;
	default:
		if ((unsigned char)c > 127)
			reader->has_8bit = true;
		out[0] = c;
		return 1;
	}
}

static size_t take_bare_cr(struct data_reader *reader, char c, char *out)
{
	reader->bare_cr++;
	out[0] = ' ';
	return 1 + take_byte(reader, c, out + 1);
}

/* Behind a bare LF, where that ends lines. */
static size_t step_lf(struct data_reader *reader, char c, char *out)
{
	if (reader->state == LF_START && c == '.') {
		reader->state = LF_DOT;
		return 0;
	}
	if (reader->state == LF_DOT && c == '\r') {
		reader->state = CR;
		out[0] = '.';
		return 1;
	}
	return take_byte(reader, c, out);
}

/* It was a line of content after all. */
static size_t give_up_end(struct data_reader *reader, char *out)
{
	reader->state = LF_START;
	out[0] = '.';
	return 1 + put_crlf(out + 1);
}

/* One byte in any state but LF_DOT_LF: at most two bytes out. */
static size_t step(struct data_reader *reader, char c, char *out)
{
	if (c == '\n' && reader->lf_ends && (reader->state == DOT || reader->state == LF_DOT)) {
		reader->bare_lf++;
		reader->state = LF_DOT_LF;
		return 0;
	}
	switch (reader->state) {
	case LF_START:
	case LF_DOT:
		return step_lf(reader, c, out);
	case LINE_START:
		if (c != '.')
			return take_byte(reader, c, out);
		reader->state = DOT;
		return 0;
	case DOT:
		if (c != '\r')
			return take_byte(reader, c, out);
		reader->state = DOT_CR;
		return 0;
	case DOT_CR:
		if (c != '\n')
			return take_bare_cr(reader, c, out);
		reader->ended = true;
		return 0;
	case CR:
		if (c != '\n')
			return take_bare_cr(reader, c, out);
		reader->state = LINE_START;
		return put_crlf(out);
	default:
		return take_byte(reader, c, out);
	}
}

static size_t length_before(const char *p, char c, size_t n)
{
	const char *found = memchr(p, c, n);

	return found == NULL ? n : (size_t)(found - p);
}

static bool is_clean_word(uint64_t word)
{
	return ((word_zeros(word) | word_zeros(word ^ WORD_OF('\r'))) & WORD_HIGH_BITS) == 0;
}

/* Whether there is no CR and no NUL in it; *all collects the bits of its bytes, up to the first such one at least. */
static bool is_clean(const char *p, size_t n, uint64_t *all)
{
	uint64_t word;
	size_t i = 0;

	for (; n - i >= sizeof word; i += sizeof word) {
		word = word_at(p + i);
		*all |= word;
		if (!is_clean_word(word))
			return false;
	}
	if (i < n && n >= sizeof word) {
		word = word_last(p, n);
		*all |= word;
		return is_clean_word(word);
	}
	for (; i < n; i++) {
		*all |= (unsigned char)p[i];
		if (p[i] == '\r' || p[i] == '\0')
			return false;
	}
	return true;
}

/* The rest of a line up to its CRLF, where all of it goes out as it is: what nearly all mail consists of. 0: it is not. */
static size_t copy_line(struct data_reader *reader, const char *in, size_t n, char *out)
{
	size_t line = length_before(in, '\n', n < WINDOW ? n : WINDOW) + 1;
	uint64_t all = 0;

	if (line < 2 || line > n || line > WINDOW || in[line - 2] != '\r' || !is_clean(in, line - 2, &all))
		return 0;
	memcpy(out, in, line);
	reader->has_8bit |= (all & WORD_HIGH_BITS) != 0;
	reader->state = LINE_START;
	return line;
}

/* The bytes that go out as they are. */
static size_t copy_run(struct data_reader *reader, const char *in, size_t n, char *out)
{
	uint64_t all = 0;

	if (n > WINDOW)
		n = WINDOW;
	n = length_before(in, '\n', n);
	n = length_before(in, '\r', n);
	n = length_before(in, '\0', n);
	memcpy(out, in, n);
	is_clean(in, n, &all); /* it is: for the bits */
	reader->has_8bit |= (all & WORD_HIGH_BITS) != 0;
	return n;
}

static size_t copy(struct data_reader *reader, const char *in, size_t n, char *out)
{
	size_t line = copy_line(reader, in, n, out);

	return line > 0 || reader->state != IN_LINE ? line : copy_run(reader, in, n, out);
}

size_t data_read(
    struct data_reader *reader, const char *in, size_t n, char *out, size_t room, size_t *written)
{
	size_t used = 0, put = 0, run;

	while (used < n && room - put >= 3 && !reader->ended) {
		if (reader->state == LF_DOT_LF)
			put += give_up_end(reader, out + put);
		if (reader->state == IN_LINE || (reader->state == LINE_START && in[used] != '.')) {
			run =
			    copy(reader, in + used, n - used < room - put ? n - used : room - put, out + put);
			used += run;
			put += run;
			if (run > 0)
				continue;
		}
		if (room - put >= 2)
			put += step(reader, in[used++], out + put);
	}
	reader->bytes += put;
	*written = put;
	return used;
}

bool data_may_end(const struct data_reader *reader)
{
	return reader->state == LF_DOT_LF;
}

size_t data_stuff(struct data_stuffer *stuffer, const char *in, size_t n, char *out)
{
	size_t put = 0;

	while (n > 0) {
		size_t run = length_before(in, '\n', n);
		if (!stuffer->in_line && in[0] == '.')
			out[put++] = '.';
		memcpy(out + put, in, run);
		put += run;
		if (run > 0) {
			stuffer->in_line = true;
			stuffer->after_cr = in[run - 1] == '\r';
		}
		if (run == n)
			break;
		/* A bare LF comes from a damaged file only; it must not get out even so. */
		if (!stuffer->after_cr)
			out[put++] = '\r';
		out[put++] = '\n';
		*stuffer = (struct data_stuffer){.in_line = false};
		in += run + 1;
		n -= run + 1;
	}
	return put;
}

const char *data_stuff_end(const struct data_stuffer *stuffer)
{
	return stuffer->in_line ? "\r\n.\r\n" : ".\r\n";
}
