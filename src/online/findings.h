/* What a check of one upstream has found: a list of steps, of which each is proved, failed, or was not tried. */
#ifndef MFDRELAY_ONLINE_FINDINGS_H
#define MFDRELAY_ONLINE_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "catalogue/catalogue.h"

struct upstream_config;

enum step_status {
	STEP_NOT_TRIED,		/* an earlier one failed */
	STEP_LEFT_OUT,		/* there was nothing to try it with: text says what */
	STEP_PROVED,
	STEP_WARNING,		/* proved, but advice says what somebody should look at */
	STEP_FAILED,
};

#define STEP_TEXT_MAX 700

/* Steps that no client takes. */
#define STEP_EXPIRY (-1)
#define STEP_SPF (-2)

struct step {
	const char *name;	/* stable: "dns", "tcp", ...; static */
	int kind;		/* enum client_step, or one of those below */
	enum step_status status;
	int64_t ms;		/* how long it took; where it was tried */
	char text[STEP_TEXT_MAX];	/* what was proved or tried, one line; may hold the upstream's words */
	char advice[STEP_TEXT_MAX];	/* STEP_WARNING */
	struct failure why;	/* STEP_FAILED */
	json_t *facts;		/* an object: the same as values */
};

struct findings {
	const struct upstream_config *upstream;
	const char *mailbox;	/* of upstream->mailboxes; NULL: it has no such list */
	struct step *steps;
	size_t count;
};

/* Add a step, not tried yet. Borrowed until the next one is added. */
struct step *findings_add(struct findings *findings, const char *name, int kind);

/* The first step of that kind which has not been tried, or NULL. */
struct step *findings_next(struct findings *findings, int kind);

void step_fail(struct step *step, const struct failure *why);

/* Proved, with a warning. */
void step_warn(struct step *step, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether no step has failed. */
bool findings_good(const struct findings *findings);

void findings_free(struct findings *findings);	/* empty after it */

#endif
