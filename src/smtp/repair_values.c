/* Raw bytes in values, and what parameters get wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "smtp/header.h"
#include "smtp/repair_inside.h"
#include "smtp/words.h"

#define ROUNDS_MAX     5
#define PARAM_NAME_MAX 60

static bool convert_by_callback(
    const struct block *block, const char *charset, struct str value, struct buf *out)
{
	const struct repair_facts *facts = block->facts;
	size_t room = 4 * value.n + 16;

	if (facts->to_utf8 == NULL)
		return false;
	char *text = xcalloc(room, 1);
	size_t n = facts->to_utf8(facts->arg, charset, value.p, value.n, text, room);
	bool is_good = n > 0 && n <= room && words_is_utf8((struct str){text, n});
	for (size_t i = 0; i < n && is_good; i++)
		is_good = text[i] != '\r' && text[i] != '\n' && text[i] != '\0';
	if (is_good)
		buf_add(out, text, n);
	free(text);
	return is_good;
}

void value_to_utf8(const struct block *block, struct str value, struct buf *out)
{
	const char *charset = block->facts->charset != NULL ? block->facts->charset : "windows-1252";

	if (words_is_utf8(value))
		buf_add_str(out, value);
	else if (!words_to_utf8(out, charset, value) && !convert_by_callback(block, charset, value, out))
		value_structured(block, value, out);
}

void value_structured(const struct block *block, struct str value, struct buf *out)
{
	if (words_is_ascii(value)) {
		buf_add_str(out, value);
		return;
	}
	plan_name(block->plan, "8bit");
	for (size_t i = 0; i < value.n; i++)
		buf_add_char(out, (unsigned char)value.p[i] > 127 ? '?' : value.p[i]);
}

void value_unstructured(const struct block *block, struct str value, struct buf *out)
{
	struct buf utf8 = {0};

	if (words_is_ascii(value)) {
		buf_add_str(out, value);
		return;
	}
	value_to_utf8(block, value, &utf8);
	words_encode(out, buf_str(&utf8));
	plan_name(block->plan, "8bit");
	buf_free(&utf8);
}

/* --- addresses --- */

static bool ends_blank(const struct buf *out)
{
	return out->n == 0 || memchr(" \t,;:(", out->p[out->n - 1], 6) != NULL;
}

/* An encoded word stands apart from what is around it. */
static void add_encoded(struct buf *out, struct str utf8, struct str rest)
{
	if (!ends_blank(out))
		buf_add_char(out, ' ');
	words_encode_all(out, utf8);
	if (rest.n > 0 && memchr(" \t,;:)", rest.p[0], 6) == NULL)
		buf_add_char(out, ' ');
}

/* What a quoted string says: without the quotes and the backslashes. */
static void add_unquoted(struct buf *out, struct str quoted)
{
	for (size_t i = 1; i < quoted.n; i++) {
		if (quoted.p[i] == '\\' && i + 1 < quoted.n)
			i++;
		else if (quoted.p[i] == '"')
			break;
		buf_add_char(out, quoted.p[i]);
	}
}

static void encode_run(struct buf *out, enum header_run kind, struct str run, struct str rest)
{
	struct str inside = str_trim(run);
	struct buf text = {0};

	if (kind == RUN_TEXT && memchr(run.p, '@', run.n) == NULL) {
		buf_add(out, run.p, (size_t)(inside.p - run.p));
		add_encoded(out, inside,
		    (struct str){
			inside.p + inside.n, (size_t)(run.p + run.n - inside.p) - inside.n + rest.n});
		buf_add(out, inside.p + inside.n, (size_t)(run.p + run.n - inside.p) - inside.n);
	} else if (kind == RUN_QUOTED) {
		add_unquoted(&text, run);
		add_encoded(out, buf_str(&text), rest);
	} else if (kind == RUN_COMMENT && run.p[run.n - 1] == ')') {
		buf_add_char(out, '(');
		words_encode_all(out, (struct str){run.p + 1, run.n - 2});
		buf_add_char(out, ')');
	} else {
		/* Within an address: nothing can stand for it. */
		buf_add_str(out, run);
	}
	buf_free(&text);
}

