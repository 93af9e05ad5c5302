/* What a text that somebody pastes means: a reply, a log line, an answer of the login host, a message of curl or OpenSSL, a whole
 * report of non-delivery, the name of an entry, or a question. */
#ifndef MFDRELAY_CATALOGUE_EXPLAIN_H
#define MFDRELAY_CATALOGUE_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include "catalogue/catalogue.h"

#define EXPLAIN_MAX	 32	/* causes found in one text; more are left out, and what stands behind a hundred codes */
#define EXPLAIN_TEXT_MAX 400

struct explanation {
	const struct cause *cause;
	bool is_listed;			/* else no row knows it, and it goes by its code alone */
	unsigned from;			/* set of enum speaker (rows.h) who mean this by it; 0: all */
	unsigned phases;		/* set of phases (AT()) in which it means this; 0: all */
	char text[EXPLAIN_TEXT_MAX];	/* what it is read from, one line of visible ASCII, cut to fit */
};

/* Find all that text speaks of, in its order. Returns how many of out (EXPLAIN_MAX of them) are filled; 0: nothing in it is known
 * or even looks like a reply. */
size_t explain(const char *text, struct explanation *out);

/* Whom a set of speakers means, one a call: begin with *set whole, ends with NULL. "Azure Communication Services" */
const char *explain_speaker(unsigned *set);

/* The same for a set of phases: "AUTH with a token". */
const char *explain_phase(unsigned *set);

/* Why the outcome of the cause says nothing: "the relay has done its part" where Microsoft has taken the message, "the relay
 * itself answers so" where it was not accepted. NULL: it does say something. */
const char *catalogue_no_class(const struct cause *cause);

/* Every cause of the catalogue in the order of its tables. told_as is how it is recognised ("5.7.139 \"security defaults policy\"",
 * "AADSTS7000215"), subject the title of its table. All borrowed for the call. */
typedef void catalogue_fn(void *arg, const char *subject, const struct cause *cause, const char *told_as);
void catalogue_each(catalogue_fn *fn, void *arg);

#endif
