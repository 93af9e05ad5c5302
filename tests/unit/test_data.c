/* The content both ways, against a slow reader that does to the whole text what the header says, word for
 * word: at every split of the input, every small room for the output, and for all the ways to smuggle an end
 * in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <time.h>

#include "smtp/data.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_MAX      20000
#define NEXT	      "MAIL FROM:<evil@b>\r\n"
#define ROOM_MIN      4

struct text {
	char p[TEXT_MAX];
	size_t n;
};

static void add(struct text *text, const char *p, size_t n)
{
	assert_true(text->n + n <= sizeof text->p);
	memcpy(text->p + text->n, p, n);
	text->n += n;
}

static bool is_at(const char *in, size_t n, size_t at, const char *what)
{
	return n - at >= strlen(what) && memcmp(in + at, what, strlen(what)) == 0;
}

static bool is_behind_crlf(const char *in, size_t at)
{
	return at == 0 || (at >= 2 && in[at - 2] == '\r' && in[at - 1] == '\n');
}

/* Where the end ".\r\n" begins; n where there is none. */
static size_t slow_end(const char *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_behind_crlf(in, i) && is_at(in, n, i, ".\r\n"))
			return i;
	return n;
}

static void slow_read(const char *in, size_t n, struct text *out, struct data_reader *counts)
{
	size_t end = slow_end(in, n);

	out->n = 0;
	*counts = (struct data_reader){.ended = end < n};
	/* What a last CR is, the next byte decides. */
	if (end == n && n > 0 && in[n - 1] == '\r')
		end--;
	for (size_t i = 0; i < end; i++) {
		if (in[i] == '.' && is_behind_crlf(in, i))
			continue;
		if (is_at(in, end, i, "\r\n")) {
			add(out, "\r\n", 2);
			i++;
		} else if (in[i] == '\r') {
			counts->bare_cr++;
			add(out, " ", 1);
		} else if (in[i] == '\n') {
			counts->bare_lf++;
			add(out, "\r\n", 2);
		} else if (in[i] == '\0') {
			counts->nul++;
		} else {
			counts->has_8bit = counts->has_8bit || (unsigned char)in[i] >= 128;
			add(out, &in[i], 1);
		}
	}
	counts->bytes = out->n;
}

/* Feed one piece, with so much room at a time. Returns how much of it was used. */
static size_t feed(struct data_reader *reader, const char *in, size_t n, struct text *out, size_t room)
{
	char buffer[TEXT_MAX + 8];
	size_t used = 0, written;

	while (used < n && !reader->ended) {
		memset(buffer, '#', sizeof buffer);
		size_t took = data_read(reader, in + used, n - used, buffer, room, &written);
		assert_in_range(written, 0, room);
		assert_true(took > 0 || written > 0);
		assert_int_equal(buffer[room], '#');
		add(out, buffer, written);
		used += took;
	}
	return used;
}

static void check_equal(const char *label, const struct data_reader *got, const struct text *text,
    const struct data_reader *want, const struct text *want_text)
{
	if (got->ended != want->ended)
		fail_msg("%s: %s", label, got->ended ? "ended where it must not" : "did not end");
	if (text->n != want_text->n || memcmp(text->p, want_text->p, text->n) != 0)
		fail_msg("%s: other content: \"%.*s\"", label, (int)text->n, text->p);
	if (got->bare_lf != want->bare_lf || got->bare_cr != want->bare_cr || got->nul != want->nul ||
	    got->has_8bit != want->has_8bit || got->bytes != want->bytes)
		fail_msg("%s: other counts", label);
}

/* Read in, whole or in pieces that end at the cuts (ascending), and compare with the slow reader. */
static void check_cut(
    const char *label, const char *in, size_t n, const size_t *cuts, size_t cut_count, size_t room)
{
	static struct text got, want;
	struct data_reader reader, counts;
	size_t at = 0;

	slow_read(in, n, &want, &counts);
	got.n = 0;
	data_reader_init(&reader);
	for (size_t i = 0; i <= cut_count && !reader.ended; i++) {
		size_t to = i < cut_count ? cuts[i] : n;
		at += feed(&reader, in + at, to - at, &got, room);
	}
	check_equal(label, &reader, &got, &counts, &want);
	assert_int_equal(at, counts.ended ? slow_end(in, n) + 3 : n);
}

