/* Mail addresses as devices write them and as the relay writes them (RFC 5321 sections 4.1.2 and 4.5.3.1). */
#ifndef MFDRELAY_SMTP_ADDRESS_H
#define MFDRELAY_SMTP_ADDRESS_H

#include <stdbool.h>
#include "base/str.h"

#define ADDRESS_MAX 320		/* octets: local part 64 and domain 255 (RFC 5321 4.5.3.1.1-2), with the @ */

/* One address, parsed once and written again from its parts; the raw text of the peer is never passed on.
 * text holds no CR, LF, NUL, blank, '<' or '>' outside a quoted local part, and none of CR LF NUL at all. */
struct address {
	char text[ADDRESS_MAX + 1];	/* "local@domain", "local" where no domain was given, "" for the null path */
	size_t at;			/* offset of the '@' that parts them; strlen(text) where there is no domain */
};

/* Parse one address without its brackets: "a@b", "a.@b", "root", "\"x y\"@b", "x@[10.0.0.5]". Lax as devices.md
 * section 3.2 asks: blanks around it and a trailing dot of the domain are dropped; local parts may begin or end
 * with a dot; an empty domain ("root@") is as none. Quotes that the local part does not need are dropped. The
 * domain holds letters, digits, '-', '_', '.' and no empty label, or is an address literal; control characters
 * and bytes above 127 are refused. Returns false, *out empty, on anything else, on an empty text, and beyond
 * ADDRESS_MAX. */
bool address_parse(struct str text, struct address *out);

/* The domain of a, or "" ; points into a. */
const char *address_domain(const struct address *a);

/* Whether text, written as address_parse writes, is the mailbox of a: case counts in the local part alone. */
bool address_is(const struct address *a, const char *text);

/* Whether no answer can ever come to address, as to "root", "x@localhost", "x@[10.0.0.5]" and "x.@domain". Devices write them, and
 * Exchange Online refuses them. */
bool address_is_useless(const char *address);

/* Whether text ("local@domain") matches pattern as a route or device entry gives it: "*" for anything,
 * "*@domain" or "local@domain"; '*' stands for any run of characters anywhere. ASCII case is ignored. Takes time
 * linear in the product of both lengths at the worst, never more. */
bool address_matches(const char *text, const char *pattern);

/* Whether it matches one of n patterns, or there are none: a list that the config does not give lets in all. */
bool address_matches_any(const char *text, char *const *patterns, size_t n);

#endif
