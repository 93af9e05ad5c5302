/* The content between DATA and its end, both ways. Pure: bytes in, bytes out, any split of the input gives the
 * same result.
 *
 * Only CRLF.CRLF ends it (RFC 5321 section 4.1.1.4; CVE-2023-51764, -51765, -51766). What comes out has CRLF line
 * ends only: a bare LF becomes CRLF, a bare CR a blank, NUL is dropped; all are counted. A dot is unstuffed only
 * after a true CRLF: behind a bare LF it is content, and is stuffed again on the way out. Of a device whose lines end in LF alone
 * (lf_ends) a dot behind LF is unstuffed as well, and only silence can end what has no CRLF.CRLF: data_may_end. */
#ifndef MFDRELAY_SMTP_DATA_H
#define MFDRELAY_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct data_reader {
	uint8_t state;		/* the reader's own */
	bool lf_ends;		/* set after data_reader_init: LF alone ends this device's lines, see data_may_end */
	bool ended;		/* CRLF.CRLF has been read */
	bool has_8bit;		/* a byte above 127 was in the content */
	uint64_t bare_lf, bare_cr, nul;
	uint64_t bytes;		/* content bytes put out so far */
};

/* Set up for the first byte after the 354 reply; that counts as the start of a line. */
void data_reader_init(struct data_reader *reader);

/* Take up to n bytes of in, put content into out (room bytes, at least 4). Sets *written. Returns how many bytes
 * of in were used: all of them, unless out is full (call again with the rest) or the end was read (reader->ended;
 * the bytes behind are the next command). A last line without CRLF cannot happen: the end brings its CRLF. */
size_t data_read(struct data_reader *reader, const char *in, size_t n, char *out, size_t room, size_t *written);

/* Whether a line of one dot was the last thing read, of a device whose lines end in LF alone: it is put out only when more
 * follows. That may be its end of the message, which only the silence behind it can tell; what the device passes on must not
 * be able to bring it about. */
bool data_may_end(const struct data_reader *reader);

/* Dot-stuffing on the way out (RFC 5321 section 4.5.2). in is stored content: CRLF line ends only. A bare LF, which
 * a damaged file may hold, goes out as CRLF: whatever in is, no CRLF.CRLF and no bare LF come out before the end. */
struct data_stuffer {
	bool in_line;		/* not at the start of a line; zero-initialised it is at the start */
	bool after_cr;
};

/* Put in, stuffed, into out, which has room for 2 * n bytes. Returns the number of bytes put out. */
size_t data_stuff(struct data_stuffer *stuffer, const char *in, size_t n, char *out);

/* The bytes that end it after all content: ".\r\n", or "\r\n.\r\n" where the content did not end with CRLF. */
const char *data_stuff_end(const struct data_stuffer *stuffer);

#endif
