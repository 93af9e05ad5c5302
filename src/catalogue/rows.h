/* The catalogue's tables, for this folder and its tests: one row a case. */
#ifndef MFDRELAY_CATALOGUE_ROWS_H
#define MFDRELAY_CATALOGUE_ROWS_H

#include <stddef.h>
#include "catalogue/catalogue.h"

/* struct hold, named. */
#define BY_RETRY             {.first_s = 0}
#define PROBE                {.first_s = 600, .growth = 1, .max_s = 600}  /* a look every ten minutes: somebody may have mended it */
#define RARE_PROBE           {.first_s = 3600, .growth = 1, .max_s = 3600}  /* each look may bring an account nearer to being locked */
#define SOON_THEN_PROBE      {.first_s = 60, .growth = 10, .max_s = 600}
#define MINUTES_THEN_PROBE   {.first_s = 120, .growth = 2, .max_s = 600}
#define PACE(seconds)        {.first_s = (seconds), .growth = 2, .max_s = 300}  /* a mailbox's pace: Microsoft counts by the minute */
#define FIVE_MINUTES         {.first_s = 300, .growth = 1, .max_s = 300}
#define QUARTER_HOURS        {.first_s = 900, .growth = 2, .max_s = 21600}
#define MINUTE_QUARTER_HOUR  {.first_s = 60, .growth = 15, .max_s = 3600}  /* a minute, a quarter of an hour, an hour */
#define HOURLY               {.first_s = 3600, .growth = 1, .max_s = 3600}  /* the window slides */
#define HOURS                {.first_s = 3600, .growth = 2, .max_s = 21600, .own_max = true}  /* Microsoft has blocked the mailbox */
#define HOURLY_FOR_RECIPIENT {.first_s = 3600, .growth = 1, .max_s = 3600, .of_recipient = true}
#define PACE_OF_RECIPIENT(seconds) {.first_s = (seconds), .growth = 2, .max_s = 3600, .of_recipient = true}
#define REST_FOLLOWS         {.first_s = REST_AT_ONCE}
#define HALVES               {.first_s = IN_HALVES}

/* Sets of phases, and of troubles. */
#define AT(phase)	(1u << (phase))
#define ANY_TEXT	(1u << 31)
#define LOGIN		(AT(PHASE_AUTH) | AT(PHASE_PASSWORD))
#define BEFORE_MAIL	(AT(PHASE_BANNER) | AT(PHASE_EHLO) | AT(PHASE_STARTTLS) | LOGIN)
#define PHASES		(PHASE_CONTENT + 1)

/* Sets of those who speak, as far as the meaning hangs on it. */
enum speaker { SUBMISSION = 1, HVE = 2, MX = 4, ACS = 8, OTHER = 16, ANYBODY = 31 };

/* What a reply must have. All zero: no match. Alternatives inside a pattern are separated by '|'. */
struct reply_match {
	int code;		/* an exact code; 4 or 5: any of that class; 0: any */
	unsigned from;		/* set of speakers; 0: all */
	unsigned phases;	/* set of phases; 0: all */
	const char *enhanced;	/* "5.7.139", "5.7.606-649"; NULL: any, or none */
	const char *fragment;	/* lower case, no apostrophes (they come straight and curly); "!x": the text has no x; NULL:
				   any text */
};

#define REPLY_MATCHES 4

/* A case, and the forms in which it is told. The first row with a form that fits decides, so what is specific stands above what
 * is general. A row that ends a message (N, P) never fits a 4xx: a server that says "try again" is taken at its word. Where 4xx
 * and a 5.x.x stand together in a C row, nothing is lost by believing the enhanced code. */
struct reply_row {
	struct reply_match matches[REPLY_MATCHES];
	struct cause cause;
};

struct reply_table {
	const char *title;
	const struct reply_row *rows;
	size_t count;
};

/* Tried in this order. The last three rows of the last fit whatever none above does. */
#define REPLY_TABLES 4
extern const struct reply_table auth_replies, limit_replies, graph_replies, mail_replies;
extern const struct reply_table *const reply_tables[REPLY_TABLES];

/* What is not a reply. The first row of the trouble decides whose fragment the text holds, compared in lower case. */
struct trouble_row {
	unsigned troubles;	/* AT() of enum road_trouble, and ANY_TEXT: met with the trouble, any text will do */
	const char *fragment;	/* as above; NULL: any text */
	struct cause cause;
};

extern const struct trouble_row trouble_rows[];
extern const size_t trouble_row_count;

/* What looks like the trouble of one message and is the configuration's where all mail meets it. */
struct shared_row {
	const char *name;	/* of the cause that it is for one message: class P or T */
	struct cause cause;	/* class C */
};

extern const struct shared_row shared_rows[];
extern const size_t shared_row_count;

#define LOGIN_NUMBERS 8

/* An answer of the login host. */
struct login_row {
	long numbers[LOGIN_NUMBERS];	/* AADSTS; 0 ends */
	const char *error;		/* whose "error" without a known number is this; "": any; NULL: none */
	struct cause cause;
};

extern const struct login_row login_rows[];
extern const size_t login_row_count;

#endif
