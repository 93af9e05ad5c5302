/* The content behind DATA. The first eight bytes of the input say how the rest is cut, how much room each
 * piece has, and whether LF ends its lines; the result must be that of one read, and stuffed again it must come back as it is. */
#include <string.h>

#include "fuzz.h"
#include "smtp/data.h"

#define CUTS 4

struct result {
	struct data_reader reader;
	char *content;
	size_t n, used;
};

/* Half of the inputs come from a device whose lines end in LF alone. */
static bool lf_ends(const uint8_t *pieces)
{
	return (pieces[0] & 1) != 0;
}

static struct result read_cut(const char *in, size_t n, const uint8_t *pieces, const uint8_t *rooms)
{
	struct result result = {.content = malloc(2 * n + 4)};

	data_reader_init(&result.reader);
	result.reader.lf_ends = lf_ends(pieces);
	for (size_t i = 0; result.used < n && !result.reader.ended; i++) {
		size_t piece = 1 + (size_t)pieces[i % CUTS], room = 4 + (size_t)rooms[i % CUTS], written;
		if (piece > n - result.used)
			piece = n - result.used;
		char *out = malloc(room); /* of its own, so that a byte too much is seen */
		result.used += data_read(&result.reader, in + result.used, piece, out, room, &written);
		PROMISE(written <= room && result.n + written <= 2 * n);
		memcpy(result.content + result.n, out, written);
		result.n += written;
		free(out);
	}
	PROMISE(result.reader.bytes == result.n);
	return result;
}

static struct result read_whole(const char *in, size_t n, bool lf_ends)
{
	struct result result = {.content = malloc(2 * n + 4)};

	data_reader_init(&result.reader);
	result.reader.lf_ends = lf_ends;
	result.used = data_read(&result.reader, in, n, result.content, 2 * n + 4, &result.n);
	PROMISE(result.used == n || result.reader.ended);
	return result;
}

/* The end is the first CRLF.CRLF, found here in another way, or a lone dot as the first line. */
static void check_end(const struct result *result, const char *in, size_t n)
{
	const char *end = memmem(in, n, "\r\n.\r\n", 5);
	size_t length = end != NULL ? (size_t)(end - in) + 5 : n;
	bool is_empty = n >= 3 && memcmp(in, ".\r\n", 3) == 0;

	PROMISE(result->reader.ended == (is_empty || end != NULL));
	PROMISE(result->used == (is_empty ? 3 : length));
}

/* Of a device whose lines end in LF: a lone dot is the last line so far. */
static void check_may_end(const struct result *result, const char *in, size_t n)
{
	bool is_dot = n >= 2 && memcmp(in + n - 2, ".\n", 2) == 0 && (n == 2 || in[n - 3] == '\n');
	const struct data_reader *reader = &result->reader;

	PROMISE(data_may_end(reader) == (is_dot && reader->lf_ends && !reader->ended));
}

static void check_line_ends(const struct result *result)
{
	for (size_t i = 0; i < result->n; i++) {
		PROMISE(result->content[i] != '\0');
		if (result->content[i] == '\r')
			PROMISE(i + 1 < result->n && result->content[i + 1] == '\n');
		if (result->content[i] == '\n')
			PROMISE(i > 0 && result->content[i - 1] == '\r');
	}
	if (result->reader.ended && result->n > 0)
		PROMISE(result->content[result->n - 1] == '\n');
}

/* Send in, in pieces, and read what went out: it ends where it should and nowhere before. */
static struct result send_and_read(const char *in, size_t n, const uint8_t *pieces)
{
	struct data_stuffer stuffer = {.in_line = false};
	char *wire = malloc(2 * n + 6);
	size_t used = 0, put = 0;

	for (size_t i = 0; used < n; i++) {
		size_t piece = 1 + (size_t)pieces[i % CUTS];
		piece = piece < n - used ? piece : n - used;
		put += data_stuff(&stuffer, in + used, piece, wire + put);
		used += piece;
	}
	const char *end = data_stuff_end(&stuffer);
	memcpy(wire + put, end, strlen(end));
	put += strlen(end);
	struct result result = read_whole(wire, put, false);
	PROMISE(result.reader.ended && result.used == put && result.reader.bare_lf == 0);
	free(wire);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 2 * CUTS)
		return 0;
	const char *in = (const char *)bytes + 2 * CUTS;
	struct result whole = read_whole(in, n - 2 * CUTS, lf_ends(bytes));
	struct result cut = read_cut(in, n - 2 * CUTS, bytes, bytes + CUTS);
	PROMISE(cut.n == whole.n && cut.used == whole.used && memcmp(cut.content, whole.content, cut.n) == 0);
	PROMISE(memcmp(&cut.reader, &whole.reader, offsetof(struct data_reader, bare_lf)) == 0);
	PROMISE(cut.reader.bare_lf == whole.reader.bare_lf && cut.reader.bare_cr == whole.reader.bare_cr &&
		cut.reader.nul == whole.reader.nul);
	check_end(&whole, in, n - 2 * CUTS);
	check_may_end(&whole, in, n - 2 * CUTS);
	check_line_ends(&whole);

	struct result sent = send_and_read(whole.content, whole.n, bytes);
	size_t added = whole.n > 0 && whole.content[whole.n - 1] != '\n' ? 2 : 0;
	PROMISE(sent.n == whole.n + added && memcmp(sent.content, whole.content, whole.n) == 0);
	PROMISE(sent.reader.bare_cr == 0 && sent.reader.has_8bit == whole.reader.has_8bit);
	/* A damaged file may hold anything. */
	struct result damaged = send_and_read(in, n - 2 * CUTS, bytes);
	free(whole.content);
	free(cut.content);
	free(sent.content);
	free(damaged.content);
	return 0;
}
