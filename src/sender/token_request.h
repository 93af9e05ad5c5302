/* One request for a token, by whatever way the config's grant goes, and its answer. */
#ifndef MFDRELAY_SENDER_TOKEN_REQUEST_H
#define MFDRELAY_SENDER_TOKEN_REQUEST_H

#include <stdbool.h>
#include "sender/token_answer.h"

struct app_credential;
struct event_base;
struct http;
struct oauth_config;
struct signer;
struct task_pool;
struct token_request;

/* What it works with. All borrowed. */
struct token_means {
	struct event_base *base;
	struct http *http;
	struct signer *signer;
	struct task_pool *tasks;	/* freed before all requests are: it may still tell one of its end */
	const char *spool;		/* where refresh tokens are kept */
	const char *upstream;		/* its name */
};

struct token_outcome {
	struct secret token;		/* empty: it failed */
	long lifetime_s;
	struct failure why;		/* where it failed */
	bool is_ours;			/* the failure is one of our own files: nobody was asked */
	bool is_credentials;		/* it is one of the credential: its file can't be used, or the login host has refused it */
	struct token_trace trace;
};

/* The outcome is borrowed for the time of the call, but fn may take the token over by emptying it there. */
typedef void token_request_fn(void *arg, struct token_outcome *outcome);

/* Ask with credential, which is one of oauth. Secrets are read anew each time: an admin who has replaced a file need not
 * reload. fn is called from the loop, never from inside, unless token_request_cancel comes first. */
struct token_request *token_request_new(const struct token_means *means, const struct oauth_config *oauth,
    const struct app_credential *credential, token_request_fn *fn, void *arg);
void token_request_cancel(struct token_request *request);	/* NULL is fine */

#endif
