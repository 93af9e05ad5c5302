/* Who a message is from: the From it has, read as well as can be, and the one it shall have. */
#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "smtp/address.h"
#include "smtp/header.h"
#include "smtp/repair_inside.h"
#include "smtp/words.h"

/* Octets of an encoded word; RFC 2047 section 2 says 75, and devices write longer ones. */
#define WORD_MAX 256

/* What one From says. */
struct mailbox {
	struct address address;
	struct str name;       /* what stands before the '<' */
	bool has_name_trouble; /* no phrase by RFC 5322, or one that readers take apart wrongly */
};

static bool is_atext(char c)
{
	return ascii_is_alnum(c) || (unsigned char)c > 127 ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

static bool is_words(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_atext(s.p[i]) && s.p[i] != ' ' && s.p[i] != '\t')
			return false;
	return true;
}

/* --- names --- */

/* The next word of *rest, blanks before it dropped; empty at the end. */
static struct str next_word(struct str *rest)
{
	struct str trimmed = str_trim(*rest), word = {trimmed.p, 0};

	while (word.n < trimmed.n && trimmed.p[word.n] != ' ' && trimmed.p[word.n] != '\t')
		word.n++;
	*rest = (struct str){trimmed.p + word.n, trimmed.n - word.n};
	return word;
}

/* Encoded words that stood in quotes, where they mean nothing: as the phrase they were meant to be. False, nothing
 * added, where text is something else. */
static bool add_encoded_words(struct buf *out, struct str text)
{
	struct str rest = text, word;
	bool found = false;
	size_t before = out->n;

	while ((word = next_word(&rest)).n > 0) {
		found = found || words_is_encoded(word);
		if (!words_is_ascii(word) || !is_words(word)) {
			out->n = before;
			return false;
		}
		if (out->n > before)
			buf_add_char(out, ' ');
		buf_add_str(out, word);
	}
	if (!found)
		out->n = before;
	return found;
}

/* The same, with blanks put in by a fold in the middle of a word. */
static bool add_split_words(struct buf *out, struct str text)
{
	struct buf joined = {0}, words = {0};
	struct str rest = text, word;
	bool found = true;

	while ((word = next_word(&rest)).n > 0)
		buf_add_str(&joined, word);
	for (size_t at = 0, n; at < joined.n && found; at += n) {
		found = false;
		for (n = 8; at + n <= joined.n && n <= WORD_MAX && !found; n++)
			found = words_is_encoded((struct str){joined.p + at, n});
		n -= found;
		buf_add_text(&words, words.n > 0 ? " " : "");
		buf_add(&words, joined.p + at, found ? n : 0);
	}
	found = found && words.n > 0;
	if (found)
		buf_add_str(out, buf_str(&words));
	buf_free(&joined);
	buf_free(&words);
	return found;
}

/* A name, UTF-8 without any syntax, as a phrase. */
static void add_phrase(struct buf *out, struct str utf8)
{
	utf8 = str_trim(utf8);
	if (!words_is_ascii(utf8)) {
		words_encode_all(out, utf8);
		return;
	}
	if (is_words(utf8) && memchr(utf8.p, '.', utf8.n) == NULL) {
		buf_add_str(out, utf8);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < utf8.n; i++) {
		if (utf8.p[i] == '"' || utf8.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, utf8.p[i]);
	}
	buf_add_char(out, '"');
}

/* What name says, quotes and backslashes taken off. */
static void add_plain(struct buf *out, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '\\' && i + 1 < name.n)
			buf_add_char(out, name.p[++i]);
		else if (name.p[i] != '"')
			buf_add_char(out, name.p[i]);
	}
}

static bool is_address_itself(struct str text, const struct address *address)
{
	while (text.n > 0 && memchr("<' \t", text.p[0], 4) != NULL)
		text = (struct str){text.p + 1, text.n - 1};
	while (text.n > 0 && memchr(">' \t", text.p[text.n - 1], 4) != NULL)
		text.n--;
	return str_ieq(text, address->text);
}

