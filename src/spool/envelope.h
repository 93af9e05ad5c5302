/* The envelope of a queued message: who sent it, to whom, and how it came in. Text, a field a line, versioned; it is
 * the head of queue/<id>, ended by an empty line, and the content follows. Written once, never changed. A later
 * version of mfdrelay reads every earlier one's. */
#ifndef MFDRELAY_SPOOL_ENVELOPE_H
#define MFDRELAY_SPOOL_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define ENVELOPE_MAX (4u * 1024 * 1024)	/* octets; 10,000 recipients of 320 and the rest */
#define ENVELOPE_RECIPIENTS_MAX 10000
#define SPOOL_ID_MAX 24			/* characters of an id, more than any has */

struct envelope {
	char id[SPOOL_ID_MAX + 1];
	int64_t accepted_ms;		/* wall clock, when DATA began */
	bool is_report;			/* a non-delivery report of our own */
	char *device;			/* the device entry's name; "" for a report */
	char *peer;			/* the address it came from, "" for a report */
	char *helo;			/* printable ASCII only (others made '?' by the listener), may be "" */
	char *user;			/* the login used, or "" */
	char *listener;			/* what it came in by, as listen_name() has it; "" for a report, or where it is not known */
	char *sender;			/* reverse-path; "" is the null one */
	char **recipients;
	size_t recipient_count;		/* 1 to ENVELOPE_RECIPIENTS_MAX */
	bool has_8bit;			/* known only when the content has ended: a field of fixed width */
	uint64_t content_bytes;		/* likewise; guards against a cut file */
};

/* Write envelope as text. Returns a malloc'ed string with its length in *n; *tail_offset is where the fields of fixed
 * width (has_8bit and content_bytes, always the same length) begin, so that they can be written again in place with
 * envelope_format_tail. Every text field is free of CR, LF and NUL: that is the caller's duty, and asserted. */
#define ENVELOPE_TAIL_BYTES 48
char *envelope_format(const struct envelope *envelope, size_t *n, size_t *tail_offset);
void envelope_format_tail(char out[ENVELOPE_TAIL_BYTES], bool has_8bit, uint64_t content_bytes);

/* Parse a text that begins with an envelope, strictly: version, every field once and in order, known fields only,
 * lengths within their limits. text may go on with content, or be cut within the envelope. Returns 0 with *out filled
 * (the caller frees with envelope_free) and *n the envelope's length with its empty line; 1 when text ends too early;
 * -1 with err when it is damaged or of an unknown version. */
int envelope_parse(struct str text, struct envelope *out, size_t *n, struct err *err);

/* Free the fields; the struct is empty after it. Fine on an empty one. */
void envelope_free(struct envelope *envelope);

#endif
