/* One command line of a device, as values (RFC 5321 section 4.1.1). Lax as devices.md section 3 asks; the lines
 * come without their line end. */
#ifndef MFDRELAY_SMTP_COMMAND_H
#define MFDRELAY_SMTP_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"
#include "smtp/address.h"

/* A line in two parts: "  mail FROM:<a@b> SIZE=3 " is verb "mail", args "FROM:<a@b> SIZE=3". An empty line has
 * an empty verb. Both point into line. */
struct command {
	struct str verb;
	struct str args;
};

struct command command_split(struct str line);

/* line without what may stand around it: blanks; the NUL of a device that sends its strings with their end, which comes
 * before the next line; the CR of a line that ends in CRCRLF. Inside a line none of them is dropped. */
struct str command_trim(struct str line);

/* What MAIL FROM carries. */
struct mail_args {
	struct address sender;	/* text "" for the null reverse-path "<>", and for "<@>" */
	bool has_size;		/* a SIZE= that is a number (RFC 1870) */
	uint64_t size;		/* octets, as announced */
};

enum args_result {
	ARGS_OK,
	ARGS_SYNTAX,		/* no FROM:/TO:, or nothing that could be a path */
	ARGS_ADDRESS,		/* a path that holds no usable address */
	ARGS_NOT_ASCII,		/* the same, and there is an octet above 127 in it: an address that needs SMTPUTF8 (RFC 6531) */
	ARGS_TOO_MANY,		/* more addresses than fit */
	ARGS_RELAYED,		/* '%' or '!' in the local part: an address that asks for relaying */
};

/* Parse the args of MAIL. Any blanks around the colon, missing brackets, a display name or comment beside the
 * address, doubled brackets and a source route ("@a,@b:") are read as the address they hold; two addresses where
 * one belongs are ARGS_ADDRESS. Parameters that are unknown or not offered (BODY, AUTH, RET, ENVID, ...) are
 * ignored, a SIZE that is not a number too. A sender without a domain ("root") is taken as it is. On anything but
 * ARGS_OK *out is not to be used. */
enum args_result command_mail(struct str args, struct mail_args *out);

/* Parse the args of RCPT into up to max addresses (some devices put several into one command, separated by ','
 * or ';'; empty items are skipped). Every address has a domain, but for "postmaster" in any case (RFC 5321 section
 * 4.5.1); the empty path and any other address without a domain are ARGS_ADDRESS. All or nothing: on anything but
 * ARGS_OK nothing in out is to be used, and *count is of no meaning. */
enum args_result command_rcpt(struct str args, struct address *out, size_t max, size_t *count);

#endif
