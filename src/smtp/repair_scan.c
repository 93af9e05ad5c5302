/* The scan: where headers, parts and lines are, as content streams by. Headers are held whole, bounded; of a body no
 * more than the beginning of a line is. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/text.h"
#include "smtp/header.h"
#include "smtp/repair_inside.h"

#define TRACE_MAX     1024 /* octets of our own field, more than any has */
#define TOP_MAX	      (256u * 1024)
#define PART_MAX      (64u * 1024)
#define FIELDS_MAX    1000
#define LEVELS_MAX    16
#define BOUNDARY_MAX  200
#define HELD_MAX      512 /* of a line; more can be no boundary, blanks behind it and all */
#define ENCODING_ROOM 100 /* octets of the field that change_encoding puts in, and more */
#define BASE64_LINE   76
#define NOWHERE	      SIZE_MAX

enum state { IN_TOP, IN_PART, IN_BODY, IGNORING };

/* What the lines of a body are, for those that are too long. */
enum lines { LINES_OPAQUE, LINES_BASE64, LINES_QUOTED, LINES_TEXT };

/* A body without parts, or what is between parts. */
struct part {
	enum lines lines;
	uint64_t start;
	uint64_t out; /* octets, were its lines broken */
	bool long_lines;
	bool is_wrong; /* no base64 after all */
	struct wrap wrap;
	uint64_t header_end;
	uint64_t encoding, encoding_n; /* where its Content-Transfer-Encoding stands; n 0: there is none */
	bool needs_version;	       /* MIME-Version, where an encoding is put in */
};

struct level {
	char boundary[BOUNDARY_MAX + 1];
	size_t n;
	bool opened;
	bool is_digest;
};

struct repair_scan {
	const struct repair_facts *facts;
	struct repair_plan *plan;
	enum state state;
	uint64_t offset; /* of the next byte */

	/* A header. */
	struct buf header;
	uint64_t header_offset;
	size_t line;	    /* where its last line begins */
	size_t doubtful;    /* a line that is no field: where it begins, else NOWHERE */
	size_t trace_end;   /* behind our own field, 0 where there is none */
	size_t mailbox_end; /* behind an mbox file's "From a@b ..." at the very start, 0: none */
	size_t count;

	/* A body. */
	struct part part;
	size_t held_n;
	bool flushed; /* what was held is counted: the line is longer */
	uint64_t line_n;
	char last, before_last; /* bytes of the line */
	size_t depth;

	/* From here on not zeroed: it is written before it is read. */
	char tail[80]; /* what the last line but one of our own field ends with, and the next begins with */
	char held[HELD_MAX];
	struct level levels[LEVELS_MAX];
	struct field fields[FIELDS_MAX]; /* of the header */
};

struct repair_scan *repair_scan_new(const struct repair_facts *facts)
{
	struct repair_scan *scan = xrealloc(NULL, sizeof *scan);

	memset(scan, 0, offsetof(struct repair_scan, tail));
	struct text tail = text_in(scan->tail, sizeof scan->tail);
	text_join(&tail, " id ", facts->id, ";\r\n\t", NULL);
	scan->facts = facts;
	scan->plan = xcalloc(1, sizeof *scan->plan);
	scan->doubtful = NOWHERE;
	if (!facts->repairs && facts->from == NULL)
		scan->state = IGNORING;
	return scan;
}

void repair_scan_free(struct repair_scan *scan)
{
	if (scan == NULL)
		return;
	buf_free(&scan->header);
	repair_plan_free(scan->plan);
	free(scan);
}

