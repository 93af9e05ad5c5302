/* The fields of a header, one after the other: each is left, dropped, or written anew. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "smtp/header.h"
#include "smtp/repair_inside.h"
#include "smtp/words.h"

#define SUBJECT_MAX	255 /* characters; Exchange Online takes no more */
#define ORIGINAL_MAX	200 /* characters of a value that is kept as X-Original-... */
#define DATE_PAST_MS	(7 * DAY_MS)
#define DATE_FUTURE_MS	DAY_MS
#define MESSAGE_ID_SIZE 400
#define UNDISCLOSED	"undisclosed-recipients:;"

struct str block_name(const struct block *block, const struct field *field)
{
	return (struct str){block->bytes.p + field->start, field->name_n};
}

static struct str raw_value(const struct block *block, const struct field *field)
{
	return (struct str){block->bytes.p + field->value, field->end - field->value};
}

const struct field *block_find(const struct block *block, const char *name)
{
	for (size_t i = block->has_trace; i < block->count; i++)
		if (str_ieq(block_name(block, &block->fields[i]), name))
			return &block->fields[i];
	return NULL;
}

void block_value(const struct block *block, const char *name, struct buf *out)
{
	const struct field *field = block_find(block, name);

	if (field != NULL)
		header_unfold(out, raw_value(block, field));
}

static bool is_one_of(struct str name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (str_ieq(name, *names))
			return true;
	return false;
}

static bool is_structured(struct str name)
{
	static const char *const names[] = {"Received", "Return-Path", "Date", "Message-ID", "In-Reply-To",
	    "References", "MIME-Version", "Content-Transfer-Encoding", "Content-ID", NULL};

	return is_one_of(name, names) || str_istarts(name, "Resent-");
}

static bool is_addresses(struct str name)
{
	static const char *const names[] = {
	    "From", "Sender", "Reply-To", "To", "Cc", "Disposition-Notification-To", NULL};

	return is_one_of(name, names);
}

static bool is_params(struct str name)
{
	return str_ieq(name, "Content-Type") || str_ieq(name, "Content-Disposition");
}

/* A field on its way: its name and unfolded value, which the repairs change. The buffers serve for one field after the
 * other. */
struct line {
	const struct block *block;
	const struct field *field;
	struct str name;
	char new_name[100];
	struct buf value;
	struct buf extra; /* fields to go out behind it */
	struct buf text;  /* the whole, as it goes out */
	bool changed;
};

static void set_value(struct line *line, struct buf *value)
{
	struct buf new = *value;

	*value = (struct buf){0};
	if (new.n == line->value.n && (new.n == 0 || memcmp(new.p, line->value.p, new.n) == 0)) {
		buf_free(&new);
		return;
	}
	buf_free(&line->value);
	line->value = new;
	line->changed = true;
}

static void set_text(struct line *line, const char *text, const char *repair)
{
	struct buf value = {0};

	buf_add_text(&value, text);
	set_value(line, &value);
	plan_name(line->block->plan, repair);
}

/* A blank behind every ',' and ';' that parts something, so that lines can be folded there. */
static void space_separators(struct str value, struct buf *out)
{
	struct str run;
	enum header_run kind;

	while ((kind = header_next_run(&value, &run, NULL)) != RUN_END) {
		buf_add_str(out, run);
		if (kind == RUN_SEPARATOR && run.p[0] != ':' && value.n > 0 && value.p[0] != ' ' &&
		    value.p[0] != '\t')
			buf_add_char(out, ' ');
	}
}

/* Add the field to out in lines that are not over-long: broken at blanks, and if that is not enough, by other means.
 * False where there are none; out is as it was. */
static bool add_broken(struct buf *out, struct str name, struct str value)
{
	struct buf spread = {0}, text = {0};

	header_fold(&text, name, value);
	if (header_longest_line(buf_str(&text)) > HEADER_LINE_MAX) {
		text.n = 0;
		if (is_addresses(name) || is_params(name) || is_structured(name))
			space_separators(value, &spread);
		else
			words_encode_all(&spread, value);
		header_fold(&text, name, buf_str(&spread));
	}
	bool is_good = header_longest_line(buf_str(&text)) <= HEADER_LINE_MAX;
	if (is_good)
		buf_add_str(out, buf_str(&text));
	buf_free(&spread);
	buf_free(&text);
	return is_good;
}

/* --- what is wrong with single fields --- */

static bool is_blank_reply_to(const struct block *block, const struct field *field)
{
	struct buf value = {0};
	bool is_one = block->top && str_ieq(block_name(block, field), "Reply-To");

	if (is_one)
		header_unfold(&value, raw_value(block, field));
	is_one = is_one && value.n == 0;
	buf_free(&value);
	return is_one;
}

