/* What an access token says of itself: the payload of a JWT (RFC 7519), read without a look at its signature. That is enough
 * to tell an admin what was asked for and given; nothing is decided by it. */
#ifndef MFDRELAY_ONLINE_CLAIMS_H
#define MFDRELAY_ONLINE_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

struct claims {
	char audience[160];	/* aud */
	char tenant[64];	/* tid */
	char app[64];		/* appid, or azp */
	char user[320];		/* upn, or unique_name: a token in a person's name; "" in the app's own */
	char roles[512];	/* roles, or the scopes of a token in a person's name: joined by blanks */
	int64_t expires_s;	/* exp, wall clock; 0: not said */
};

/* Returns false with *out empty where token is no JWT: tokens may be of any form. What is too long is cut, and what
 * is not visible ASCII becomes '?'. */
bool claims_read(struct str token, struct claims *out);

/* Whether role is one of its roles or scopes. */
bool claims_have(const struct claims *claims, const char *role);

#endif
