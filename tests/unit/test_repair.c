/* Repairs, each by example: tests/repairs/NAME.in.eml is what a device sent, NAME.out.eml what goes out. Lines on top of
 * the first that begin with "# " say under which facts, and what the plan is to name:
 *
 *   # repairs: none                       only the identity
 *   # from: scanner@contoso.com           what takes From's place; also name, keep (an address that stays), reply-to: yes
 *   # recipient: bob@contoso.com          the only one; sender, subject, charset likewise
 *   # names: date,message-id              what repair_plan_names says ("" where the line is missing)
 *   # left: signed                        what repair_plan_left says
 *
 * In the files lines end with LF, and <<A*1200>> stands for 1,200 A. The relay's own Received header is put on top here,
 * in both. Every message is scanned whole and a byte at a time, read in pieces of several sizes, and repaired again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <glob.h>
#include <time.h>

#include "smtp/header.h"
#include "smtp/repair.h"
#include "smtp/wrap.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])
#define ACCEPTED  INT64_C(1795786200000) /* Fri, 27 Nov 2026 13:30:00 +0000 */
#define TRACE                                                                                                \
	"Received: from mfd ([10.1.2.17])\r\n\tby relay.contoso.local with SMTP id 01ABCDEF;\r\n"            \
	"\tFri, 27 Nov 2026 13:30:00 +0000\r\n"

/* --- running a repair --- */

static const struct repair_facts plain = {.id = "01ABCDEF",
    .hostname = "relay.contoso.local",
    .accepted_ms = ACCEPTED,
    .sender = "mfd@contoso.com",
    .repairs = true};

static struct repair_plan *scan(const struct repair_facts *facts, struct str in, size_t piece)
{
	struct repair_scan *s = repair_scan_new(facts);

	for (size_t at = 0; at < in.n; at += piece)
		repair_scan_feed(s, in.p + at, in.n - at < piece ? in.n - at : piece);
	return repair_scan_end(s);
}

struct source {
	struct str content;
	size_t most; /* bytes it gives at once */
};

static ssize_t read_source(void *arg, uint64_t offset, void *bytes, size_t n)
{
	const struct source *source = arg;

	if (offset >= source->content.n)
		return 0;
	n = n < source->most ? n : source->most;
	n = n < source->content.n - offset ? n : source->content.n - (size_t)offset;
	memcpy(bytes, source->content.p + offset, n);
	return (ssize_t)n;
}

/* What the plan makes of in, read twice: the second time after going back in the middle. */
static struct buf carry_out(const struct repair_plan *plan, struct str in, size_t most, size_t piece)
{
	struct source source = {in, most};
	struct repair_reader *reader = repair_reader_new(plan, read_source, &source);
	struct buf out = {0};
	char bytes[5000];
	ssize_t n;

	assert_true(piece <= sizeof bytes);
	assert_true(repair_reader_read(reader, bytes, piece) >= 0);
	repair_reader_rewind(reader);
	while ((n = repair_reader_read(reader, bytes, piece)) > 0)
		buf_add(&out, bytes, (size_t)n);
	assert_int_equal(n, 0);
	repair_reader_free(reader);
	assert_int_equal(out.n, repair_plan_bytes(plan));
	return out;
}

static void assert_same(const char *name, struct buf *got, struct str want)
{
	if (got->n != want.n || (got->n > 0 && memcmp(got->p, want.p, want.n) != 0))
		fail_msg(
		    "%s:\n--- got\n%.*s\n--- want\n%.*s", name, (int)got->n, got->p, (int)want.n, want.p);
}

/* Line ends are CRLF only, no line is over-long. */
static void assert_fit_to_send(const char *name, const struct buf *out, bool may_be_long)
{
	for (size_t i = 0; i < out->n; i++) {
		if (out->p[i] == '\r' && (i + 1 == out->n || out->p[i + 1] != '\n'))
			fail_msg("%s: a bare CR at %zu", name, i);
		if (out->p[i] == '\n' && (i == 0 || out->p[i - 1] != '\r'))
			fail_msg("%s: a bare LF at %zu", name, i);
	}
	if (!may_be_long && header_longest_line(buf_str(out)) > HEADER_LINE_MAX)
		fail_msg("%s: a line of %zu octets goes out", name, header_longest_line(buf_str(out)));
}