/* replaces: the identity takes From's place. The Sender belonged to the old one, and a blank Reply-To would be in the new one's way. */
static bool is_dropped(const struct block *block, const struct field *field, bool replaces)
{
	static const char *const fields[] = {"Bcc", "Resent-Bcc", "Return-Path", "Content-Length"};
	static const char *const names[] = {"bcc", "bcc", "return-path", "content-length"};
	struct str name = block_name(block, field);

	bool is_blank = is_blank_reply_to(block, field);
	if (replaces && (is_blank || str_ieq(name, "Sender"))) {
		plan_name(block->plan, "identity");
		return true;
	}
	if (is_blank && block->facts->repairs) {
		plan_name(block->plan, "reply-to");
		return true;
	}
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (!block->top || !block->facts->repairs || !str_ieq(name, fields[i]))
			continue;
		plan_name(block->plan, names[i]);
		return true;
	}
	return false;
}

/* To and Cc may be there once only too (RFC 5322 section 3.6), but whom a message went to is not to be hidden. */
static void rename_duplicate(struct line *line)
{
	static const char *const once[] = {"From", "Sender", "Reply-To", "Date", "Subject", "Message-ID",
	    "In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	    "Content-Disposition", "Content-ID", NULL};
	char name[60];

	if (!line->block->top || !is_one_of(line->name, once) || !str_copy(name, sizeof name, line->name) ||
	    block_find(line->block, name) == line->field)
		return;
	if (!line->block->facts->repairs && !str_ieq(line->name, "From"))
		return;
	snprintf(line->new_name, sizeof line->new_name, "X-Dup-%s", name);
	line->name = str_of(line->new_name);
	line->changed = true;
	plan_name(line->block->plan, "duplicate");
}

/* The old value under another name, behind the field; no more of it than somebody would read. */
static void keep_original(struct line *line, const char *name)
{
	struct buf utf8 = {0}, value = {0};

	value_to_utf8(line->block, buf_str(&line->value), &utf8);
	utf8.n = words_cut(buf_str(&utf8), ORIGINAL_MAX);
	value_unstructured(line->block, str_trim(buf_str(&utf8)), &value);
	if (value.n > 0)
		header_fold(&line->extra, str_of(name), buf_str(&value));
	buf_free(&utf8);
	buf_free(&value);
}

static void repair_date(struct line *line)
{
	int64_t accepted = line->block->facts->accepted_ms, date = 0;
	char text[40];

	if (header_date(buf_str(&line->value), &date) && date >= accepted - DATE_PAST_MS &&
	    date <= accepted + DATE_FUTURE_MS)
		return;
	keep_original(line, "X-Original-Date");
	set_text(line, clock_rfc5322(text, sizeof text, accepted), "date");
}

static void repair_subject(struct line *line)
{
	const char *subject = line->block->facts->subject;
	struct buf utf8 = {0};

	if (line->value.n == 0 && subject != NULL)
		set_text(line, subject, "subject");
	value_to_utf8(line->block, buf_str(&line->value), &utf8);
	/* What is encoded already cannot be cut without reading it: left. */
	size_t n = words_cut(buf_str(&utf8), SUBJECT_MAX);
	if (n < utf8.n && memmem(utf8.p, utf8.n, "=?", 2) == NULL) {
		while (n > 0 && utf8.p[n - 1] == ' ')
			n--;
		utf8.n = n;
		set_value(line, &utf8);
		plan_name(line->block->plan, "subject");
	}
	buf_free(&utf8);
}

/* Nobody, said in other words than RFC 5322's: "", "<>", "Undisclosed recipients:;", "undisclosed-recipient:". */
static bool names_nobody(struct str value)
{
	static const char *const words[] = {"undisclosed", "recipients", "recipient"};

	if (str_eq(value, UNDISCLOSED))
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0];) {
		while (value.n > 0 && memchr("\"<>:;-_ \t", value.p[0], 9) != NULL) {
			value.p++;
			value.n--;
		}
		if (!str_istarts(value, words[i])) {
			i++;
			continue;
		}
		value.p += strlen(words[i]);
		value.n -= strlen(words[i]);
	}
	return value.n == 0;
}

static const char *recipients_text(const struct block *block)
{
	const char *recipient = block->facts->recipient;

	return recipient != NULL && recipient[0] != '\0' ? recipient : UNDISCLOSED;
}