static void check_all_cuts(const char *label, const char *in, size_t n)
{
	for (size_t room = ROOM_MIN; room < 12; room++)
		for (size_t first = 0; first <= n; first++)
			for (size_t second = first; second <= n; second++)
				check_cut(label, in, n, (size_t[]){first, second}, 2, room);
	check_cut(label, in, n, NULL, 0, TEXT_MAX);
}

struct end_case {
	const char *label, *in;
	size_t n;
	const char *content; /* NULL: not ended behind in; the true end comes later */
};

#define CASE(label, in, content)                                                                             \
	{                                                                                                    \
		label, in, sizeof(in) - 1, content                                                           \
	}

/* The bytes in stand between "a" and more mail; content is what has been read when they are an end. */
static const struct end_case end_cases[] = {
    CASE("CRLF.CRLF is the end", "\r\n.\r\n", "a\r\n"),
    CASE("CR CRLF.CRLF is the end: the first CR is bare", "\r\r\n.\r\n", "a \r\n"),
    CASE("LF CRLF.CRLF is the end", "\n\r\n.\r\n", "a\r\n\r\n"),
    CASE("LF.CRLF.CRLF is the end at its second dot", "\n.\r\n.\r\n", "a\r\n.\r\n"),
    CASE("CRLF..CRLF.CRLF is a stuffed dot and the end", "\r\n..\r\n.\r\n", "a\r\n.\r\n"),
    CASE("LF.LF", "\n.\n", NULL),
    CASE("LF.CRLF", "\n.\r\n", NULL),
    CASE("CRLF.LF", "\r\n.\n", NULL),
    CASE("CRLF.CR", "\r\n.\r", NULL),
    CASE("CR.CR", "\r.\r", NULL),
    CASE("CR.LF", "\r.\n", NULL),
    CASE("LF.CR", "\n.\r", NULL),
    CASE("CR.CRLF", "\r.\r\n", NULL),
    CASE("CRLF.CR CRLF", "\r\n.\r\r\n", NULL),
    CASE("CRLF.CR LF with a NUL between", "\r\n.\r\0\n", NULL),
    CASE("CRLF NUL.CRLF", "\r\n\0.\r\n", NULL),
    CASE("CRLF.NUL CRLF", "\r\n.\0\r\n", NULL),
    CASE("CR NUL LF.CRLF", "\r\0\n.\r\n", NULL),
    CASE("LF CR.LF CR", "\n\r.\n\r", NULL),
    CASE("CR LF LF.CRLF", "\r\n\n.\r\n", NULL),
    CASE("CR LF CR.CRLF", "\r\n\r.\r\n", NULL),
    CASE("CRLF blank.CRLF", "\r\n .\r\n", NULL),
    CASE("CRLF.blank CRLF", "\r\n. \r\n", NULL),
    CASE("CRLF..CRLF", "\r\n..\r\n", NULL),
    CASE("CRLF.CRLF with a vertical tab, a form feed, a NEL and an LS",
	"\v.\v\f.\f\x85.\x85\xe2\x80\xa8.\xe2\x80\xa8", NULL),
    CASE("CRLF.LF.CRLF", "\r\n.\n.\r\n", NULL),
    CASE("LF LF.LF LF", "\n\n.\n\n", NULL),
};