static struct str without_line_end(struct str line)
{
	if (line.n > 0 && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

/* --- boundaries --- */

/* The level whose boundary line is, innermost first; -1 for none. */
static int boundary_level(const struct repair_scan *scan, struct str line, bool *closes)
{
	if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
		return -1;
	for (size_t i = scan->depth; i-- > 0;) {
		const struct level *level = &scan->levels[i];
		if (line.n - 2 < level->n || memcmp(line.p + 2, level->boundary, level->n) != 0)
			continue;
		struct str rest = {line.p + 2 + level->n, line.n - 2 - level->n};
		*closes = rest.n >= 2 && rest.p[0] == '-' && rest.p[1] == '-';
		if (*closes)
			rest = (struct str){rest.p + 2, rest.n - 2};
		if (str_trim(rest).n == 0)
			return (int)i;
	}
	return -1;
}

/* Enter a multipart. False where its boundary cannot be known. */
static bool push_level(struct repair_scan *scan, struct str value)
{
	struct level *level = &scan->levels[scan->depth];

	if (scan->depth == LEVELS_MAX ||
	    !header_param(value, "boundary", level->boundary, sizeof level->boundary))
		return false;
	level->n = strlen(level->boundary);
	if (level->n == 0 || level->boundary[level->n - 1] == ' ')
		return false;
	for (size_t i = 0; i < scan->depth; i++)
		if (strcmp(scan->levels[i].boundary, level->boundary) == 0)
			return false;
	level->opened = false;
	level->is_digest = str_ieq(header_media_type(value), "multipart/digest");
	scan->depth++;
	return true;
}

/* --- parts --- */

static void start_lines(struct repair_scan *scan, enum lines lines)
{
	static const enum wrap_kind kinds[] = {[LINES_OPAQUE] = WRAP_BASE64,
	    [LINES_BASE64] = WRAP_BASE64,
	    [LINES_QUOTED] = WRAP_QUOTED,
	    [LINES_TEXT] = WRAP_TEXT};

	scan->part = (struct part){.lines = lines, .start = scan->offset, .wrap = {.kind = kinds[lines]}};
	scan->held_n = 0;
	scan->line_n = 0;
	scan->flushed = false;
}

static enum lines lines_of_encoding(struct str encoding)
{
	encoding = str_trim(encoding);
	if (str_ieq(encoding, "base64"))
		return LINES_BASE64;
	if (str_ieq(encoding, "quoted-printable"))
		return LINES_QUOTED;
	if (encoding.n == 0 || str_ieq(encoding, "7bit") || str_ieq(encoding, "8bit") ||
	    str_ieq(encoding, "binary"))
		return LINES_TEXT;
	return LINES_OPAQUE;
}

static enum lines lines_of_block(struct repair_scan *scan, const struct block *block, struct str type_value)
{
	struct str type = header_media_type(type_value);
	struct buf encoding = {0};
	enum lines lines = LINES_OPAQUE;

	if (block->top && str_ieq(type, "message/partial"))
		plan_leave(scan->plan, "message-partial");
	if (str_istarts(type, "multipart/")) {
		if (!str_ieq(type, "multipart/signed"))
			push_level(scan, type_value);
	} else if (!str_istarts(type, "message/") &&
		   !(type.n == 0 && scan->depth > 0 && scan->levels[scan->depth - 1].is_digest)) {
		block_value(block, "Content-Transfer-Encoding", &encoding);
		lines = lines_of_encoding(buf_str(&encoding));
	}
	buf_free(&encoding);
	return lines;
}

static void start_part(struct repair_scan *scan, const struct block *block)
{
	const struct field *encoding = block_find(block, "Content-Transfer-Encoding");
	struct buf type = {0};

	block_value(block, "Content-Type", &type);
	start_lines(scan, lines_of_block(scan, block, buf_str(&type)));
	scan->part.header_end = block->offset + block->bytes.n;
	scan->part.needs_version = block->top && block_find(block, "MIME-Version") == NULL;
	if (encoding != NULL) {
		scan->part.encoding = block->offset + encoding->start;
		scan->part.encoding_n = encoding->end - encoding->start;
	}
	buf_free(&type);
}

/* The part's text becomes quoted-printable: its header says so. A repair of the field that says otherwise is in vain. */
static void change_encoding(struct repair_scan *scan)
{
	static const char field[] = "Content-Transfer-Encoding: quoted-printable\r\n";
	static const char with_version[] =
	    "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n";
	const struct part *part = &scan->part;
	struct repair_plan *plan = scan->plan;

	for (size_t i = plan->count; i-- > 0 && part->encoding_n > 0;)
		if (plan->pieces[i].offset == part->encoding && plan->pieces[i].removed > 0) {
			memmove(plan->pieces + i, plan->pieces + i + 1,
			    (plan->count - i - 1) * sizeof *plan->pieces);
			plan->count--;
			break;
		}
	if (part->encoding_n > 0)
		plan_replace(plan, part->encoding, part->encoding_n,
		    str_of(part->needs_version ? with_version : field));
	else
		plan_insert(plan, part->header_end, str_of(part->needs_version ? with_version : field), true);
}

/* The part's body ends before offset end. */
static void end_part(struct repair_scan *scan, uint64_t end)
{
	static const char *const names[] = {"", "long-base64", "long-quoted", "long-text"};
	struct part *part = &scan->part;
	char ignored[WRAP_OUT_MAX];

	if (!part->long_lines)
		return;
	if (part->lines == LINES_OPAQUE || part->is_wrong ||
	    !plan_has_room(scan->plan, LEVELS_MAX, LEVELS_MAX * (BOUNDARY_MAX + 6) + ENCODING_ROOM)) {
		plan_leave(scan->plan, "long-lines");
		return;
	}
	if (part->lines != LINES_BASE64)
		part->out += wrap_end(&part->wrap, ignored);
	plan_name(scan->plan, names[part->lines]);
	plan_wrap(scan->plan, part->start, end - part->start, part->wrap.kind, part->out);
	if (part->lines == LINES_TEXT)
		change_encoding(scan);
}

static void on_boundary(struct repair_scan *scan, size_t level, bool closes)
{
	end_part(scan, scan->offset - scan->line_n);
	scan->depth = closes ? level : level + 1;
	start_lines(scan, LINES_OPAQUE);
	if (closes)
		return;
	scan->levels[level].opened = true;
	scan->state = IN_PART;
	scan->header.n = 0;
	scan->header_offset = scan->offset;
	scan->line = scan->count = 0;
	scan->trace_end = 0;
}

/* --- the lines of a body --- */

static bool is_base64(char c)
{
	return ascii_is_alnum(c) || c == '+' || c == '/' || c == '=' || ascii_is_blank(c);
}

/* Bytes of a line that is no boundary. */
static void count_bytes(struct part *part, struct str bytes)
{
	char ignored[WRAP_OUT_MAX];

	if (part->lines == LINES_QUOTED || part->lines == LINES_TEXT) {
		size_t whole = wrap_plain_line(&part->wrap, bytes.p, bytes.n);
		part->out += whole;
		for (size_t i = 0; whole == 0 && i < bytes.n; i++)
			part->out += wrap_byte(&part->wrap, bytes.p[i], ignored);
		return;
	}
	bytes = without_line_end(bytes);
	for (size_t i = 0; i < bytes.n && !part->is_wrong; i++)
		part->is_wrong = !is_base64(bytes.p[i]) && !(bytes.p[i] == '\r' && i + 1 == bytes.n);
}

/* goes_on: more of the line follows, which makes it longer than HELD_MAX. */
static void flush_held(struct repair_scan *scan, bool goes_on)
{
	struct str held = {scan->held, scan->held_n};
	/* A line that is short enough is not broken, whatever it holds. */
	bool matters = scan->part.lines != LINES_BASE64 || goes_on || without_line_end(held).n > BASE64_LINE;

	if (!scan->flushed && matters && scan->part.lines != LINES_OPAQUE)
		count_bytes(&scan->part, held);
	scan->flushed = true;
}

static void end_line(struct repair_scan *scan)
{
	struct part *part = &scan->part;
	struct str line = without_line_end((struct str){scan->held, scan->held_n});
	bool closes = false;
	int level = scan->flushed ? -1 : boundary_level(scan, line, &closes);

	if (level >= 0) {
		on_boundary(scan, (size_t)level, closes);
		return;
	}
	flush_held(scan, false);
	uint64_t length = scan->line_n - (scan->last != '\n' ? 0 : scan->before_last == '\r' ? 2 : 1);
	if (length > HEADER_LINE_MAX)
		part->long_lines = true;
	if (part->lines == LINES_BASE64)
		part->out += scan->line_n + (length > 0 ? (length - 1) / BASE64_LINE * 2 : 0);
	scan->held_n = 0;
	scan->line_n = 0;
	scan->flushed = false;
}

/* A whole line that is neither a boundary nor long, and whose length when it is broken is told without a look at each byte: what
 * most mail consists of. */
static bool take_plain_line(struct repair_scan *scan, const char *bytes, size_t n)
{
	struct part *part = &scan->part;
	bool is_text = part->lines == LINES_QUOTED || part->lines == LINES_TEXT;
	size_t out = 0;

	if (scan->line_n > 0 || n > (is_text ? HEADER_LINE_MAX : BASE64_LINE) + 2 || n < 2 ||
	    bytes[n - 2] != '\r' || bytes[n - 1] != '\n' || bytes[0] == '-')
		return false;
	if (is_text && (out = wrap_plain_line(&part->wrap, bytes, n)) == 0)
		return false;
	part->out += part->lines == LINES_BASE64 ? n : out;
	scan->offset += n;
	scan->before_last = '\r';
	scan->last = '\n';
	return true;
}

/* Bytes of one line, its end at most the last of them. */
static void take_body(struct repair_scan *scan, const char *bytes, size_t n)
{
	if (take_plain_line(scan, bytes, n))
		return;
	if (!scan->flushed && scan->held_n + n <= HELD_MAX) {
		memcpy(scan->held + scan->held_n, bytes, n);
		scan->held_n += n;
	} else {
		flush_held(scan, true);
		if (scan->part.lines != LINES_OPAQUE)
			count_bytes(&scan->part, (struct str){bytes, n});
	}
	scan->line_n += n;
	scan->offset += n;
	scan->before_last = n > 1 ? bytes[n - 2] : scan->last;
	scan->last = bytes[n - 1];
	if (scan->last == '\n')
		end_line(scan);
}

/* --- headers --- */

static bool is_signed(const struct block *block)
{
	static const char *const types[] = {
	    "multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"};
	struct buf value = {0};
	bool found = block_find(block, "DKIM-Signature") != NULL;

	block_value(block, "Content-Type", &value);
	struct str type = header_media_type(buf_str(&value));
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		found = found || str_ieq(type, types[i]);
	buf_free(&value);
	return found;
}

static struct str field_name(const struct repair_scan *scan, size_t i)
{
	return (struct str){scan->header.p + scan->fields[i].start, scan->fields[i].name_n};
}

/* Lines of text like "Alarm: door open" look like fields; mail has at least one that is of mail alone. */
static bool has_field_of_mail(const struct repair_scan *scan, size_t from)
{
	for (size_t i = from; i < scan->count; i++)
		if ((header_traits(field_name(scan, i)) & HEADER_OF_MAIL) != 0)
			return true;
	return false;
}

/* What a device has said begins with a header, or else with its text. */
static bool begins_with_text(const struct repair_scan *scan)
{
	size_t has_trace = scan->trace_end > 0;

	return scan->state == IN_TOP && (scan->count > has_trace || scan->mailbox_end > 0) &&
	       !has_field_of_mail(scan, has_trace);
}

static void drop_mailbox_line(const struct repair_scan *scan, const struct block *block)
{
	if (!block->top || scan->mailbox_end == 0)
		return;
	plan_name(scan->plan, "mailbox-line");
	plan_replace(scan->plan, block->offset + scan->trace_end, scan->mailbox_end - scan->trace_end,
	    (struct str){"", 0});
}

/* Nothing more is changed, and so the identity, where one is asked for, is not put in. */
static void ignore_rest(struct repair_scan *scan)
{
	scan->plan->lacks_identity = scan->facts->from != NULL;
	scan->state = IGNORING;
}

/* A header has been read: what is wrong with it goes into the plan, and the body may begin. */
static void take_block(struct repair_scan *scan, const struct block *block)
{
	if (block->top && is_signed(block)) {
		plan_leave(scan->plan, "signed");
		if (block_from_is_replaced(block))
			plan_leave(scan->plan, "identity");
		scan->state = IGNORING;
		return;
	}
	drop_mailbox_line(scan, block);
	block_repair(block);
	if (block->top && scan->facts->from != NULL && scan->plan->is_full) {
		ignore_rest(scan);
		return;
	}
	start_part(scan, block);
	if (!scan->facts->repairs)
		scan->state = IGNORING;
}

/* The header ends at end, the body begins at body; both in scan->header. What was read of the body is read again. */
static void end_header(struct repair_scan *scan, size_t end, size_t body, bool wants_blank)
{
	struct buf header = scan->header;
	bool is_text = begins_with_text(scan);
	struct block block = {.facts = scan->facts,
	    .plan = scan->plan,
	    .offset = scan->header_offset,
	    .bytes = {header.p, is_text ? scan->trace_end : end},
	    .fields = scan->fields,
	    .count = is_text ? scan->trace_end > 0 : scan->count,
	    .top = scan->state == IN_TOP,
	    .has_trace = scan->trace_end > 0,
	    .wants_blank = wants_blank || is_text};

	if (is_text) {
		scan->mailbox_end = 0;
		body = scan->trace_end;
	}
	scan->header = (struct buf){0};
	scan->offset = scan->header_offset + body;
	scan->doubtful = NOWHERE;
	scan->state = IN_BODY;
	take_block(scan, &block);
	if (header.n > body)
		repair_scan_feed(scan, header.p + body, header.n - body);
	buf_free(&header);
}

/* Too much of a header: the message, or the part, is left as it is. Lines of text that only look like fields are none. */
static void give_up_header(struct repair_scan *scan)
{
	bool top = scan->state == IN_TOP, in_line = scan->line < scan->header.n;

	if (begins_with_text(scan)) {
		end_header(scan, 0, 0, true);
		return;
	}
	plan_leave(scan->plan, "header-size");
	scan->state = IN_BODY;
	if (top)
		ignore_rest(scan);
	scan->doubtful = NOWHERE;
	start_lines(scan, LINES_OPAQUE);
	scan->flushed = in_line;
	scan->line_n = in_line ? scan->header.n - scan->line : 0;
	buf_free(&scan->header);
}

static struct str last_field(const struct repair_scan *scan)
{
	const struct field *field = &scan->fields[scan->count - 1];

	return (struct str){scan->header.p + field->start, field->end - field->start};
}

/* Behind "id ID;" in the first field comes one line more, and then what the device said: called with that line. */
static void look_for_trace(struct repair_scan *scan)
{
	struct str field = last_field(scan);

	if (scan->state != IN_TOP || scan->count != 1 || scan->trace_end > 0 || field.n > TRACE_MAX ||
	    !str_istarts(field, "Received:"))
		return;
	size_t n = strlen(scan->tail), end = scan->line + 1;
	if (n <= end && memcmp(scan->header.p + end - n, scan->tail, n) == 0)
		scan->trace_end = scan->header.n;
}

static void extend_field(struct repair_scan *scan)
{
	scan->fields[scan->count - 1].end = scan->header.n;
	look_for_trace(scan);
}

/* A line that goes on with the field before it, only its blank was forgotten: "name=..." behind a ';', an address
 * behind a ','. */
static bool goes_on(const struct repair_scan *scan, struct str line)
{
	struct str field = last_field(scan);
	size_t n = 0;

	while (field.n > 0 && memchr(" \t\r\n", field.p[field.n - 1], 4) != NULL)
		field.n--;
	if (field.n == 0 || line.n == 0)
		return false;
	if (field.p[field.n - 1] == ',')
		return (str_istarts(field, "To:") || str_istarts(field, "Cc:")) &&
		       memchr(line.p, '@', line.n) != NULL;
	while (n < line.n && line.p[n] != '=' && line.p[n] > ' ' && line.p[n] < 127)
		n++;
	return field.p[field.n - 1] == ';' && str_istarts(field, "Content-") && n > 0 && n < line.n &&
	       line.p[n] == '=';
}

/* Whether a line that begins like a field is one that no body would begin with, and not seen before. */
static bool goes_on_behind(const struct repair_scan *scan, struct str name)
{
	for (size_t i = 0; i < scan->count; i++)
		if (name.n == scan->fields[i].name_n &&
		    strncasecmp(field_name(scan, i).p, name.p, name.n) == 0)
			return false;
	return (header_traits(name) & HEADER_RESUMES) != 0;
}

static bool has_fields(const struct repair_scan *scan)
{
	return scan->count > (scan->trace_end > 0 ? 1 : 0);
}

static void take_field(struct repair_scan *scan, size_t name_n, size_t value)
{
	struct field field = {scan->line, name_n, scan->line + value, scan->header.n};

	scan->line = scan->header.n;
	if (scan->count == FIELDS_MAX)
		give_up_header(scan);
	else
		scan->fields[scan->count++] = field;
}

/* A line with a blank at its start. False where there is no field that could go on. */
static bool take_folded(struct repair_scan *scan)
{
	if (!has_fields(scan))
		return false;
	extend_field(scan);
	return true;
}

/* What programs that handle mailbox files leave in front of the header. */
static bool is_mailbox_line(const struct repair_scan *scan, struct str line)
{
	if (!scan->facts->repairs || scan->state != IN_TOP || has_fields(scan) || scan->mailbox_end > 0)
		return false;
	while (line.n > 0 && line.p[0] == '>')
		line = (struct str){line.p + 1, line.n - 1};
	return line.n > 5 && memcmp(line.p, "From ", 5) == 0;
}

/* A line that is no field, no blank at its start. False where the body begins with it. */
static bool take_other(struct repair_scan *scan, struct str line)
{
	if (is_mailbox_line(scan, line))
		scan->mailbox_end = scan->header.n;
	else if (has_fields(scan) && goes_on(scan, line))
		extend_field(scan);
	else if (!has_fields(scan) || (line.n >= 2 && line.p[0] == '-' && line.p[1] == '-'))
		return false;
	else
		scan->doubtful = scan->line;
	return true;
}

/* A line of a header is complete. */
static void take_line(struct repair_scan *scan)
{
	struct str line =
	    without_line_end((struct str){scan->header.p + scan->line, scan->header.n - scan->line});
	size_t name_n = 0, value = 0;
	bool closes;
	enum header_line kind = header_classify(line, &name_n, &value);

	if (scan->doubtful != NOWHERE) {
		if (kind != HEADER_FIELD || !goes_on_behind(scan, (struct str){line.p, name_n})) {
			end_header(scan, scan->doubtful, scan->doubtful, true);
			return;
		}
		scan->fields[scan->count - 1].end = scan->line;
		scan->doubtful = NOWHERE;
	}
	bool at_boundary = scan->state == IN_PART && boundary_level(scan, line, &closes) >= 0;
	bool is_header = !at_boundary && kind != HEADER_EMPTY;
	/* "name=12:30.pdf" of a parameter is no name of a field. */
	if (kind == HEADER_FIELD && memchr(line.p, '=', name_n) != NULL && has_fields(scan) &&
	    goes_on(scan, line))
		kind = HEADER_OTHER;
	if (is_header && kind == HEADER_FOLDED)
		is_header = take_folded(scan);
	else if (is_header && kind == HEADER_OTHER)
		is_header = take_other(scan, line);
	if (!is_header)
		end_header(scan, scan->line, kind == HEADER_EMPTY ? scan->header.n : scan->line,
		    !at_boundary && kind != HEADER_EMPTY);
	else if (kind == HEADER_FIELD)
		take_field(scan, name_n, value);
	else
		scan->line = scan->header.n;
}

/* Bytes of one line of a header. */
static void take_header(struct repair_scan *scan, const char *bytes, size_t n)
{
	size_t most = scan->state == IN_TOP ? TOP_MAX : PART_MAX;

	buf_add(&scan->header, bytes, n);
	scan->offset += n;
	scan->last = bytes[n - 1];
	if (scan->header.n > most) {
		if (scan->last == '\n')
			scan->line = scan->header.n;
		give_up_header(scan);
	} else if (scan->last == '\n') {
		take_line(scan);
	}
}

/* --- the whole --- */

void repair_scan_feed(struct repair_scan *scan, const char *bytes, size_t n)
{
	while (n > 0 && scan->state != IGNORING) {
		const char *lf = memchr(bytes, '\n', n);
		size_t run = lf != NULL ? (size_t)(lf - bytes) + 1 : n;
		if (scan->state == IN_BODY)
			take_body(scan, bytes, run);
		else
			take_header(scan, bytes, run);
		bytes += run;
		n -= run;
	}
	scan->offset += n;
}

bool repair_scan_is_decided(const struct repair_scan *scan)
{
	return scan->state == IGNORING;
}

void repair_scan_skip(struct repair_scan *scan, uint64_t n)
{
	assert(n == 0 || scan->state == IGNORING);
	scan->offset += n;
}

/* The content ends within a header. Within a line of it only a damaged one does: nothing more is repaired then. */
static void end_in_header(struct repair_scan *scan)
{
	if (scan->line < scan->header.n) {
		plan_leave(scan->plan, "cut");
		if (scan->state == IN_TOP)
			ignore_rest(scan);
		scan->state = IGNORING;
	} else if (scan->doubtful != NOWHERE) {
		end_header(scan, scan->doubtful, scan->doubtful, true);
	} else {
		end_header(scan, scan->header.n, scan->header.n, false);
	}
}

/* The closing boundaries that are missing, innermost first. */
static void close_levels(struct repair_scan *scan)
{
	struct buf text = {0};

	if (scan->last != '\n')
		buf_add_text(&text, "\r\n");
	size_t none = text.n;
	for (; scan->depth > 0; scan->depth--) {
		const struct level *level = &scan->levels[scan->depth - 1];
		if (!level->opened)
			continue;
		buf_add_text(&text, "--");
		buf_add(&text, level->boundary, level->n);
		buf_add_text(&text, "--\r\n");
	}
	if (text.n > none) {
		plan_name(scan->plan, "end-boundary");
		plan_insert(scan->plan, scan->offset, buf_str(&text), false);
	}
	buf_free(&text);
}

struct repair_plan *repair_scan_end(struct repair_scan *scan)
{
	if (scan->state == IN_TOP || scan->state == IN_PART)
		end_in_header(scan);
	if (scan->state == IN_BODY && scan->line_n > 0)
		end_line(scan);
	if (scan->state == IN_BODY)
		end_part(scan, scan->offset);
	if (scan->state != IGNORING)
		close_levels(scan);
	struct repair_plan *plan = scan->plan;
	plan->stored = scan->offset;
	scan->plan = NULL;
	repair_scan_free(scan);
	return plan;
}