/* The Message-ID of one that has none: the same at every attempt. */
static const char *message_id(char out[MESSAGE_ID_SIZE], const struct repair_facts *facts)
{
	snprintf(out, MESSAGE_ID_SIZE, "<%.60s@%.255s>", facts->id, facts->hostname);
	return out;
}

static bool has_reply_to(const struct block *block)
{
	const struct field *field = block_find(block, "Reply-To");

	return field != NULL && !is_blank_reply_to(block, field);
}

static void repair_from(struct line *line)
{
	const struct block *block = line->block;
	struct from from;

	from_make(block, buf_str(&line->value), &from);
	if (from.value.n == 0) {
		if (block->facts->repairs)
			plan_leave(block->plan, "from");
	} else {
		if (!from.was_usable)
			keep_original(line, "X-Original-From");
		if (from.reply_to.n > 0 && !has_reply_to(block))
			add_broken(&line->extra, str_of("Reply-To"), buf_str(&from.reply_to));
		set_value(line, &from.value);
		if (line->changed)
			plan_name(block->plan, from.replaced ? "identity" : "from");
	}
	from_free(&from);
}

/* --- a field --- */

static void repair_top_value(struct line *line)
{
	if (str_ieq(line->name, "Date"))
		repair_date(line);
	else if (str_ieq(line->name, "Subject"))
		repair_subject(line);
	else if (str_ieq(line->name, "To") && names_nobody(buf_str(&line->value)))
		set_text(line, recipients_text(line->block), "to");
	else if (str_ieq(line->name, "Message-ID") && line->value.n == 0) {
		char id[MESSAGE_ID_SIZE];
		set_text(line, message_id(id, line->block->facts), "message-id");
	}
}

static void repair_value(struct line *line)
{
	struct str value = buf_str(&line->value);
	struct buf out = {0};

	if (is_params(line->name))
		value_params(line->block, value, &out);
	else if (words_is_ascii(value))
		return;
	else if (is_addresses(line->name))
		value_addresses(line->block, value, &out);
	else if (is_structured(line->name))
		value_structured(line->block, value, &out);
	else
		value_unstructured(line->block, value, &out);
	set_value(line, &out);
}

/* The field as it is, but for lines that are folded wrongly (no blank at their start, or nothing but blanks) and blanks
 * around the colon. */
static void add_tidied(const struct line *line, struct buf *out)
{
	const struct block *block = line->block;
	struct str value = raw_value(block, line->field);
	bool lacks_blank = value.n > 0 && memchr(" \t\r\n", value.p[0], 4) == NULL;

	buf_add_str(out, block_name(block, line->field));
	buf_add_text(out, block->top && lacks_blank ? ": " : ":");
	if ((block->top && lacks_blank) || line->field->value - line->field->start != line->field->name_n + 1)
		plan_name(block->plan, "colon");
	for (bool first = true; value.n > 0; first = false) {
		const char *lf = memchr(value.p, '\n', value.n);
		struct str part = {value.p, lf != NULL ? (size_t)(lf - value.p) + 1 : value.n};
		size_t blanks = 0;
		while (blanks < part.n && memchr(" \t\r\n", part.p[blanks], 4) != NULL)
			blanks++;
		value.p += part.n;
		value.n -= part.n;
		if (!first && (blanks == 0 || blanks == part.n))
			plan_name(block->plan, "folding");
		if (!first && blanks == part.n)
			continue;
		if (!first && blanks == 0)
			buf_add_char(out, ' ');
		buf_add_str(out, part);
	}
}

/* Break lines of text, a whole field, that are over-long. */
static void break_lines(const struct line *line, struct buf *text)
{
	struct buf value = {0}, broken = {0};
	size_t colon = 0;

	if (text->n <= HEADER_LINE_MAX || header_longest_line(buf_str(text)) <= HEADER_LINE_MAX)
		return;
	while (text->p[colon] != ':')
		colon++;
	header_unfold(&value, (struct str){text->p + colon + 1, text->n - colon - 1});
	if (add_broken(&broken, line->name, buf_str(&value))) {
		text->n = 0;
		buf_add_str(text, buf_str(&broken));
		plan_name(line->block->plan, "long-header");
	} else {
		plan_leave(line->block->plan, "long-header");
	}
	buf_free(&value);
	buf_free(&broken);
}

