/* The Received header that the relay puts on top of a message (RFC 5321 section 4.4), and the count of
 * those that a message brings along. Pure. */
#ifndef MFDRELAY_LISTENER_TRACE_H
#define MFDRELAY_LISTENER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

#define TRACE_MAX 1024		/* octets of the header, more than any has */
#define TRACE_RECEIVED_MAX 25	/* Received headers of a message; more is a loop */

struct trace {
	const char *helo;	/* as the device said it, anything; "" is shown as "unknown" */
	const char *peer;	/* its address in text */
	const char *hostname;	/* ours */
	const char *protocol;	/* "SMTP", "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA" (RFC 3848) */
	const char *tls_version, *tls_cipher;	/* shown as a comment; NULL: plain text */
	const char *id;
	int64_t wall_ms;
};

/* Write the header, folded, with its CRLF, into dst (TRACE_MAX + 1 bytes). Returns its length. What could
 * end a header's line, open a comment or quote in helo becomes '?'; it is cut at 255. */
size_t trace_received(char *dst, const struct trace *trace);

/* Counts Received headers in content as it streams by, up to the empty line. Any split gives the same result.
 * Begins as {0}. */
struct trace_scan {
	bool over;		/* the header part has ended */
	bool other;		/* this line is no Received header */
	uint8_t at;		/* octets of this line that are read and fit */
	unsigned received;
};

void trace_scan(struct trace_scan *scan, const char *bytes, size_t n);

#endif
