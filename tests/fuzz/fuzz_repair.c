/* Repair of a message. The first four bytes of the input say under which facts and in which pieces; the rest is what a
 * device sent, made into stored content: its line ends become CRLF, and it ends with one. */
#include <string.h>

#include "base/buf.h"
#include "base/charset.h"
#include "check_body.h"
#include "fuzz.h"
#include "smtp/header.h"
#include "smtp/repair.h"

#define TRACE                                                                                                \
	"Received: from mfd ([10.1.2.17])\r\n\tby relay with SMTP id 01AB;\r\n\tFri, 27 Nov 2026 13:30:00 "  \
	"+0000\r\n"

struct source {
	struct str content;
	size_t most;
};

static ssize_t read_source(void *arg, uint64_t offset, void *bytes, size_t n)
{
	const struct source *source = arg;

	PROMISE(n > 0 && offset < source->content.n);
	n = n < source->most ? n : source->most;
	n = n < source->content.n - offset ? n : source->content.n - (size_t)offset;
	memcpy(bytes, source->content.p + offset, n);
	return (ssize_t)n;
}

static const char *from(void *arg, const char *address)
{
	(void)arg;
	return address[0] == 'k' ? address : address[0] == 'n' ? "" : "scanner@contoso.com";
}

static struct repair_facts facts_of(const uint8_t *bytes)
{
	static const char *const charsets[] = {NULL, "iso-8859-15", "x-none", "shift_jis"};
	struct repair_facts facts = {.id = "01AB",
	    .hostname = "relay",
	    .accepted_ms = INT64_C(1795786200000),
	    .charset = charsets[(bytes[1] >> 6 & 2) | (bytes[1] >> 5 & 1)],
	    .to_utf8 = charset_to_utf8};

	if (facts.charset != NULL)
		charset_is_known(facts.charset);
	facts.repairs = (bytes[0] & 3) != 3;
	facts.from = bytes[0] & 4 ? from : NULL;
	facts.from_name = bytes[0] & 8 ? "B\xc3\xbcro, Ost" : NULL;
	facts.keep_reply_to = (bytes[0] & 16) != 0;
	facts.sender = bytes[0] & 32 ? NULL : "mfd@contoso.com";
	facts.recipient = bytes[0] & 64 ? NULL : "bob@contoso.com";
	facts.subject = bytes[0] & 128 ? "S\xc3\xa4mtliche" : NULL;
	return facts;
}

static struct buf content_of(const uint8_t *bytes, size_t n, bool with_trace)
{
	struct buf out = {0};

	buf_add_text(&out, with_trace ? TRACE : "");
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			buf_add_text(&out, "\r\n");
		else if (bytes[i] != '\r' && bytes[i] != '\0')
			buf_add_char(&out, (char)bytes[i]);
	}
	if (n > 0 && bytes[n - 1] != '\n')
		buf_add_text(&out, "\r\n");
	return out;
}

static struct repair_plan *scan(const struct repair_facts *facts, struct str in, size_t piece)
{
	struct repair_scan *s = repair_scan_new(facts);

	for (size_t at = 0; at < in.n; at += piece) {
		size_t n = in.n - at < piece ? in.n - at : piece;
		if (at > 0 && repair_scan_is_decided(s)) {
			repair_scan_skip(s, in.n - at);
			break;
		}
		char *copy = malloc(n); /* of its own, so that a byte too much is seen */
		memcpy(copy, in.p + at, n);
		repair_scan_feed(s, copy, n);
		free(copy);
	}
	return repair_scan_end(s);
}

static struct buf carry_out(const struct repair_plan *plan, struct str in, size_t most, size_t piece)
{
	struct source source = {in, most};
	struct repair_reader *reader = repair_reader_new(plan, read_source, &source);
	struct buf out = {0};
	char bytes[300];
	ssize_t n;

	repair_reader_read(reader, bytes, piece);
	repair_reader_rewind(reader);
	while ((n = repair_reader_read(reader, bytes, piece)) > 0)
		buf_add(&out, bytes, (size_t)n);
	PROMISE(n == 0 && out.n == repair_plan_bytes(plan));
	repair_reader_free(reader);
	return out;
}

static bool is_same(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static struct str without_trace(const struct buf *content, bool with_trace)
{
	size_t n = with_trace ? strlen(TRACE) : 0;

	return (struct str){content->p + n, content->n - n};
}

static void check_lines(struct str out, bool may_be_long)
{
	for (size_t i = 0; i < out.n; i++) {
		PROMISE(out.p[i] != '\0');
		PROMISE(out.p[i] != '\r' || (i + 1 < out.n && out.p[i + 1] == '\n'));
		PROMISE(out.p[i] != '\n' || (i > 0 && out.p[i - 1] == '\r'));
	}
	PROMISE(may_be_long || header_longest_line(out) <= HEADER_LINE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 4)
		return 0;
	struct repair_facts facts = facts_of(bytes);
	bool with_trace = (bytes[1] & 64) != 0;
	struct buf in = content_of(bytes + 4, n - 4, with_trace);
	struct repair_plan *whole = scan(&facts, buf_str(&in), in.n + 1);
	struct repair_plan *cut = scan(&facts, buf_str(&in), 1 + (bytes[2] & 63));
	struct buf out = carry_out(whole, buf_str(&in), 1000, 300);
	struct buf cut_out = carry_out(cut, buf_str(&in), 1 + (bytes[3] & 15), 1 + (bytes[3] >> 4));
	bool left = repair_plan_left(whole)[0] != '\0';

	PROMISE(is_same(buf_str(&out), buf_str(&cut_out)));
	PROMISE(strcmp(repair_plan_names(whole), repair_plan_names(cut)) == 0);
	PROMISE(strcmp(repair_plan_left(whole), repair_plan_left(cut)) == 0);
	PROMISE(!repair_plan_is_empty(whole) || is_same(buf_str(&out), buf_str(&in)));
	PROMISE(repair_plan_is_empty(whole) == (repair_plan_names(whole)[0] == '\0'));
	PROMISE(!with_trace || strncmp(out.p, TRACE, strlen(TRACE)) == 0 || in.n == 0);
	check_lines(buf_str(&out), left || !facts.repairs);
	if (in.n > 0)
		check_body(without_trace(&in, with_trace), without_trace(&out, with_trace),
		    repair_plan_names(whole));

	struct repair_plan *again = scan(&facts, buf_str(&out), out.n + 1);
	PROMISE(repair_plan_is_empty(again) || strstr(repair_plan_left(whole), "limit") != NULL);
	repair_plan_free(whole);
	repair_plan_free(cut);
	repair_plan_free(again);
	buf_free(&in);
	buf_free(&out);
	buf_free(&cut_out);
	return 0;
}