/* A name in trouble, put right; nothing where it only says the address again. */
static void add_mended_name(const struct mailbox *mailbox, struct buf *out)
{
	struct buf plain = {0};

	add_plain(&plain, mailbox->name);
	if (!is_address_itself(buf_str(&plain), &mailbox->address) &&
	    !add_encoded_words(out, buf_str(&plain)) && !add_split_words(out, buf_str(&plain)))
		add_phrase(out, buf_str(&plain));
	buf_free(&plain);
}

static bool name_is_in_trouble(struct str name)
{
	struct buf ignored = {0};
	struct str run;
	enum header_run kind;
	bool open = false, trouble = false;

	while (!trouble && (kind = header_next_run(&name, &run, &open)) != RUN_END) {
		if (kind == RUN_TEXT)
			trouble = !is_words(run);
		else if (kind == RUN_QUOTED && run.n >= 2)
			trouble = memmem(run.p, run.n, "=?", 2) != NULL &&
				  (add_encoded_words(&ignored, (struct str){run.p + 1, run.n - 2}) ||
				      add_split_words(&ignored, (struct str){run.p + 1, run.n - 2}));
		else
			trouble = kind != RUN_COMMENT;
	}
	buf_free(&ignored);
	return trouble || open;
}

/* --- mailboxes --- */

static bool has_domain(const struct address *address)
{
	return address_domain(address)[0] != '\0';
}

/* "name <address>", with nothing but comments behind. */
static bool parse_angle(struct str value, struct mailbox *mailbox)
{
	struct str run, rest = value;
	enum header_run kind;
	bool found = false, open = false;

	while ((kind = header_next_run(&rest, &run, &open)) != RUN_END) {
		if (kind == RUN_ANGLE && !found && !open) {
			found = true;
			mailbox->name = str_trim((struct str){value.p, (size_t)(run.p - value.p)});
			mailbox->has_name_trouble = name_is_in_trouble(mailbox->name);
			if (!address_parse((struct str){run.p + 1, run.n - 2}, &mailbox->address))
				return false;
		} else if (found && (kind != RUN_TEXT || str_trim(run).n > 0) && kind != RUN_COMMENT) {
			return false;
		}
	}
	return found && !open && has_domain(&mailbox->address);
}

/* An address alone, comments around it. */
static bool parse_bare(struct str value, struct mailbox *mailbox)
{
	struct str run, rest = value, address = {"", 0};
	enum header_run kind;
	bool open = false;

	*mailbox = (struct mailbox){.name = {"", 0}};
	while ((kind = header_next_run(&rest, &run, &open)) != RUN_END) {
		if (kind == RUN_COMMENT)
			continue;
		if (kind != RUN_TEXT && kind != RUN_QUOTED && kind != RUN_SEPARATOR)
			return false;
		if (str_trim(run).n == 0)
			continue;
		if (address.n > 0 && address.p + address.n != run.p)
			return false;
		address = (struct str){address.n > 0 ? address.p : run.p, address.n + run.n};
	}
	return !open && address_parse(str_trim(address), &mailbox->address) && has_domain(&mailbox->address);
}

static bool parse_mailbox(struct str value, struct mailbox *mailbox)
{
	return parse_bare(value, mailbox) || parse_angle(value, mailbox);
}

/* Two mailboxes or more, each as it should be. */
static bool is_list(struct str value)
{
	struct str run, rest = value, item = {value.p, 0};
	struct mailbox mailbox;
	enum header_run kind;
	size_t count = 0;

	if (memchr(value.p, ',', value.n) == NULL)
		return false;
	do {
		kind = header_next_run(&rest, &run, NULL);
		if (kind == RUN_END || (kind == RUN_SEPARATOR && run.p[0] == ',')) {
			if (!parse_mailbox(item, &mailbox) || mailbox.has_name_trouble)
				return false;
			count++;
			item = (struct str){rest.p, 0};
		} else {
			item.n = (size_t)(rest.p - item.p);
		}
	} while (kind != RUN_END);
	return count > 1;
}