/* Nothing behind such bytes is taken for a command, and the true end still is one. */
static void only_crlf_dot_crlf_ends(void **state)
{
	static struct text got;

	(void)state;
	for (size_t i = 0; i < LENGTH(end_cases); i++) {
		const struct end_case *c = &end_cases[i];
		struct text in = {.n = 0};
		struct data_reader reader;
		add(&in, "a", 1);
		add(&in, c->in, c->n);
		add(&in, NEXT, strlen(NEXT));
		got.n = 0;
		data_reader_init(&reader);
		size_t used = feed(&reader, in.p, in.n, &got, 64);
		if (reader.ended != (c->content != NULL))
			fail_msg(
			    "%s: %s", c->label, reader.ended ? "taken for the end" : "not taken for the end");
		if (c->content != NULL) {
			assert_int_equal(used, 1 + c->n);
			assert_int_equal(got.n, strlen(c->content));
			assert_memory_equal(got.p, c->content, got.n);
			continue;
		}
		add(&in, ".\r\nQUIT\r\n", 9);
		assert_int_equal(
		    used + feed(&reader, in.p + used, in.n - used, &got, 64), in.n - strlen("QUIT\r\n"));
		assert_true(reader.ended);
	}
}

static void any_split_gives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(end_cases); i++) {
		struct text in = {.n = 0};
		add(&in, "a", 1);
		add(&in, end_cases[i].in, end_cases[i].n);
		add(&in, "x\r\n.\r\nN", 7);
		check_all_cuts(end_cases[i].label, in.p, in.n);
		check_all_cuts(end_cases[i].label, in.p + 1, in.n - 1);
	}
}

/* Of a device whose lines end in LF alone. */
static const struct {
	const char *label, *in, *content;
	bool may_end, ended;
} lf_cases[] = {
    {"LF.LF", "a\n.\n", "a\r\n", true, false},
    {"at the first byte", ".\n", "", true, false},
    {"CRLF.LF", "a\r\n.\n", "a\r\n", true, false},
    {"LF.LF and more", "a\n.\nb\n", "a\r\n.\r\nb\r\n", false, false},
    {"LF.LF twice", "a\n.\n.\n", "a\r\n.\r\n", true, false},
    {"a dot without the line's end", "a\n.", "a\r\n", false, false},
    {"LF.CRLF", "a\n.\r\n", "a\r\n.\r\n", false, false},
    {"CRLF.CRLF", "a\n\r\n.\r\n", "a\r\n\r\n", false, true},
    {"a dot inside a line", "a.\n", "a.\r\n", false, false},
    {"a doubled dot", "a\n..b\n..\n", "a\r\n.b\r\n.\r\n", false, false},
    {"a dot behind a bare CR", "a\r.\n", "a .\r\n", false, false},
    {"LF.LF and a NUL", "a\n.\n\x01", "a\r\n.\r\n\x01", false, false},
};

static void lf_dot_lf_may_end_where_lf_ends_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(lf_cases); i++) {
		const char *in = lf_cases[i].in;
		for (size_t cut = 0; cut <= strlen(in); cut++) {
			struct text got = {.n = 0};
			struct data_reader reader;
			data_reader_init(&reader);
			reader.lf_ends = true;
			feed(&reader, in, cut, &got, 4);
			feed(&reader, in + cut, strlen(in) - cut, &got, 4);
			if (data_may_end(&reader) != lf_cases[i].may_end || reader.ended != lf_cases[i].ended)
				fail_msg("%s, cut at %zu: %s", lf_cases[i].label, cut,
				    lf_cases[i].may_end ? "is no end" : "may be the end");
			if (got.n != strlen(lf_cases[i].content) ||
			    memcmp(got.p, lf_cases[i].content, got.n) != 0)
				fail_msg("%s, cut at %zu: other content: \"%.*s\"", lf_cases[i].label, cut,
				    (int)got.n, got.p);
		}
	}
	for (size_t i = 0; i < LENGTH(lf_cases); i++) {
		struct text got = {.n = 0};
		struct data_reader reader;
		data_reader_init(&reader);
		feed(&reader, lf_cases[i].in, strlen(lf_cases[i].in), &got, 64);
		assert_false(data_may_end(&reader));
	}
}

struct content_case {
	const char *label, *in, *want;
	bool has_8bit;
	uint64_t bare_lf, bare_cr;
};

