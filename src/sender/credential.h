/* Which of an upstream's two credentials is used: the first, or, once that was refused, the next, until there is reason to try the
 * first again. A state machine without I/O but for a look at the files. */
#ifndef MFDRELAY_SENDER_CREDENTIAL_H
#define MFDRELAY_SENDER_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>
#include "catalogue/catalogue.h"
#include "config/config.h"

/* Starts as zeros but for oauth, which is borrowed. */
struct credential_choice {
	const struct oauth_config *oauth;
	bool on_next;			/* oauth.next is used, or tried */
	bool turned;			/* it is the second that is tried in one go */
	bool first_again;		/* the first is tried again, whatever its files */
	uint64_t first_stamp;		/* of the first's files before they were last read */
	struct failure first_why, next_why;	/* why each was last refused; cause NULL: it was not since it last worked */
};

/* A go begins: the one to try. That is the one used so far; or the first again, where one of its files has changed since before it
 * was read for the try that was refused, or credential_try_first was called. */
const struct app_credential *credential_choose(struct credential_choice *choice);

/* The one that is tried was refused, or its own file can't be used. Returns the other, to be tried in the same go; or NULL: there
 * is none, or it was tried before. Then the one that the go began with is kept to, and *why becomes why that was refused. */
const struct app_credential *credential_refused(struct credential_choice *choice, struct failure *why);

/* The one that is tried works. */
void credential_accepted(struct credential_choice *choice);

/* An admin may have done what the first's refusal asks for, which need not change a file of it. */
void credential_try_first(struct credential_choice *choice);

/* Why the first was refused, while the next is used in its place; else NULL (borrowed). */
const struct failure *credential_first_refused(const struct credential_choice *choice);

/* The one that is used or tried, by its name in the config. */
const char *credential_name(const struct credential_choice *choice);

#endif
