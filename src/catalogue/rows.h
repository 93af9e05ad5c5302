/* The catalogue's tables, for match.c and the tests: one row a case. */
#ifndef MFDRELAY_CATALOGUE_ROWS_H
#define MFDRELAY_CATALOGUE_ROWS_H

#include "catalogue/catalogue.h"

#define PROBE_S		600	/* C: ten minutes from one look at a held road to the next */
#define RARE_PROBE_S	3600	/* C: each look may bring an account nearer to being locked */
#define HOUR_S		3600
#define AT(phase)	(1u << (phase))
#define BEFORE_MAIL	(AT(PHASE_BANNER) | AT(PHASE_EHLO) | AT(PHASE_STARTTLS) | LOGIN)
#define LOGIN		(AT(PHASE_AUTH) | AT(PHASE_PASSWORD))

/* Who speaks, as far as the meaning hangs on it. */
#define FROM(kind)	(1u << (kind))

/* What a reply must have. All zero: no match. Alternatives inside a pattern are separated by '|'. */
struct reply_match {
	int code;		/* an exact code; 4 or 5: any of that class; 0: any */
	unsigned from;		/* FROM() of the kinds of upstream it is for; 0: all */
	unsigned phases;	/* AT() of the phases it is for; 0: all */
	const char *enhanced;	/* "5.7.139", "5.7.606-649"; NULL: any, or none */
	const char *fragment;	/* lower case, no apostrophes (they come straight and curly); NULL: any text */
};

#define REPLY_MATCHES 4

/* A case, and the forms in which it is told. The first row with a form that fits decides, so what is specific stands above what
 * is general. A row that ends a message (N, P) never fits a 4xx: a server that says "try again" is taken at its word. Where 4xx
 * and a 5.x.x stand together in a C row, nothing is lost by believing the enhanced code. */
struct reply_row {
	struct reply_match matches[REPLY_MATCHES];
	struct cause cause;
};

/* The last three fit whatever none above does. */
extern const struct reply_row reply_rows[];
extern const size_t reply_row_count;

/* What is not a reply, by enum road_trouble. */
extern const struct cause trouble_causes[];

#define LOGIN_NUMBERS 8

/* An answer of the login host. Its error decides T or C, the AADSTS number which words are said. */
struct login_row {
	long numbers[LOGIN_NUMBERS];	/* AADSTS; 0 ends */
	struct cause cause;
};

extern const struct login_row login_rows[];
extern const size_t login_row_count;
extern const struct cause login_busy, login_refused;

#endif