/* Put the field as it is now into the plan, where that differs from what it was. */
static void put_field(struct line *line)
{
	const struct field *field = line->field;
	const struct block *block = line->block;
	struct str old = {block->bytes.p + field->start, field->end - field->start};
	struct buf *text = &line->text;

	if (line->changed)
		header_fold(text, line->name, buf_str(&line->value));
	else if (block->facts->repairs)
		add_tidied(line, text);
	else
		buf_add_str(text, old);
	if (block->facts->repairs)
		break_lines(line, text);
	buf_add_str(text, buf_str(&line->extra));
	if (text->n != old.n || memcmp(text->p, old.p, old.n) != 0)
		plan_replace(block->plan, block->offset + field->start, old.n, buf_str(text));
}

static void drop_field(const struct block *block, const struct field *field)
{
	plan_replace(
	    block->plan, block->offset + field->start, field->end - field->start, (struct str){"", 0});
}

static void repair_field(struct line *line, const struct field *field)
{
	const struct block *block = line->block;

	line->field = field;
	line->name = block_name(block, field);
	line->value.n = line->extra.n = line->text.n = 0;
	line->changed = false;
	header_unfold(&line->value, raw_value(block, field));
	rename_duplicate(line);
	if (block->top && str_ieq(line->name, "From"))
		repair_from(line);
	if (block->top && block->facts->repairs)
		repair_top_value(line);
	if (block->facts->repairs)
		repair_value(line);
	put_field(line);
}

/* --- what is missing --- */

static bool lacks(const struct block *block, const char *name)
{
	return block_find(block, name) == NULL;
}

static void add_field(
    const struct block *block, struct buf *out, const char *name, const char *value, const char *repair)
{
	header_fold(out, str_of(name), str_of(value));
	plan_name(block->plan, repair);
}

static void add_missing_from(const struct block *block, struct buf *out)
{
	struct from from;

	from_make(block, (struct str){"", 0}, &from);
	if (from.value.n > 0) {
		header_fold(out, str_of("From"), buf_str(&from.value));
		plan_name(block->plan, from.replaced ? "identity" : "from");
	} else if (block->facts->repairs) {
		plan_leave(block->plan, "from");
	}
	from_free(&from);
}

static void add_missing_subject(const struct block *block, struct buf *out)
{
	struct str all = str_of(block->facts->subject);
	struct buf subject = {0};

	words_encode(&subject, (struct str){all.p, words_cut(all, SUBJECT_MAX)});
	buf_add_char(&subject, '\0');
	add_field(block, out, "Subject", subject.p, "subject");
	buf_free(&subject);
}

static void add_missing_fields(const struct block *block, struct buf *out)
{
	const struct repair_facts *facts = block->facts;
	char text[MESSAGE_ID_SIZE];

	if (lacks(block, "From"))
		add_missing_from(block, out);
	if (!facts->repairs)
		return;
	if (lacks(block, "To") && lacks(block, "Cc"))
		add_field(block, out, "To", recipients_text(block), "to");
	if (facts->subject != NULL && lacks(block, "Subject"))
		add_missing_subject(block, out);
	if (lacks(block, "Date"))
		add_field(block, out, "Date", clock_rfc5322(text, sizeof text, facts->accepted_ms), "date");
	if (lacks(block, "Message-ID"))
		add_field(block, out, "Message-ID", message_id(text, facts), "message-id");
}

static void end_block(const struct block *block)
{
	struct buf text = {0};

	plan_forget_names(block->plan);
	if (block->top)
		add_missing_fields(block, &text);
	/* Where the identity has been put in, what follows must not be taken for more of the header either. */
	if (block->wants_blank &&
	    (block->facts->repairs || text.n > 0 || (block->top && block->facts->from != NULL))) {
		buf_add_text(&text, "\r\n");
		plan_name(
		    block->plan, block->top && block->count == block->has_trace ? "no-header" : "blank-line");
	}
	if (text.n > 0)
		plan_insert(block->plan, block->offset + block->bytes.n, buf_str(&text), false);
	buf_free(&text);
}

bool block_from_is_replaced(const struct block *block)
{
	struct buf value = {0};
	struct from from;

	block_value(block, "From", &value);
	from_make(block, buf_str(&value), &from);
	bool replaced = from.replaced;
	from_free(&from);
	buf_free(&value);
	return replaced;
}

void block_repair(const struct block *block)
{
	bool replaces = block->top && block->facts->from != NULL && block_from_is_replaced(block);
	struct line line = {.block = block};

	for (size_t i = block->has_trace; i < block->count; i++) {
		const struct field *field = &block->fields[i];
		plan_forget_names(block->plan);
		if (is_dropped(block, field, replaces))
			drop_field(block, field);
		else
			repair_field(&line, field);
	}
	buf_free(&line.value);
	buf_free(&line.extra);
	buf_free(&line.text);
	end_block(block);
}
