/* The identity of a machine: an Azure VM's (IMDS), or that of a server that Azure Arc knows (himds). */
#ifndef MFDRELAY_SENDER_TOKEN_IDENTITY_H
#define MFDRELAY_SENDER_TOKEN_IDENTITY_H

#include "base/err.h"
#include "base/secret.h"

/* Arc's agent asks for the contents of a file that only its group can read, named by its challenge: "Basic realm=PATH". Read it:
 * only what lies in the agent's own folder and ends in .key, as any process of this machine might answer in the agent's place.
 * Returns 0, and the caller frees out; or -1 with err. */
int arc_read_challenge(struct secret *out, const char *challenge, struct err *err);

/* For tests: another folder than /var/opt/azcmagent/tokens. */
extern const char *arc_token_folder;

#endif
