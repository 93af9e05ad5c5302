/* OAuth access tokens: cached for each upstream, one fetch of it in flight, renewed before they end, dropped when it refuses
 * them. */
#ifndef MFDRELAY_SENDER_TOKEN_H
#define MFDRELAY_SENDER_TOKEN_H

#include <stdbool.h>
#include <stdint.h>
#include "base/secret.h"
#include "catalogue/catalogue.h"

struct counters;
struct event_base;
struct http;
struct oauth_config;
struct token_source;
struct token_wait;

/* Exactly one of token and why is NULL; both borrowed for the time of the call. */
typedef void token_fn(void *arg, const struct secret *token, const struct failure *why);

/* What a cache for the tokens of one upstream is made of. All borrowed. */
struct token_setup {
	struct event_base *base;
	struct http *http;
	const struct oauth_config *oauth;
	const char *upstream_name;
	const char *spool;		/* its folder: refresh tokens are kept there */
	struct counters *counters;
};

/* Loads a provider's key, so it comes before the sandbox. */
struct token_source *token_source_new(const struct token_setup *setup);

/* Once a day, for a sign-in by device code: ask for a token where none has been asked for in six days, as a refresh token that is
 * not used for 90 days is lost. */
void token_keep_alive(struct token_source *source);

/* Call fn when a token that is good for a minute more (one that lives less than five minutes: for a fifth of that) is at
 * hand: later, never from inside this call. The first waiter starts the fetch, the others wait for the same. After a refusal
 * or trouble the next fetch is not begun before the wait is over that Microsoft's throttling rules ask for (Retry-After, or
 * 60 s after a refusal, 1 s doubling to 5 min on trouble, 5 s after a secret's or key's file that can't be used); until then fn is
 * given that same failure at once. Where a credential is refused, or its file can't be used, and there is another, that one is
 * tried in the same go (credential.h); what another would meet too (no answer, the proxy's password) turns to none. */
struct token_wait *token_get(struct token_source *source, token_fn *fn, void *arg);
void token_cancel(struct token_wait *wait);	/* fn will not be called; NULL is fine */

/* The upstream refused this very token (535): drop it if it is still the cached one, so that the next token_get fetches.
 * Returns whether it was. */
bool token_refused(struct token_source *source, const struct secret *token);

/* When the cached token ends (monotonic ms): a session that it opened is not used beyond that. 0 without a token. */
int64_t token_end_ms(const struct token_source *source);

/* Waits of ours before the next fetch are no longer than this (retry.max of the config; start: no cap). A server's Retry-After
 * may be. */
void token_cap_wait(struct token_source *source, int64_t max_ms);

/* An admin asked for it: the next token_get may fetch at once, by the first credential again. Where that is refused so far, it
 * does fetch: a token at hand is given, and used on until another has come. */
void token_retry_now(struct token_source *source);

/* Somebody has signed in anew: nothing is used any more that the sign-in before has brought, and the next token_get may fetch at
 * once. */
void token_forget(struct token_source *source);

/* For status: why the last fetch failed, though a token may still be at hand; NULL: it did not, or there was none (borrowed). */
const struct failure *token_trouble(const struct token_source *source);

/* For status: why the first credential was refused, while the next one (oauth.next) is used in its place; else NULL
 * (borrowed). */
const struct failure *token_first_refused(const struct token_source *source);

/* Cancels and wipes; NULL is fine. Not from inside a token_fn. */
void token_source_free(struct token_source *source);

#endif
