#include "spool/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

bool field_wrong(struct field_reader *reader, const char *what)
{
	if (reader->status == FIELDS_GOOD) {
		reader->status = FIELDS_BAD;
		err_set(reader->err, "line %u: %s", reader->line, what);
	}
	return false;
}

static bool next_line(struct field_reader *reader, size_t max, struct str *line)
{
	struct str rest = reader->rest;

	*line = (struct str){"", 0};
	if (reader->status != FIELDS_GOOD)
		return false;
	reader->line++;
	const char *end = memchr(rest.p, '\n', rest.n > max ? max + 1 : rest.n);
	if (end == NULL && rest.n > max)
		return field_wrong(reader, "longer than its field can be");
	if (end == NULL) {
		reader->status = FIELDS_CUT;
		return false;
	}
	*line = (struct str){rest.p, (size_t)(end - rest.p)};
	reader->rest = (struct str){end + 1, rest.n - line->n - 1};
	return true;
}

bool field_line(struct field_reader *reader, const char *want)
{
	struct str line;
	char what[128];

	if (!next_line(reader, strlen(want), &line))
		return false;
	if (str_eq(line, want))
		return true;
	snprintf(what, sizeof what, want[0] == '\0' ? "not the empty line" : "not \"%s\"", want);
	return field_wrong(reader, what);
}

bool field_text(struct field_reader *reader, const char *name, size_t min, size_t max, struct str *value)
{
	size_t prefix = strlen(name) + 2;
	struct str line;
	char what[128];

	*value = (struct str){"", 0};
	if (!next_line(reader, prefix + max, &line))
		return false;
	if (line.n < prefix || memcmp(line.p, name, prefix - 2) != 0 ||
	    memcmp(line.p + prefix - 2, ": ", 2) != 0) {
		snprintf(what, sizeof what, "not the field \"%s\"", name);
		return field_wrong(reader, what);
	}
	struct str found = {line.p + prefix, line.n - prefix};
	if (found.n < min || memchr(found.p, '\r', found.n) != NULL ||
	    memchr(found.p, '\0', found.n) != NULL) {
		snprintf(what, sizeof what, "the field \"%s\" %s", name,
		    found.n < min ? "is empty" : "holds a CR or NUL");
		return field_wrong(reader, what);
	}
	*value = found;
	return true;
}

bool field_string(struct field_reader *reader, const char *name, size_t min, size_t max, char **value)
{
	struct str found;

	*value = NULL;
	if (!field_text(reader, name, min, max, &found))
		return false;
	*value = xstrndup(found.p, found.n);
	return true;
}

bool field_number(struct field_reader *reader, const char *name, uint64_t max, uint64_t *value)
{
	struct str found;
	char what[128];

	*value = 0;
	if (!field_text(reader, name, 1, 20, &found))
		return false;
	if (str_u64(found, max, value))
		return true;
	snprintf(what, sizeof what, "the field \"%s\" is not a number of at most %" PRIu64, name, max);
	return field_wrong(reader, what);
}

int field_end(struct field_reader *reader)
{
	if (reader->status == FIELDS_GOOD && reader->rest.n > 0)
		field_wrong(reader, "more text follows");
	if (reader->status == FIELDS_CUT && reader->err != NULL)
		err_set(reader->err, "line %u: the text ends here", reader->line);
	return reader->status == FIELDS_GOOD ? 0 : -1;
}

void field_put(struct field_writer *writer, const char *bytes, size_t n)
{
	if (n > writer->room - writer->n) {
		writer->room = (writer->n + n) * 2 + 512;
		writer->bytes = xrealloc(writer->bytes, writer->room);
	}
	memcpy(writer->bytes + writer->n, bytes, n);
	writer->n += n;
}

void field_put_text(struct field_writer *writer, const char *name, const char *value)
{
	assert(strpbrk(value, "\r\n") == NULL);
	field_put(writer, name, strlen(name));
	field_put(writer, ": ", 2);
	field_put(writer, value, strlen(value));
	field_put(writer, "\n", 1);
}

void field_put_number(struct field_writer *writer, const char *name, uint64_t value)
{
	char digits[TEXT_NUMBER_SIZE];

	field_put_text(writer, name, text_of_number(digits, value));
}
