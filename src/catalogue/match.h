/* Which row of the tables fits. For this folder: the sender has failure_from_*() of catalogue.h. */
#ifndef MFDRELAY_CATALOGUE_MATCH_H
#define MFDRELAY_CATALOGUE_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include "catalogue/rows.h"

#define ENHANCED_ROOM 16

/* What is known of a reply. */
struct said {
	int code;		/* 400 to 599 */
	unsigned from, phase;	/* one bit each: enum speaker, AT() */
	const char *enhanced;	/* or "" */
	const char *text;	/* as comparable() makes it */
};

/* Never NULL. */
const struct reply_row *match_reply(const struct said *said);

/* Whether the row is one of those that go by the code alone. */
bool match_is_unlisted(const struct reply_row *row);

/* NULL: no row with one of these troubles (AT()) has a fragment, or with any_text the lack of one, that fits. */
const struct cause *match_trouble(unsigned troubles, const char *text, bool any_text);

/* By the AADSTS number (0: none) and the word in "error" ("": none); is_known tells whether either is in the table. Never
 * NULL. */
const struct cause *match_login(const char *error, long aadsts, bool *is_known);

/* Whether one of the patterns ("a|b", "!a", NULL: any) fits the text. */
bool match_fragment(const char *patterns, const char *text);

/* text in lower case on one line, without the "[HOST date id]" that Exchange appends. dst has size bytes. */
void comparable(char *dst, size_t size, const char *text);

/* The length of the code of a refusal that s begins with ("5.7.139"), and that no letter, digit or '.' follows; 0: none. */
size_t enhanced_length(const char *s);

/* The code that counts of a reply with this one of its own ("": none): a 5.7.139 anywhere in the text goes first, because
 * clients and servers glue it behind a 5.7.57; then its own; then one of another class than the reply's (451 5.7.3, 550 4.4.4),
 * which stands at the start of a line of the text. */
void pick_enhanced(char dst[ENHANCED_ROOM], const char *own, const char *text);

#endif