void value_addresses(const struct block *block, struct str value, struct buf *out)
{
	struct buf utf8 = {0};
	struct str run;
	enum header_run kind;
	size_t before = out->n;

	if (words_is_ascii(value)) {
		buf_add_str(out, value);
		return;
	}
	value_to_utf8(block, value, &utf8);
	struct str rest = buf_str(&utf8);
	while ((kind = header_next_run(&rest, &run, NULL)) != RUN_END) {
		if (words_is_ascii(run))
			buf_add_str(out, run);
		else
			encode_run(out, kind, run, rest);
	}
	if (out->n - before != value.n || memcmp(out->p + before, value.p, value.n) != 0)
		plan_name(block->plan, "8bit");
	buf_free(&utf8);
}

/* --- parameters --- */

/* Whether value needs quotes that it has not (RFC 2045 section 5.1), and can be given them. */
static bool lacks_quotes(const struct header_param *param)
{
	bool needs = false;

	for (size_t i = 0; i < param->value.n && !param->quoted; i++) {
		char c = param->value.p[i];
		/* A '(' begins a comment, which is no part of the value. */
		if (c == '"' || c == '\\' || c == '(' || c < ' ' || c > '~')
			return false;
		needs = needs || memchr(")<>@,;:/[]?= ", c, 13) != NULL;
	}
	return needs;
}

/* A name with a '*' is one of RFC 2231 already. A long one is none that anybody reads, and stands before every piece. */
static bool can_be_encoded(struct str name)
{
	return name.n > 0 && name.n <= PARAM_NAME_MAX && words_is_ascii(name) &&
	       memchr(name.p, '*', name.n) == NULL;
}

static void add_encoded_param(const struct header_param *param, struct buf *out)
{
	struct buf text = {0};

	if (param->quoted)
		add_unquoted(&text, (struct str){param->value.p - 1, param->value.n + 1});
	else
		buf_add_str(&text, param->value);
	words_encode_param(out, param->name, buf_str(&text));
	buf_free(&text);
}

static void add_param(const struct block *block, const struct header_param *param, struct buf *out)
{
	char label[60];
	const char *alias = NULL;

	if (str_ieq(param->name, "charset") && str_copy(label, sizeof label, param->value))
		alias = words_charset_alias(label);
	if (alias != NULL) {
		buf_add_text(out, "charset=");
		buf_add_text(out, alias);
		plan_name(block->plan, "charset");
	} else if (str_ieq(param->name, "boundary") && lacks_quotes(param)) {
		buf_add_text(out, "boundary=\"");
		buf_add_str(out, param->value);
		buf_add_text(out, "\"");
		plan_name(block->plan, "boundary");
	} else if (!words_is_ascii(param->value) && can_be_encoded(param->name)) {
		add_encoded_param(param, out);
		plan_name(block->plan, "8bit");
	} else {
		buf_add(out, param->begin, (size_t)(param->end - param->begin));
	}
}

/* The bytes of a boundary are those of the lines it stands for. */
static bool has_raw_boundary(struct str value)
{
	struct header_param param;

	while (header_next_param(&value, &param))
		if (str_ieq(param.name, "boundary") && !words_is_ascii(param.value))
			return true;
	return false;
}

static void repair_params(const struct block *block, struct str value, struct buf *out)
{
	struct buf utf8 = {0}, made = {0};
	struct header_param param;

	if (has_raw_boundary(value)) {
		buf_add_str(out, value);
		return;
	}
	value_to_utf8(block, value, &utf8);
	struct str all = buf_str(&utf8), rest = all;
	const char *done = all.p;
	while (header_next_param(&rest, &param)) {
		buf_add(&made, done, (size_t)(param.begin - done));
		add_param(block, &param, &made);
		done = param.end;
	}
	buf_add(&made, done, (size_t)(all.p + all.n - done));
	/* What is left of raw bytes stands where nothing can be encoded. */
	value_structured(block, buf_str(&made), out);
	buf_free(&utf8);
	buf_free(&made);
}

/* Where quotes stand wrongly, a repair can bring to light what another one is for. */
void value_params(const struct block *block, struct str value, struct buf *out)
{
	struct buf now = {0};
	bool changed = true;

	buf_add_str(&now, value);
	for (int round = 0; round < ROUNDS_MAX && changed; round++) {
		struct buf next = {0};
		repair_params(block, buf_str(&now), &next);
		changed = next.n != now.n || (now.n > 0 && memcmp(next.p, now.p, now.n) != 0);
		buf_free(&now);
		now = next;
	}
	buf_add_str(out, buf_str(&now));
	buf_free(&now);
}