static void add_mailbox(struct buf *out, struct str name, const char *address)
{
	if (name.n == 0) {
		buf_add_text(out, address);
		return;
	}
	buf_add_str(out, name);
	buf_add_text(out, " <");
	buf_add_text(out, address);
	buf_add_text(out, ">");
}

/* --- what it shall be --- */

/* What stands in for a From that names nobody. An envelope's "root" would name nobody either. */
static const char *stand_in(const struct repair_facts *facts)
{
	struct address address;

	if (!facts->repairs || facts->sender == NULL || !address_parse(str_of(facts->sender), &address) ||
	    !has_domain(&address))
		return "";
	return facts->sender;
}

/* The address to go out in place of own, "" where there is none. */
static const char *new_address(const struct block *block, const char *own, struct from *from)
{
	const struct repair_facts *facts = block->facts;
	const char *address = facts->from != NULL ? facts->from(facts->arg, own) : own;

	from->stays = address == own || address[0] == '\0';
	from->replaced = !from->stays && strcasecmp(address, own) != 0;
	if (!from->stays)
		return address;
	return own[0] != '\0' || from->was_usable ? own : stand_in(facts);
}

static void add_name(
    const struct block *block, const struct mailbox *old, const struct from *from, struct buf *out)
{
	const char *name = from->stays ? NULL : block->facts->from_name;

	if (name != NULL)
		add_phrase(out, str_of(name));
	else if (old->has_name_trouble)
		add_mended_name(old, out);
	else
		value_addresses(block, old->name, out);
}

static void make_reply_to(
    const struct block *block, struct str value, const struct mailbox *old, bool list, struct buf *out)
{
	struct buf name = {0};

	if (list) {
		value_addresses(block, value, out);
	} else {
		if (old->has_name_trouble)
			add_mended_name(old, &name);
		else
			value_addresses(block, old->name, &name);
		add_mailbox(out, buf_str(&name), old->address.text);
	}
	buf_free(&name);
}

static bool str_is_same(struct str a, struct str b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* raw goes out as it is where nothing is to be changed; value is the same in UTF-8. */
static void make(const struct block *block, struct str raw, struct str value, struct from *from)
{
	const struct repair_facts *facts = block->facts;
	struct mailbox old = {.name = {"", 0}};
	struct buf name = {0};
	bool list = is_list(value), one = !list && parse_mailbox(value, &old);

	*from = (struct from){.was_usable = list || one};
	const char *address = new_address(block, one ? old.address.text : "", from);
	bool keeps_name = from->stays || facts->from_name == NULL;
	bool same_address = one && strcmp(address, old.address.text) == 0;
	bool in_trouble = old.has_name_trouble && facts->repairs;
	if ((list && from->stays) || (same_address && keeps_name && !in_trouble)) {
		buf_add_str(&from->value, raw);
		return;
	}
	if (address[0] == '\0')
		return;
	add_name(block, &old, from, &name);
	if (same_address && !old.has_name_trouble && str_is_same(buf_str(&name), old.name))
		buf_add_str(&from->value, raw);
	else
		add_mailbox(&from->value, buf_str(&name), address);
	if (from->replaced && facts->keep_reply_to &&
	    (list || (one && !address_is_useless(old.address.text))))
		make_reply_to(block, value, &old, list, &from->reply_to);
	buf_free(&name);
}

void from_make(const struct block *block, struct str value, struct from *from)
{
	struct buf utf8 = {0};

	value_to_utf8(block, value, &utf8);
	make(block, value, buf_str(&utf8), from);
	buf_free(&utf8);
}

void from_free(struct from *from)
{
	buf_free(&from->value);
	buf_free(&from->reply_to);
}