static const struct content_case content_cases[] = {
    {"nothing at all", ".\r\n", "", false, 0, 0},
    {"a line", "x\r\n.\r\n", "x\r\n", false, 0, 0},
    {"an empty line", "\r\n.\r\n", "\r\n", false, 0, 0},
    {"a stuffed first line", "..x\r\n.\r\n", ".x\r\n", false, 0, 0},
    {"a dot that should have been stuffed is taken away", ".x\r\n.\r\n", "x\r\n", false, 0, 0},
    {"a dot behind a bare LF is content", "a\n.b\r\n.\r\n", "a\r\n.b\r\n", false, 1, 0},
    {"two dots behind a bare LF stay two", "a\n..b\r\n.\r\n", "a\r\n..b\r\n", false, 1, 0},
    {"a dot behind a bare CR is content", "a\r.b\r\n.\r\n", "a .b\r\n", false, 0, 1},
    {"a bare CR makes no header line", "Subject: x\rBcc: y@z\r\n.\r\n", "Subject: x Bcc: y@z\r\n", false, 0,
	1},
    {"a bare LF behind a CRLF is an empty line", "a\r\n\nb\r\n.\r\n", "a\r\n\r\nb\r\n", false, 1, 0},
    {"CR CR LF is a bare CR and a line end", "a\r\r\n.\r\n", "a \r\n", false, 0, 1},
    {"bytes above 127 are seen and kept", "\xe4\r\n.\r\n", "\xe4\r\n", true, 0, 0},
    {"in the middle of a line too",
	"0123456789\x80"
	"0123456789\r\n.\r\n",
	"0123456789\x80"
	"0123456789\r\n",
	true, 0, 0},
    {"127 is no byte above 127", "\x7f\r\n.\r\n", "\x7f\r\n", false, 0, 0},
};

static void repairs_content(void **state)
{
	static struct text got;
	struct data_reader reader;

	(void)state;
	for (size_t i = 0; i < LENGTH(content_cases); i++) {
		const struct content_case *c = &content_cases[i];
		got.n = 0;
		data_reader_init(&reader);
		feed(&reader, c->in, strlen(c->in), &got, 64);
		if (!reader.ended || got.n != strlen(c->want) || memcmp(got.p, c->want, got.n) != 0)
			fail_msg("%s: \"%.*s\"", c->label, (int)got.n, got.p);
		if (reader.has_8bit != c->has_8bit || reader.bare_lf != c->bare_lf ||
		    reader.bare_cr != c->bare_cr)
			fail_msg("%s: other counts", c->label);
		assert_int_equal(reader.bytes, got.n);
	}
}

static void drops_and_counts_nul(void **state)
{
	static const char in[] = "a\0b\0\0\r\n\0\r\n.\r\n";
	static struct text got;
	struct data_reader reader;

	(void)state;
	got.n = 0;
	data_reader_init(&reader);
	feed(&reader, in, sizeof in - 1, &got, 4);
	assert_true(reader.ended);
	assert_int_equal(reader.nul, 4);
	assert_int_equal(got.n, 6);
	assert_memory_equal(got.p, "ab\r\n\r\n", 6);
}

static void takes_nothing_behind_the_end(void **state)
{
	struct data_reader reader;
	char out[64];
	size_t written;

	(void)state;
	data_reader_init(&reader);
	assert_int_equal(data_read(&reader, "x\r\n.\r\nQUIT\r\n", 12, out, sizeof out, &written), 6);
	assert_int_equal(written, 3);
	assert_int_equal(data_read(&reader, "QUIT\r\n", 6, out, sizeof out, &written), 0);
	assert_int_equal(written, 0);
	assert_int_equal(reader.bytes, 3);
}

/* Mostly what the states turn on, now and then a long run as in base64. */
static void fill_random(struct text *text, size_t about)
{
	static const char bytes[] = "\r\n.\r\n.\r\n.a\0\x80";
	static char run[3000];

	memset(run, 'b', sizeof run);
	text->n = 0;
	while (text->n < about) {
		if (about > 1000 && random() % 40 == 0)
			add(text, run, (size_t)random() % sizeof run);
		else
			add(text, &bytes[(size_t)random() % (sizeof bytes - 1)], 1);
	}
}

