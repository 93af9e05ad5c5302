/* What is wrong with old devices' messages, put right as they go out; the stored message stays as it is. Pure: no I/O, no
 * clock, no log; what it allocates is a few MiB at most and does not follow the message's size. The same facts and content give
 * the same bytes at every attempt, and what has been repaired needs no repair.
 *
 * First the stored content is fed to a scan, once, in order, in pieces of any size; that gives a plan: what to put in
 * and take out where, and which lines to break. Then a reader, as often as wanted, gives the repaired bytes. A plan that
 * is empty means that the content goes out byte for byte.
 *
 * A repair that is wrong is worse than none: what is not clearly one of the things below is left alone. So is a message
 * that is signed (DKIM, S/MIME), whole; and one whose header is over 256 KiB or 1,000 fields, which is not to go out where an
 * identity is asked for (repair_plan_lacks_identity). */
#ifndef MFDRELAY_SMTP_REPAIR_H
#define MFDRELAY_SMTP_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/str.h"

/* All strings are borrowed until the scan has ended. */
struct repair_facts {
	const char *id;			/* the queue id: Message-ID, and how our own trace header is known */
	const char *hostname;
	int64_t accepted_ms;		/* what dates are judged against */
	const char *sender;		/* for a missing or useless From; NULL, or without a domain: it stays so */
	const char *recipient;		/* the only recipient of the whole message; NULL where there are more */
	const char *subject;		/* for a missing or blank one, UTF-8; NULL: it stays so */
	const char *charset;		/* of raw header bytes that are not UTF-8; NULL: windows-1252 */

	/* Convert in (n bytes in charset) into UTF-8 in out (room bytes); returns the length, 0 where it cannot. For
	 * charsets other than those of words.h. May be NULL. */
	size_t (*to_utf8)(void *arg, const char *charset, const char *in, size_t n, char *out, size_t room);

	bool repairs;			/* false: only the identity below is applied */

	/* The identity, whatever repairs says, for every message but signed ones and those of repair_plan_lacks_identity. Who
	 * From shall name, given the address it names now ("": nobody, or several): that very pointer where it stays, "" where
	 * there is none to put in. The text is borrowed until the scan has ended. NULL: From stays. */
	const char *(*from)(void *arg, const char *address);
	const char *from_name;		/* display name of a From that does not stay, UTF-8; NULL: as it was */
	bool keep_reply_to;		/* the old From becomes Reply-To where there is none, and an answer can come to it */

	void *arg;			/* for both callbacks */
};

struct repair_scan;
struct repair_plan;
struct repair_reader;

/* facts is borrowed until repair_scan_end. */
struct repair_scan *repair_scan_new(const struct repair_facts *facts);
void repair_scan_feed(struct repair_scan *scan, const char *bytes, size_t n);

/* Whether what follows changes nothing in the plan any more, as where the message is signed: the rest need not be fed, its
 * n bytes can be skipped. */
bool repair_scan_is_decided(const struct repair_scan *scan);
void repair_scan_skip(struct repair_scan *scan, uint64_t n);

/* All content has been fed, or skipped: the plan, the caller's; scan is freed. */
struct repair_plan *repair_scan_end(struct repair_scan *scan);

/* Give a scan up before its end. NULL is fine. */
void repair_scan_free(struct repair_scan *scan);

/* Byte for byte as stored. */
bool repair_plan_is_empty(const struct repair_plan *plan);

/* The octets of the repaired content, exactly. */
uint64_t repair_plan_bytes(const struct repair_plan *plan);

/* What is repaired, for one log line: "date,message-id,from"; "" where nothing is. Borrowed from plan. The names:
 *   no-header    there was no header at all        blank-line    between header and body it was missing
 *   folding      lines wrongly continued           colon         blanks around a field's colon
 *   from date message-id to subject                missing, blank, useless, out of range, too long
 *   reply-to     dropped: it was blank
 *   identity     From as facts.from says           duplicate     the second of what may be once: X-Dup-...
 *   bcc return-path content-length mailbox-line    dropped (the last: "From a@b Fri Nov 27 ..." before the header)
 *   8bit         raw bytes in headers encoded      charset       a label that servers refuse
 *   boundary     put into quotes                   end-boundary  the closing one was missing
 *   long-header long-base64 long-quoted long-text  lines over 998 octets broken */
const char *repair_plan_names(const struct repair_plan *plan);

/* What was seen and left alone, likewise: signed, and identity with it where From would not have stayed; header-size (too
 * much of it to read), message-partial (a piece of a message that was split by size: switch that off at the device), from
 * (none, and no sender to put in), long-header and long-lines (over 998 octets, and no safe way to break them), limit
 * (more to repair than a plan holds), cut (it ends within a line of a header: a damaged file). */
const char *repair_plan_left(const struct repair_plan *plan);

/* Whether facts.from was given and From could not be held to it, as the header is too much to read, cut, or more is wrong with it
 * than a plan holds: the message is not to go out. Never so for a signed one. */
bool repair_plan_lacks_identity(const struct repair_plan *plan);

void repair_plan_free(struct repair_plan *plan);

/* Reads stored content at an offset: the number of bytes, 0 at the end, -1 with errno. */
typedef ssize_t repair_read_fn(void *arg, uint64_t offset, void *bytes, size_t n);

/* A reader at the start of the repaired content. plan is borrowed for the reader's life. */
struct repair_reader *repair_reader_new(const struct repair_plan *plan, repair_read_fn *read, void *arg);

/* The next bytes: up to n, 0 at the end, -1 with errno (EIO where the content is shorter than what was scanned). */
ssize_t repair_reader_read(struct repair_reader *reader, char *bytes, size_t n);

/* Back to the start. */
void repair_reader_rewind(struct repair_reader *reader);

void repair_reader_free(struct repair_reader *reader);

#endif
