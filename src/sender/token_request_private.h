/* What the grants share of a request for a token: token_request.c has the request itself and the client credentials grant,
 * token_refresh.c the refresh tokens of sign-ins by device code, token_identity.c the identities of machines. */
#ifndef MFDRELAY_SENDER_TOKEN_REQUEST_PRIVATE_H
#define MFDRELAY_SENDER_TOKEN_REQUEST_PRIVATE_H

#include "sender/token_request.h"

struct event;
struct http_answer;
struct http_request;
struct signing;
struct storing;

struct token_request {
	struct token_means means;
	const struct oauth_config *oauth;
	const struct app_credential *credential;
	token_request_fn *fn;
	void *arg;
	char *url;
	struct secret refresh_token;	/* that of the device code grant which was sent */
	struct signing *signing;	/* what is under way: one of these, */
	struct http_request *http;	/* or this, */
	struct storing *storing;	/* or this, */
	struct event *end;		/* or this, which tells the outcome */
	struct token_outcome outcome;
};

/* It has its outcome: tell it, and free the request. From the loop only, as the last thing that is done. */
void token_request_end(struct token_request *request);

/* It has failed before anybody was asked; that is told soon. */
void token_request_fail(struct token_request *request, enum road_trouble trouble, const char *why);

/* How long an answer asks to wait, in seconds: as it says, but at most a day; 0: it does not say. */
long token_request_wait_s(const struct http_answer *answer);

/* POST form, which is taken over, to the login host; its answer is the end. */
void token_request_post(struct token_request *request, struct secret *form);

/* Ask with the refresh token that is kept; store the one in body, which has a token too, then end; leave what is being stored to
 * itself. */
void token_refresh_ask(struct token_request *request);
void token_refresh_store(struct token_request *request, struct str body);
void token_refresh_cancel(struct token_request *request);

/* Ask the service of this machine that knows its identity. */
void token_identity_ask(struct token_request *request);

#endif
