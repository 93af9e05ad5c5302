/* The answers of the device code grant (RFC 8628; Microsoft: v2-oauth2-device-code), read. Pure. */
#ifndef MFDRELAY_SENDER_DEVICE_ANSWER_H
#define MFDRELAY_SENDER_DEVICE_ANSWER_H

#include "base/secret.h"
#include "catalogue/catalogue.h"

struct device_code {
	struct secret code;		/* what is polled with */
	char user_code[64];		/* what the person types, */
	char url[256];			/* and where */
	long interval_s, expires_s;
};

/* The answer to the request for a code. Returns 0, and the caller frees out->code; or -1 with why. */
int device_read_code(int status, struct str body, struct device_code *out, struct failure *why);

/* The answer to a poll, where it is no token: the person has not signed in yet, that and ask less often, or it has failed. */
enum device_poll { DEVICE_PENDING, DEVICE_SLOWER, DEVICE_FAILED };
enum device_poll device_read_poll(struct str body);

#endif
