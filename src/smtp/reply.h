/* Replies of an upstream (RFC 5321 section 4.2, RFC 2034/3463) and what its EHLO offers. Everything in them is
 * hostile: lengths, lines and codes are bounded, and a reply that breaks a rule is garbage, never a guess. */
#ifndef MFDRELAY_SMTP_REPLY_H
#define MFDRELAY_SMTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

#define REPLY_LINE_MAX 4096	/* octets without the line end; RFC 5321 4.5.3.1.5 says 512, Exchange goes beyond */
#define REPLY_LINES_MAX 128
#define REPLY_TEXT_MAX 2048	/* what is kept of a reply's text; more is read and dropped */

struct reply {
	int code;			/* 200 to 599; 0 while nothing has been read */
	char enhanced[12];		/* "5.7.139" of the last line that has one that fits the code's class; or "" */
	char text[REPLY_TEXT_MAX];	/* the lines' texts without codes and enhanced codes, joined by '\n'; cut, never
					   overflown; control characters and bytes above 126 become '?' */
	unsigned lines;
};

enum reply_result { REPLY_MORE, REPLY_DONE, REPLY_GARBAGE };

/* As it began: {0} but for what is not read. */
void reply_clear(struct reply *reply);

/* Feed one line, without its line end, to a reply that began as {0}. REPLY_DONE: it is complete. REPLY_GARBAGE:
 * not three digits and '-', ' ' or nothing; a code outside 200-599 or one that differs from the first line's; too
 * long a line; too many lines; an LF inside the line. */
enum reply_result reply_feed(struct reply *reply, struct str line);

/* The length of the status code that s begins with, "5.7.139" (RFC 3463 section 2); 0: none. What may stand behind it is the
 * caller's to say. */
size_t reply_status_length(struct str s);

/* "535 5.7.3 Authentication unsuccessful [..]" on one line into dst, '\n' shown as a blank, cut to
 * fit; "" while nothing has been read. Returns dst. */
const char *reply_format(char *dst, size_t size, const struct reply *reply);

struct ehlo {
	bool starttls, pipelining, chunking, eightbitmime, dsn, smtputf8, enhanced_status_codes;
	bool auth_login, auth_plain, auth_xoauth2;
	bool has_size;		/* SIZE was offered */
	uint64_t size;		/* its value; 0: no fixed limit (RFC 1870) */
};

/* Read what a 250 reply to EHLO offers. Keywords in any case; both "AUTH X" and "AUTH=X" are read; unknown ones
 * are ignored. */
void ehlo_parse(const struct reply *reply, struct ehlo *out);

#endif
