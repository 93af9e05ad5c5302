/* Which of an upstream's two credentials is used: the first, or, once that was refused, the next, until the first's files have
 * changed. */
#ifndef MFDRELAY_SENDER_CREDENTIAL_H
#define MFDRELAY_SENDER_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>
#include "config/config.h"

struct credential_choice {
	const struct oauth_config *oauth;
	bool on_next;
	uint64_t refused_stamp;		/* of the first's files when it was refused */
};

/* The one to use now. Looks at the first's files when it is not the first: once they have changed, it is the first again. */
const struct app_credential *credential_choose(struct credential_choice *choice);

/* The one that credential_choose gave was refused: turn to the other. Returns it, or NULL where there is no other. */
const struct app_credential *credential_turn(struct credential_choice *choice);

#endif