/* Repair in by all ways that must agree. The caller frees the result; names and left are copied out. */
static struct buf repair(
    const char *name, const struct repair_facts *facts, struct str in, char *names, char *left)
{
	static const size_t sizes[][3] = {{5000, 5000, 5000}, {1, 5000, 1}, {7, 1, 5000}, {61, 13, 17}};
	struct buf first = {0};

	for (size_t i = 0; i < LENGTH(sizes); i++) {
		struct repair_plan *plan = scan(facts, in, sizes[i][0]);
		struct buf out = carry_out(plan, in, sizes[i][1], sizes[i][2]);
		if (i == 0) {
			first = out;
			strcpy(names, repair_plan_names(plan));
			strcpy(left, repair_plan_left(plan));
			assert_int_equal(repair_plan_is_empty(plan), names[0] == '\0');
		} else {
			assert_same(name, &out, buf_str(&first));
			assert_string_equal(names, repair_plan_names(plan));
			assert_string_equal(left, repair_plan_left(plan));
			buf_free(&out);
		}
		repair_plan_free(plan);
	}
	assert_fit_to_send(name, &first, !facts->repairs || left[0] != '\0');
	struct repair_plan *again = scan(facts, buf_str(&first), first.n + 1);
	if (!repair_plan_is_empty(again))
		fail_msg("%s: repaired again (%s):\n%.*s\n--- came from\n%.*s", name,
		    repair_plan_names(again), (int)first.n, first.p, (int)in.n, in.p);
	repair_plan_free(again);
	return first;
}

/* --- the files --- */

struct example {
	const char *path;
	struct repair_facts facts;
	char *text; /* the file; the facts point into it */
	const char *from, *keep;
	const char *names, *left;
	struct buf in, out;
};

