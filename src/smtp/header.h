/* A header of a message (RFC 5322 section 2.2), read as laxly as devices write it: which lines are fields, what their
 * values are, how they are folded. Pure. */
#ifndef MFDRELAY_SMTP_HEADER_H
#define MFDRELAY_SMTP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

#define HEADER_LINE_MAX 998	/* octets of a line without its CRLF (RFC 5322 section 2.1.1) */

enum header_line {
	HEADER_EMPTY,
	HEADER_FOLDED,		/* begins with a blank: the line before goes on */
	HEADER_FIELD,		/* "Name: value"; blanks before the colon are taken */
	HEADER_OTHER,		/* anything else */
};

/* What a line is, given without its CRLF. A name is whatever RFC 5322 section 2.2 allows that begins with a letter: what a device
 * writes into a body ("12:30 door open", "http://...") is none. For a field *name_n is the length of its name and *value where its
 * value begins, behind the colon. */
enum header_line header_classify(struct str line, size_t *name_n, size_t *value);

/* What a field's name says about the lines it stands among. */
#define HEADER_OF_MAIL 1u	/* they are mail's header: fields of RFC 5322 and MIME, "X-..."; not such as an alarm's text may
				   begin with too, "Date: 27.11.2026 13:30" */
#define HEADER_RESUMES 2u	/* no body begins with such a line: the header goes on with it behind a line that is no field */
unsigned header_traits(struct str name);

/* Add value to out as one line, its CRLFs taken out, blanks at both ends trimmed. A line that goes on without the blank it
 * should begin with gets one. */
void header_unfold(struct buf *out, struct str value);

/* Add "Name: value" and CRLF to out, folded before blanks of value so that lines have at most 78 octets where there is
 * a blank to do so. value is unfolded. */
void header_fold(struct buf *out, struct str name, struct str value);

/* The octets of the longest line of text, CRLFs not counted. */
size_t header_longest_line(struct str text);

/* A run of value that is of one kind, as tokens of structured fields are (RFC 5322 section 3.2). */
enum header_run {
	RUN_END,
	RUN_TEXT,		/* anything but the others, blanks included */
	RUN_QUOTED,		/* "..." */
	RUN_COMMENT,		/* (...), nested */
	RUN_ANGLE,		/* <...> */
	RUN_SEPARATOR,		/* one of , ; : */
};

/* Take the next run from *rest. Where an end is missing the run goes to the end of the value, *open (may be NULL) then
 * is true. */
enum header_run header_next_run(struct str *rest, struct str *run, bool *open);

/* The next "; attribute=value" of a Content-Type or Content-Disposition. *rest begins as the whole unfolded value. */
struct header_param {
	struct str name;
	struct str value;	/* without its quotes; with the backslashes of a quoted one */
	bool quoted;
	const char *begin, *end; /* where it stands, name to value's end */
};

bool header_next_param(struct str *rest, struct header_param *param);

/* The value of one parameter into out (size bytes, a C string, backslashes resolved, a comment behind it left out). False when
 * there is none, or it does not fit. */
bool header_param(struct str value, const char *name, char *out, size_t size);

/* "text/plain" of a Content-Type's unfolded value. */
struct str header_media_type(struct str value);

/* Read a date-time (RFC 5322 section 3.3) strictly: four digits of year, a zone of four digits or one of the names of
 * RFC 822 that are more than one letter. A wrong day of the week is not minded. False where it is none. */
bool header_date(struct str value, int64_t *wall_ms);

#endif