static size_t random_cuts(size_t *cuts, size_t max, size_t n)
{
	size_t count = (size_t)random() % max, at = 0;

	for (size_t i = 0; i < count; i++) {
		at += (size_t)random() % (2 * n / (count + 1) + 1);
		cuts[i] = at = at > n ? n : at;
	}
	return count;
}

static void random_input_at_random_splits(void **state)
{
	static struct text in;
	size_t cuts[12];

	(void)state;
	srandom(51764);
	for (int round = 0; round < 100000; round++) {
		fill_random(&in, (size_t)random() % 24);
		if (round % 2 == 0)
			add(&in, "\r\n.\r\n" NEXT, 5 + strlen(NEXT));
		check_cut("random", in.p, in.n > 0 && round % 3 == 0 ? in.n - 1 : in.n, cuts, 0, ROOM_MIN);
		size_t count = random_cuts(cuts, LENGTH(cuts), in.n);
		check_cut("random, cut", in.p, in.n, cuts, count, ROOM_MIN + (size_t)random() % 20);
	}
}

/* No end but the one behind all: the long runs are to be read. */
static void long_random_input(void **state)
{
	static struct text in;
	size_t cuts[12];

	(void)state;
	srandom(51765);
	for (int round = 0; round < 300; round++) {
		fill_random(&in, 2000 + (size_t)random() % 8000);
		for (size_t end; (end = slow_end(in.p, in.n)) < in.n;)
			in.p[end] = 'x';
		add(&in, "\r\n.\r\n" NEXT, 5 + strlen(NEXT));
		size_t count = random_cuts(cuts, LENGTH(cuts), in.n);
		check_cut("long", in.p, in.n, cuts, count, ROOM_MIN + (size_t)random() % 5000);
	}
}

/* Lines as long as what is looked at at a time, give or take, of any bytes: whole ones are taken another way. */
static void long_lines_of_any_bytes(void **state)
{
	static const int around[] = {8, 16, 75, 998, 1024, 2048};
	static struct text in;
	size_t cuts[12];

	(void)state;
	srandom(51766);
	for (int round = 0; round < 3000; round++) {
		for (in.n = 0; in.n < 6000;) {
			int n = around[random() % (long)LENGTH(around)] - 4 + (int)(random() % 8);
			bool is_text = random() % 3 > 0;
			for (int i = 0; i < n; i++) {
				char c = (char)(is_text ? ' ' + random() % 95 : random());
				add(&in, c != '\n' || random() % 2 == 0 ? &c : ".", 1);
			}
			add(&in, random() % 20 == 0 ? "\n\n" : "\r\n", 2);
		}
		for (size_t end; (end = slow_end(in.p, in.n)) < in.n;)
			in.p[end] = 'x';
		add(&in, "\r\n.\r\n" NEXT, 5 + strlen(NEXT));
		size_t count = random_cuts(cuts, LENGTH(cuts), in.n);
		check_cut("lines", in.p, in.n, cuts, count, ROOM_MIN + (size_t)random() % 5000);
	}
}

static bool holds(const struct text *text, size_t n, const char *what)
{
	return memmem(text->p, n, what, strlen(what)) != NULL;
}

/* Stuff content in random pieces and end it. */
static void stuff(const char *in, size_t n, struct text *out)
{
	struct data_stuffer stuffer = {.in_line = false};
	size_t at = 0;

	out->n = 0;
	while (at < n) {
		size_t piece = 1 + (size_t)random() % (n - at);
		assert_true(out->n + 2 * piece <= sizeof out->p);
		out->n += data_stuff(&stuffer, in + at, piece, out->p + out->n);
		at += piece;
	}
	const char *end = data_stuff_end(&stuffer);
	add(out, end, strlen(end));
}

