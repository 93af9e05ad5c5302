/* Text of "name: value" lines, each ended by LF: how envelope, state and quota are written. The reader is strict: it is asked for
 * one field after the other, and takes nothing else. */
#ifndef MFDRELAY_SPOOL_FIELDS_H
#define MFDRELAY_SPOOL_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

enum fields_status { FIELDS_GOOD, FIELDS_CUT, FIELDS_BAD };

/* The first failure stays: what is asked for after it is not read, and comes back empty. */
struct field_reader {
	struct str rest;	/* not read yet */
	unsigned line;		/* lines read so far, for the error */
	enum fields_status status;
	struct err *err;	/* what is wrong when FIELDS_BAD; may be NULL */
};

/* Note that the line read last is wrong. Returns false. */
bool field_wrong(struct field_reader *reader, const char *what);

/* The next line must be exactly this. */
bool field_line(struct field_reader *reader, const char *want);

/* The next line must be "name: value", value of min to max bytes without CR and NUL; *value points into the text. */
bool field_text(struct field_reader *reader, const char *name, size_t min, size_t max, struct str *value);

/* The same, copied: *value is malloc'ed, and NULL on failure. */
bool field_string(struct field_reader *reader, const char *name, size_t min, size_t max, char **value);

/* The next line must be "name: number", decimal and at most max. */
bool field_number(struct field_reader *reader, const char *name, uint64_t max, uint64_t *value);

/* Everything has been asked for. Returns 0 when all of it was there and nothing follows; else -1, err saying what is wrong. */
int field_end(struct field_reader *reader);

/* A text that grows. Zeroed at the start; bytes is malloc'ed and the caller's. */
struct field_writer {
	char *bytes;
	size_t n, room;
};

void field_put(struct field_writer *writer, const char *bytes, size_t n);
void field_put_text(struct field_writer *writer, const char *name, const char *value);	/* no CR, LF in value: asserted */
void field_put_number(struct field_writer *writer, const char *name, uint64_t value);

#endif
