/* The client assertion: a JWT (RFC 7519) by which an app registration proves itself to the login host with a certificate in
 * place of a secret (RFC 7523; Microsoft: certificate-credentials). Pure but for the randomness of its id and of PSS. */
#ifndef MFDRELAY_SENDER_ASSERTION_H
#define MFDRELAY_SENDER_ASSERTION_H

#include <stdint.h>
#include "base/err.h"
#include "base/secret.h"
#include "config/config.h"

struct key_pair;

#define ASSERTION_LIFETIME_S 600	/* Microsoft advises 5 to 10 minutes */

struct assertion {
	const struct key_pair *pair;	/* RSA, of 2048 bits or more */
	enum assertion_alg alg;
	const char *audience;		/* the token endpoint's URL */
	const char *client_id;
	int64_t now_s;			/* since 1970 */
};

/* Make it: signed, and the signature verified with the certificate, so that what leaves is what the login host can accept.
 * Returns 0, and the caller frees out with secret_free; or -1 with err. Takes as long as the key takes to sign: see
 * sender/signer.h. */
int assertion_make(struct secret *out, const struct assertion *what, struct err *err);

#endif