static void stuffs_what_begins_with_a_dot(void **state)
{
	static const char *const cases[][2] = {
	    {"", ".\r\n"},
	    {"x\r\n", "x\r\n.\r\n"},
	    {"x", "x\r\n.\r\n"},
	    {".\r\n", "..\r\n.\r\n"},
	    {".x\r\n..\r\nx.\r\n", "..x\r\n...\r\nx.\r\n.\r\n"},
	    {"\r\n.\r\n", "\r\n..\r\n.\r\n"},
	    {"x\r", "x\r\r\n.\r\n"},
	    {"x\n.\n", "x\r\n..\r\n.\r\n"},
	    {"\n.\r\n", "\r\n..\r\n.\r\n"},
	};
	static struct text out;

	(void)state;
	srandom(1);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		for (int round = 0; round < 50; round++) {
			stuff(cases[i][0], strlen(cases[i][0]), &out);
			if (out.n != strlen(cases[i][1]) || memcmp(out.p, cases[i][1], out.n) != 0)
				fail_msg("case %zu: \"%.*s\"", i, (int)out.n, out.p);
		}
	}
}

/* What was read goes out as one message and comes back as it was, whatever the device sent. */
static void what_was_read_goes_out_and_comes_back(void **state)
{
	static struct text in, content, out, back;
	struct data_reader reader;

	(void)state;
	srandom(51766);
	for (int round = 0; round < 100000; round++) {
		fill_random(&in, (size_t)random() % 40);
		add(&in, "\r\n.\r\n", 5);
		content.n = back.n = 0;
		data_reader_init(&reader);
		feed(&reader, in.p, in.n, &content, 4096);
		assert_true(reader.ended);
		stuff(content.p, content.n, &out);
		assert_false(holds(&out, out.n - 2, "\r\n.\r\n"));
		data_reader_init(&reader);
		assert_int_equal(feed(&reader, out.p, out.n, &back, 4096), out.n);
		assert_true(reader.ended);
		assert_int_equal(reader.bare_lf + reader.bare_cr + reader.nul, 0);
		assert_int_equal(back.n, content.n);
		assert_memory_equal(back.p, content.p, back.n);
	}
}

/* A damaged spool file may hold anything: still one message goes out, with no LF that is bare. */
static void damaged_content_stays_one_message(void **state)
{
	static struct text in, out;

	(void)state;
	srandom(2);
	for (int round = 0; round < 100000; round++) {
		fill_random(&in, (size_t)random() % 40);
		stuff(in.p, in.n, &out);
		assert_int_equal(slow_end(out.p, out.n), out.n - 3);
		for (size_t i = 0; i < out.n; i++)
			if (out.p[i] == '\n')
				assert_true(i > 0 && out.p[i - 1] == '\r');
	}
}

/* Hostile runs of line ends must not make each byte a search through the rest of the buffer: that would be
 * half a minute of processor time here, and a stalled listener; as it is, it is a fraction of a second. */
static void hostile_runs_are_read_in_time(void **state)
{
	static const char *const units[] = {"\r", "\n", "\r\r\n", "a\r", "a\n", "a\0"};
	static char in[1 << 20], out[sizeof in];
	clock_t start = clock();

	(void)state;
	for (size_t i = 0; i < LENGTH(units); i++) {
		struct data_reader reader;
		size_t written, length = i == LENGTH(units) - 1 ? 2 : strlen(units[i]);
		for (size_t k = 0; k < sizeof in; k++)
			in[k] = units[i][k % length];
		data_reader_init(&reader);
		for (size_t used = 0; used < sizeof in;)
			used += data_read(&reader, in + used, sizeof in - used, out, sizeof out, &written);
	}
	assert_true(clock() - start < 15 * CLOCKS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_crlf_dot_crlf_ends),
	    cmocka_unit_test(any_split_gives_the_same),
	    cmocka_unit_test(lf_dot_lf_may_end_where_lf_ends_lines),
	    cmocka_unit_test(repairs_content),
	    cmocka_unit_test(drops_and_counts_nul),
	    cmocka_unit_test(takes_nothing_behind_the_end),
	    cmocka_unit_test(random_input_at_random_splits),
	    cmocka_unit_test(long_random_input),
	    cmocka_unit_test(long_lines_of_any_bytes),
	    cmocka_unit_test(stuffs_what_begins_with_a_dot),
	    cmocka_unit_test(what_was_read_goes_out_and_comes_back),
	    cmocka_unit_test(damaged_content_stays_one_message),
	    cmocka_unit_test(hostile_runs_are_read_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
