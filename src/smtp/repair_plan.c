/* The plan, and the reader that carries it out. */
#include "smtp/repair_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PIECES_MAX 2048
#define TEXT_MAX   (2u * 1024 * 1024)
#define READ_BYTES 4096

bool plan_has_room(const struct repair_plan *plan, size_t pieces, size_t text)
{
	return plan->count + pieces <= PIECES_MAX && plan->text.n + text <= TEXT_MAX;
}

static void add_word(char *list, size_t size, const char *word)
{
	size_t n = strlen(list), word_n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += word_n)
		if ((at == list || at[-1] == ',') && (at[word_n] == ',' || at[word_n] == '\0'))
			return;
	if (n + 1 + word_n >= size)
		return;
	if (n > 0)
		list[n++] = ',';
	memcpy(list + n, word, word_n + 1);
}

void plan_name(struct repair_plan *plan, const char *name)
{
	add_word(plan->noted, sizeof plan->noted, name);
}

void plan_forget_names(struct repair_plan *plan)
{
	plan->noted[0] = '\0';
}

static void take_names(struct repair_plan *plan)
{
	char *rest = NULL;

	for (char *name = strtok_r(plan->noted, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
		add_word(plan->names, sizeof plan->names, name);
	plan_forget_names(plan);
}

void plan_leave(struct repair_plan *plan, const char *name)
{
	add_word(plan->left, sizeof plan->left, name);
}

/* Changes come nearly in order: the search begins at the end. */
static void add_piece(struct repair_plan *plan, const struct piece *piece, struct str text, bool first)
{
	size_t at = plan->count;

	if (!plan_has_room(plan, 1, text.n)) {
		plan_forget_names(plan);
		plan_leave(plan, "limit");
		plan->is_full = true;
		return;
	}
	take_names(plan);
	while (at > 0 && (plan->pieces[at - 1].offset > piece->offset ||
			     (first && plan->pieces[at - 1].offset == piece->offset)))
		at--;
	if (plan->pieces == NULL || (plan->count & (plan->count - 1)) == 0)
		plan->pieces =
		    xrealloc(plan->pieces, (plan->count > 0 ? 2 * plan->count : 1) * sizeof *plan->pieces);
	memmove(plan->pieces + at + 1, plan->pieces + at, (plan->count - at) * sizeof *plan->pieces);
	plan->pieces[at] = *piece;
	plan->pieces[at].text = plan->text.n;
	plan->count++;
	buf_add_str(&plan->text, text);
}

void plan_replace(struct repair_plan *plan, uint64_t offset, uint64_t removed, struct str text)
{
	add_piece(plan, &(struct piece){.offset = offset, .removed = removed, .bytes = text.n}, text, false);
}

void plan_insert(struct repair_plan *plan, uint64_t offset, struct str text, bool first)
{
	add_piece(plan, &(struct piece){.offset = offset, .bytes = text.n}, text, first);
}

void plan_wrap(
    struct repair_plan *plan, uint64_t offset, uint64_t removed, enum wrap_kind wrap, uint64_t bytes)
{
	struct piece piece = {
	    .offset = offset, .removed = removed, .bytes = bytes, .is_wrap = true, .wrap = wrap};

	add_piece(plan, &piece, (struct str){"", 0}, false);
}

bool repair_plan_is_empty(const struct repair_plan *plan)
{
	return plan->count == 0;
}

uint64_t repair_plan_bytes(const struct repair_plan *plan)
{
	uint64_t bytes = plan->stored;

	for (size_t i = 0; i < plan->count; i++)
		bytes += plan->pieces[i].bytes - plan->pieces[i].removed;
	return bytes;
}

const char *repair_plan_names(const struct repair_plan *plan)
{
	return plan->names;
}

const char *repair_plan_left(const struct repair_plan *plan)
{
	return plan->left;
}

bool repair_plan_lacks_identity(const struct repair_plan *plan)
{
	return plan->lacks_identity;
}

void repair_plan_free(struct repair_plan *plan)
{
	if (plan == NULL)
		return;
	free(plan->pieces);
	buf_free(&plan->text);
	free(plan);
}

/* --- the reader --- */

struct repair_reader {
	const struct repair_plan *plan;
	repair_read_fn *read;
	void *arg;
	size_t piece;	 /* the next one, or the one at work */
	uint64_t offset; /* of the next stored byte */
	uint64_t done;	 /* bytes of this piece that were put out, or for wrap: read */
	bool began;	 /* this piece */
	struct wrap wrap;
	char in[READ_BYTES]; /* stored bytes for wrap */
	size_t in_at, in_n;
	char out[WRAP_OUT_MAX]; /* what came of the last of them */
	size_t out_at, out_n;
};

struct repair_reader *repair_reader_new(const struct repair_plan *plan, repair_read_fn *read, void *arg)
{
	struct repair_reader *reader = xcalloc(1, sizeof *reader);

	reader->plan = plan;
	reader->read = read;
	reader->arg = arg;
	return reader;
}

void repair_reader_rewind(struct repair_reader *reader)
{
	reader->piece = 0;
	reader->offset = reader->done = 0;
	reader->began = false;
	reader->in_at = reader->in_n = reader->out_at = reader->out_n = 0;
}

void repair_reader_free(struct repair_reader *reader)
{
	free(reader);
}

static size_t least(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

/* Stored bytes, at most n, at least one. */
static ssize_t read_stored(struct repair_reader *reader, char *bytes, size_t n)
{
	ssize_t got = reader->read(reader->arg, reader->offset, bytes, n);

	if (got == 0)
		errno = EIO;
	if (got <= 0)
		return -1;
	reader->offset += (uint64_t)got;
	return got;
}

static void end_piece(struct repair_reader *reader)
{
	reader->piece++;
	reader->done = 0;
	reader->began = false;
}

static ssize_t read_text(struct repair_reader *reader, const struct piece *piece, char *bytes, size_t n)
{
	n = least(piece->bytes - reader->done, n);
	if (n > 0)
		memcpy(bytes, reader->plan->text.p + piece->text + reader->done, n);
	reader->done += n;
	if (reader->done == piece->bytes) {
		reader->offset += piece->removed;
		end_piece(reader);
	}
	return (ssize_t)n;
}

/* One more byte through the wrap, or its end. Returns false on an error. */
static bool step_wrap(struct repair_reader *reader, const struct piece *piece, bool *ended)
{
	reader->out_at = reader->out_n = 0;
	if (reader->done == piece->removed) {
		reader->out_n = wrap_end(&reader->wrap, reader->out);
		*ended = true;
		return true;
	}
	if (reader->in_at == reader->in_n) {
		ssize_t got =
		    read_stored(reader, reader->in, least(piece->removed - reader->done, sizeof reader->in));
		if (got < 0)
			return false;
		reader->in_at = 0;
		reader->in_n = (size_t)got;
	}
	reader->done++;
	reader->out_n = wrap_byte(&reader->wrap, reader->in[reader->in_at++], reader->out);
	return true;
}

static size_t take_out(struct repair_reader *reader, char *bytes, size_t n)
{
	n = least(reader->out_n - reader->out_at, n);
	memcpy(bytes, reader->out + reader->out_at, n);
	reader->out_at += n;
	return n;
}

static ssize_t read_wrap(struct repair_reader *reader, const struct piece *piece, char *bytes, size_t n)
{
	size_t put = 0;
	bool ended = false;

	if (!reader->began) {
		reader->wrap = (struct wrap){.kind = piece->wrap};
		reader->in_at = reader->in_n = 0;
		reader->began = true;
	}
	while (put < n && !ended) {
		if (!step_wrap(reader, piece, &ended))
			return -1;
		put += take_out(reader, bytes + put, n - put);
	}
	if (ended)
		end_piece(reader);
	return (ssize_t)put;
}

/* Up to n bytes; 0 too where a piece had none. */
static ssize_t read_some(struct repair_reader *reader, char *bytes, size_t n)
{
	const struct repair_plan *plan = reader->plan;
	const struct piece *piece = reader->piece < plan->count ? &plan->pieces[reader->piece] : NULL;

	if (reader->out_at < reader->out_n)
		return (ssize_t)take_out(reader, bytes, n);
	if (piece == NULL || (!reader->began && reader->offset < piece->offset))
		return read_stored(
		    reader, bytes, least((piece != NULL ? piece->offset : plan->stored) - reader->offset, n));
	return piece->is_wrap ? read_wrap(reader, piece, bytes, n) : read_text(reader, piece, bytes, n);
}

ssize_t repair_reader_read(struct repair_reader *reader, char *bytes, size_t n)
{
	const struct repair_plan *plan = reader->plan;
	size_t put = 0;

	while (put < n && (reader->out_at < reader->out_n || reader->piece < plan->count ||
			      reader->offset < plan->stored)) {
		ssize_t got = read_some(reader, bytes + put, n - put);
		if (got < 0)
			return -1;
		put += (size_t)got;
	}
	return (ssize_t)put;
}
