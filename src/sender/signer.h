/* Makes client assertions off the loop: a key in a TPM takes a tenth of a second and more to sign, one in a file
 * milliseconds. */
#ifndef MFDRELAY_SENDER_SIGNER_H
#define MFDRELAY_SENDER_SIGNER_H

#include "base/secret.h"

struct app_credential;
struct signer;
struct signing;
struct task_pool;

struct signer *signer_new(struct task_pool *tasks);	/* borrowed */

/* Load now what the sandbox would refuse later: the key of a provider's URI (net/key.h). One that can't be loaded makes every
 * signing fail with the reason until the process starts anew. credential is borrowed until signer_free. Before the first
 * thread; nothing to do for a key in a file, which is read anew for each signing. */
void signer_load(struct signer *signer, const struct app_credential *credential);

/* assertion is NULL where it failed: why then says what and what to do. Both borrowed for the time of the call. */
typedef void signer_fn(void *arg, const struct secret *assertion, const char *why);

/* Sign with credential's key that client_id may have a token of audience, the token endpoint's URL (both copied). fn is called
 * from the loop, never from inside, unless signing_cancel comes first. */
struct signing *signer_sign(struct signer *signer, const struct app_credential *credential, const char *audience,
    const char *client_id, signer_fn *fn, void *arg);
void signing_cancel(struct signing *signing);	/* fn will not be called; NULL is fine */

/* Nothing is being signed any more: the tasks were freed first. NULL is fine. */
void signer_free(struct signer *signer);

#endif