static char *load(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = calloc(1, 1 << 20);

	if (file == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
	fclose(file);
	return text;
}

/* LF to CRLF, <<A*1200>> to what it stands for, behind the trace header. */
static void expand(const char *text, struct buf *out)
{
	char c;
	unsigned count;
	int n;

	buf_add_text(out, TRACE);
	while (*text != '\0') {
		n = 0;
		if (sscanf(text, "<<%c*%u>>%n", &c, &count, &n) == 2 && n > 0) {
			while (count-- > 0)
				buf_add_char(out, c);
			text += n;
			continue;
		}
		if (*text == '\n')
			buf_add_char(out, '\r');
		buf_add_char(out, *text++);
	}
}

static const char *from(void *arg, const char *address)
{
	const struct example *example = arg;

	if (example->keep != NULL && strcmp(address, example->keep) == 0)
		return address;
	return example->from;
}

static void set_fact(struct example *e, const char *key, char *value)
{
	struct {
		const char *key;
		const char **fact;
	} facts[] = {{"from", &e->from}, {"keep", &e->keep}, {"name", &e->facts.from_name},
	    {"sender", &e->facts.sender}, {"recipient", &e->facts.recipient}, {"subject", &e->facts.subject},
	    {"charset", &e->facts.charset}, {"names", &e->names}, {"left", &e->left}};

	for (size_t i = 0; i < LENGTH(facts); i++) {
		if (strcmp(key, facts[i].key) == 0) {
			*facts[i].fact = value;
			return;
		}
	}
	if (strcmp(key, "repairs") == 0)
		e->facts.repairs = strcmp(value, "none") != 0;
	else if (strcmp(key, "reply-to") == 0)
		e->facts.keep_reply_to = true;
	else
		fail_msg("%s: no such fact: %s", e->path, key);
}

/* A converter as iconv would be one: it knows a single charset, in which every byte is one letter. */
static size_t to_utf8(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room)
{
	size_t put = 0;

	(void)arg;
	if (strcmp(charset, "x-cyrillic") != 0)
		return 0;
	for (size_t i = 0; i < n && put + 2 <= room; i++) {
		if ((unsigned char)in[i] < 128) {
			out[put++] = in[i];
		} else {
			out[put++] = (char)0xd0;
			out[put++] = (char)(0x80 | (in[i] & 0x3f));
		}
	}
	return put;
}

static void load_example(struct example *e, const char *path)
{
	char out_path[300];

	*e = (struct example){.path = path, .facts = plain, .names = "", .left = ""};
	e->facts.to_utf8 = to_utf8;
	e->facts.arg = e;
	e->text = load(path);
	char *text = e->text;
	while (strncmp(text, "# ", 2) == 0) {
		char *end = strchr(text, '\n'), *colon = strchr(text, ':');
		assert_true(end != NULL && colon != NULL && colon < end);
		*end = *colon = '\0';
		set_fact(e, text + 2, colon[1] == ' ' ? colon + 2 : colon + 1);
		text = end + 1;
	}
	e->facts.from = e->from != NULL ? from : NULL;
	expand(text, &e->in);
	snprintf(out_path, sizeof out_path, "%.*s.out.eml", (int)(strlen(path) - strlen(".in.eml")), path);
	char *out = load(out_path);
	expand(out, &e->out);
	free(out);
}

static void every_example_goes_out_as_its_file_says(void **state)
{
	struct example e;
	char names[400], left[200];
	glob_t files;

	(void)state;
	assert_int_equal(glob("tests/repairs/*.in.eml", 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		load_example(&e, files.gl_pathv[i]);
		struct buf out = repair(e.path, &e.facts, buf_str(&e.in), names, left);
		assert_same(e.path, &out, buf_str(&e.out));
		if (strcmp(names, e.names) != 0 || strcmp(left, e.left) != 0)
			fail_msg("%s: names \"%s\", left \"%s\"", e.path, names, left);
		buf_free(&out);
		buf_free(&e.in);
		buf_free(&e.out);
		free(e.text);
	}
	print_message("%zu examples\n", files.gl_pathc);
	globfree(&files);
}

/* --- what a file cannot say --- */

static struct buf repaired(const char *in, struct str content, char *names, char *left)
{
	struct buf text = {0};

	buf_add_text(&text, TRACE);
	buf_add_text(&text, in);
	buf_add_str(&text, content);
	struct buf out = repair(in, &plain, buf_str(&text), names, left);
	buf_free(&text);
	return out;
}

#define GOOD_HEADER                                                                                          \
	"From: a@contoso.com\r\nTo: b@contoso.com\r\nDate: Fri, 27 Nov 2026 13:29:00 +0100\r\n"              \
	"Message-ID: <1@mfd>\r\n"

static void a_header_too_large_to_read_is_left(void **state)
{
	char names[400], left[200], line[40];
	struct buf fields = {0};

	(void)state;
	for (int i = 0; i < 1100; i++) {
		snprintf(line, sizeof line, "X-Field-%d: x\r\n", i);
		buf_add_text(&fields, line);
	}
	buf_add_text(&fields, "Bcc: c@contoso.com\r\n\r\nbody\r\n");
	struct buf out = repaired(GOOD_HEADER, buf_str(&fields), names, left);
	assert_string_equal(names, "");
	assert_string_equal(left, "header-size");
	buf_free(&out);

	fields.n = 0;
	buf_add_text(&fields, "X-Long: ");
	for (int i = 0; i < 300 * 1024; i++)
		buf_add_char(&fields, 'x');
	buf_add_text(&fields, "\r\n\r\nbody\r\n");
	out = repaired(GOOD_HEADER, buf_str(&fields), names, left);
	assert_string_equal(names, "");
	assert_string_equal(left, "header-size");
	buf_free(&out);
	buf_free(&fields);
}

static bool lacks_identity(const struct repair_facts *facts, const struct buf *in, const char *left)
{
	struct repair_plan *plan = scan(facts, buf_str(in), 5000);
	bool lacks = repair_plan_lacks_identity(plan);

	assert_string_equal(repair_plan_left(plan), left);
	repair_plan_free(plan);
	return lacks;
}

/* Where From cannot be read or written anew, nothing goes out under "force"; without an identity it does. */
static void what_hides_its_from_lacks_the_identity(void **state)
{
	struct example forced = {.from = "scanner@contoso.com"};
	struct repair_facts facts = plain, bare = plain;
	struct buf many = {0}, full = {0}, text = {0};

	(void)state;
	facts.from = from;
	facts.arg = &forced;
	bare.repairs = false;
	bare.from = from;
	bare.arg = &forced;
	for (int i = 0; i < 1001; i++) {
		buf_add_text(&many, "X-a: b\r\n");
		buf_add_text(&text, "Sensor/a: 20.5\r\n");
	}
	buf_add_text(&many, "From: ceo@contoso.com\r\n\r\nbody\r\n");
	assert_true(lacks_identity(&facts, &many, "header-size"));
	assert_true(lacks_identity(&bare, &many, "header-size"));
	assert_false(lacks_identity(&plain, &many, "header-size"));

	/* More text than a plan holds, in front of From: nine octets for each of the euro signs. */
	buf_add_text(&full, "Content-Type: x/y; name=");
	for (int i = 0; i < 250000; i++)
		buf_add_char(&full, '\x80');
	buf_add_text(&full, "\r\nFrom: ceo@contoso.com\r\n\r\nbody\r\n");
	assert_true(lacks_identity(&facts, &full, "limit"));
	assert_false(lacks_identity(&plain, &full, "limit"));

	/* Lines that only look like fields, however many, are text: a header with the identity is put above. */
	buf_add_text(&text, "\r\n");
	struct repair_plan *plan = scan(&facts, buf_str(&text), 5000);
	assert_false(repair_plan_lacks_identity(plan));
	assert_string_equal(repair_plan_left(plan), "");
	assert_non_null(strstr(repair_plan_names(plan), "identity,"));
	repair_plan_free(plan);

	text.n = 0;
	buf_add_text(&text, "From: ceo@contoso.com");
	assert_true(lacks_identity(&facts, &text, "cut"));
	text.n = 0;
	buf_add_text(&text, "DKIM-Signature: x\r\nFrom: ceo@contoso.com\r\n\r\nbody\r\n");
	assert_false(lacks_identity(&facts, &text, "signed,identity"));
	buf_free(&many);
	buf_free(&full);
	buf_free(&text);
}

/* The name of a parameter stands before each piece of what is encoded: 500 pieces of 10,000 octets would fill the plan. */
static void a_long_parameter_name_is_not_multiplied(void **state)
{
	char names[400], left[200];
	struct buf field = {0};

	(void)state;
	buf_add_text(&field, "Content-Type: x/y; ");
	for (int i = 0; i < 10000; i++)
		buf_add_char(&field, 'A');
	buf_add_char(&field, '=');
	for (int i = 0; i < 10000; i++)
		buf_add_char(&field, '\xe4');
	buf_add_text(&field, "\r\n\r\nbody\r\n");
	struct buf out = repaired(GOOD_HEADER, buf_str(&field), names, left);
	assert_string_equal(names, "8bit");
	assert_string_equal(left, "long-header");
	assert_in_range(out.n, field.n, 2 * field.n);
	buf_free(&out);
	buf_free(&field);
}

/* Processor time of a scan, the least of three. */
static double seconds_of_scan(struct str in)
{
	double least = 1e9;

	for (int i = 0; i < 3; i++) {
		struct timespec before, after;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		repair_plan_free(scan(&plain, in, 5000));
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
		double seconds =
		    (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
		least = seconds < least ? seconds : least;
	}
	return least;
}

/* Eight times as much takes about eight times as long, and no 64 times: what is nearly an encoded word, at each place anew, in a
 * display name. */
static void a_hostile_from_takes_time_in_proportion_to_its_size(void **state)
{
	double seconds[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf text = {0};
		buf_add_text(&text, TRACE "From: \"=?");
		for (size_t n = 0; n < (i == 0 ? 4000 : 32000); n++)
			buf_add_char(&text, 'a');
		for (size_t n = 0; n < (i == 0 ? 4000 : 32000); n += 2)
			buf_add_text(&text, "?=");
		buf_add_text(&text, "\" <a@contoso.com>\r\n\r\nbody\r\n");
		seconds[i] = seconds_of_scan(buf_str(&text));
		buf_free(&text);
	}
	if (seconds[1] > 24 * seconds[0])
		fail_msg("8 KB: %f s, 64 KB: %f s", seconds[0], seconds[1]);
}

static void a_plan_that_is_full_says_so(void **state)
{
	char names[400], left[200];
	struct buf parts = {0};

	(void)state;
	for (int i = 0; i < 3000; i++)
		buf_add_text(&parts, "--b\r\nContent-Type: text/plain; charset=cp-850\r\n\r\nx\r\n");
	buf_add_text(&parts, "--b--\r\n");
	struct repair_plan *plan = scan(&plain, buf_str(&parts), 100);
	repair_plan_free(plan);
	struct buf text = {0};
	buf_add_text(
	    &text, GOOD_HEADER "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
	buf_add_str(&text, buf_str(&parts));
	plan = scan(&plain, buf_str(&text), 5000);
	assert_string_equal(repair_plan_left(plan), "limit");
	strcpy(names, repair_plan_names(plan));
	strcpy(left, repair_plan_left(plan));
	assert_string_equal(names, "charset");
	struct buf out = carry_out(plan, buf_str(&text), 5000, 5000);
	repair_plan_free(plan);
	buf_free(&out);
	buf_free(&text);
	buf_free(&parts);
}

/* A scan of 100 KB in one line, as a file cannot show it: base64 decodes to the same. */
static void a_long_line_of_base64_is_the_same_base64(void **state)
{
	char names[400], left[200];
	struct buf line = {0}, joined = {0};

	(void)state;
	srandom(5);
	for (int i = 0; i < 100000; i++)
		buf_add_char(
		    &line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[random() % 64]);
	buf_add_text(&line, "\r\n");
	struct buf out = repaired(GOOD_HEADER "MIME-Version: 1.0\r\nContent-Type: application/pdf\r\n"
					      "Content-Transfer-Encoding: base64\r\n\r\n",
	    buf_str(&line), names, left);
	assert_string_equal(names, "long-base64");
	assert_string_equal(left, "");
	const char *body = (const char *)memmem(out.p, out.n, "\r\n\r\n", 4) + 4;
	for (; body < out.p + out.n; body++)
		if (*body != '\r' && *body != '\n')
			buf_add_char(&joined, *body);
	assert_int_equal(joined.n + 2, line.n);
	assert_memory_equal(joined.p, line.p, joined.n);
	buf_free(&out);
	buf_free(&line);
	buf_free(&joined);
}

static char hex_value(char c)
{
	return (char)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* What quoted-printable, written by ourselves, says. */
static void decode_quoted(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '=') {
			buf_add_char(out, in.p[i]);
		} else if (in.p[i + 1] == '\r') {
			i += 2;
		} else {
			buf_add_char(out, (char)(hex_value(in.p[i + 1]) << 4 | hex_value(in.p[i + 2])));
			i += 2;
		}
	}
}

/* Random lines, one of them over-long, of the bytes that matter to quoted-printable. */
static void fill_text(struct buf *text, const char *set, size_t set_n)
{
	text->n = 0;
	for (size_t line = (size_t)random() % 8 + 1; line > 0; line--) {
		size_t length = line == 1 ? 999 + (size_t)random() % 100 : (size_t)random() % 160;
		for (size_t i = 0; i < length; i++)
			buf_add_char(text, set[(size_t)random() % set_n]);
		buf_add_text(text, "\r\n");
	}
}

static void long_text_says_the_same_when_decoded(void **state)
{
	static const char text_set[] = "ab=-. \t\xe4\x01.- =", quoted_set[] = "abcd-. -";
	char names[400], left[200];
	struct buf text = {0}, got = {0};

	(void)state;
	srandom(6);
	for (int round = 0; round < 400; round++) {
		bool is_text = round % 2 == 0;
		fill_text(&text, is_text ? text_set : quoted_set,
		    is_text ? sizeof text_set - 1 : sizeof quoted_set - 1);
		struct buf out =
		    repaired(is_text ? GOOD_HEADER "MIME-Version: 1.0\r\n\r\n"
				     : GOOD_HEADER "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
			buf_str(&text), names, left);
		assert_string_equal(names, is_text ? "long-text" : "long-quoted");
		const char *body = (const char *)memmem(out.p, out.n, "\r\n\r\n", 4) + 4;
		got.n = 0;
		decode_quoted((struct str){body, (size_t)(out.p + out.n - body)}, &got);
		assert_same("decoded", &got, buf_str(&text));
		buf_free(&out);
	}
	buf_free(&text);
	buf_free(&got);
}

/* Words that headers and bodies are made of, thrown together, line ends as the listener leaves them. */
static void rubbish_keeps_every_promise(void **state)
{
	static const char *const words[] = {"\r\n", "\r\n\r\n", "\r\n ",
	    "From: ", "To:", "Subject: ", "Date: ", "Bcc: x", "Content-Type: multipart/mixed; boundary=b:1",
	    "Content-Type: text/plain; name=\"", "--b:1", "--b:1--", "a@contoso.com", "<", ">", "\"",
	    "=?utf-8?Q?x?=", "\xe4\xf6", "\xc3\xa4", ",", ";", "(", ")", " ", "x",
	    "Content-Transfer-Encoding: base64", "Fri, 27 Nov 2026 13:29:00 +0100", "\x01\x1b", "=", "name=x",
	    "@", "\r\nFrom: ", "\r\nContent-Transfer-Encoding: quoted-printable", ":", "-"};
	char names[400], left[200], many[1100];
	struct buf text = {0};
	struct repair_facts facts[2] = {plain, plain};

	(void)state;
	struct example forced = {.from = "scanner@contoso.com"};
	facts[1].from = from;
	facts[1].arg = &forced;
	facts[1].from_name = "Scanner \xc3\xa4";
	facts[1].keep_reply_to = true;
	memset(many, 'A', sizeof many);
	srandom(7);
	for (int round = 0; round < 6000; round++) {
		text.n = 0;
		buf_add_text(&text, round % 3 == 0 ? TRACE : "");
		for (size_t i = (size_t)random() % 60; i > 0; i--) {
			if (random() % 40 == 0)
				buf_add(&text, many, sizeof many);
			else
				buf_add_text(&text, words[(size_t)random() % LENGTH(words)]);
		}
		buf_add_text(&text, round % 5 > 0 ? "\r\n" : "");
		struct buf out = repair("rubbish", &facts[round % 2], buf_str(&text), names, left);
		buf_free(&out);
	}
	buf_free(&text);
}

/* A cut file must not end a message in order. */
static void content_shorter_than_scanned_is_an_error(void **state)
{
	static const char in[] = TRACE GOOD_HEADER "Bcc: x\r\n\r\nbody\r\n";
	struct source source = {{in, sizeof in - 5}, 1000};
	struct repair_plan *plan = scan(&plain, (struct str){in, sizeof in - 1}, 1000);
	struct repair_reader *reader = repair_reader_new(plan, read_source, &source);
	char bytes[1000];

	(void)state;
	errno = 0;
	while (repair_reader_read(reader, bytes, 10) > 0)
		;
	assert_int_equal(errno, EIO);
	repair_reader_free(reader);
	repair_plan_free(plan);
}

/* A line of about so many bytes; which ones, kind says: any, those of text, or letters and now and then a special one. */
static size_t fill_line(char *line, size_t about, int kind)
{
	static const char specials[] = "-- \t=\x7f\x80\r\n\x1f!~<>";
	size_t n = about + (size_t)rand() % 4;

	for (size_t i = 0; i < n; i++) {
		line[i] = (char)(kind == 0 ? rand() : kind == 1 ? ' ' + rand() % 95 : 'a' + rand() % 26);
		if (kind > 1 && rand() % (20 << kind) == 0)
			line[i] = specials[(size_t)rand() % LENGTH(specials)]; /* NUL is one of them */
	}
	/* Where a soft line break may come, or nearly. */
	if (n > 76 && rand() % 4 == 0)
		line[75 * (1 + (size_t)rand() % (n / 76)) - 1 + (size_t)rand() % 2] = '-';
	memcpy(line + n, "\r\n", 2);
	return n + 2;
}

/* The fast way to a line's length against the way of its bytes; and it is taken where it may be. */
static void a_plain_lines_length_is_what_comes_of_its_bytes(void **state)
{
	static const size_t about[] = {0, 5, 12, 60, 73, 148, 223, 400, 995};
	static char line[1200];
	unsigned quick_ones = 0;

	(void)state;
	srand(2045);
	for (int round = 0; round < 50000; round++) {
		struct wrap wrap = {.kind = WRAP_TEXT};
		char out[WRAP_OUT_MAX];
		size_t n = fill_line(line, about[(size_t)rand() % LENGTH(about)], round % 6), length = 0;
		bool changes = false, is_long = n - 2 > 75;
		size_t quick = wrap_plain_line(&wrap, line, n);
		for (size_t i = 0; i < n; i++)
			length += wrap_byte(&wrap, line[i], out);
		assert_true(quick == 0 || quick == length);
		for (size_t i = 0; i + 2 < n; i++)
			changes = changes || line[i] == '=' || line[i] < ' ' || line[i] > '~' ||
				  (line[i] == '-' && is_long);
		changes = changes || n == 2 || line[n - 3] == ' ';
		assert_true(changes || quick > 0);
		assert_int_equal(wrap.column, 0);
		quick_ones += quick > 0;
	}
	assert_in_range(quick_ones, 10000, 40000);
}

/* Whole lines are counted another way than parts of lines: any pieces make the same plan, and its length is right. */
static void lines_near_every_limit_keep_every_promise(void **state)
{
	static const char *const encodings[] = {"7bit", "base64", "quoted-printable", "8bit"};
	static const size_t about[] = {0, 20, 73, 148, 510, 995};
	char line[1200], long_line[1100], names[400], left[200];
	struct buf text = {0};

	(void)state;
	srand(2046);
	memset(long_line, 'A', sizeof long_line);
	for (int round = 0; round < 1500; round++) {
		text.n = 0;
		buf_add_text(&text,
		    TRACE GOOD_HEADER "MIME-Version: 1.0\r\nSubject: x\r\nContent-Transfer-Encoding: ");
		buf_add_text(&text, encodings[round % 4]);
		buf_add_text(&text, "\r\n\r\n");
		for (int i = rand() % 8; i >= 0; i--) {
			size_t n = fill_line(line, about[(size_t)rand() % LENGTH(about)], 1 + rand() % 5);
			for (size_t at = 0; at + 2 < n; at++)
				line[at] =
				    line[at] == '\r' || line[at] == '\n' || line[at] == '\0' ? '-' : line[at];
			buf_add(&text, line, n);
		}
		buf_add(&text, long_line, sizeof long_line);
		buf_add_text(&text, "\r\n");
		struct buf out = repair("lines", &plain, buf_str(&text), names, left);
		assert_true(strstr(names, "long-") != NULL || strstr(left, "long-lines") != NULL);
		buf_free(&out);
	}
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_example_goes_out_as_its_file_says),
	    cmocka_unit_test(a_header_too_large_to_read_is_left),
	    cmocka_unit_test(what_hides_its_from_lacks_the_identity),
	    cmocka_unit_test(a_long_parameter_name_is_not_multiplied),
	    cmocka_unit_test(a_hostile_from_takes_time_in_proportion_to_its_size),
	    cmocka_unit_test(a_plan_that_is_full_says_so),
	    cmocka_unit_test(a_long_line_of_base64_is_the_same_base64),
	    cmocka_unit_test(long_text_says_the_same_when_decoded),
	    cmocka_unit_test(a_plain_lines_length_is_what_comes_of_its_bytes),
	    cmocka_unit_test(lines_near_every_limit_keep_every_promise),
	    cmocka_unit_test(rubbish_keeps_every_promise),
	    cmocka_unit_test(content_shorter_than_scanned_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
