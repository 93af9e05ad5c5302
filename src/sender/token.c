#include "sender/token.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "config/config.h"
#include "sender/credential.h"
#include "sender/refresh_store.h"
#include "sender/signer.h"
#include "sender/token_request.h"

#define GOOD_FOR_S	   60 /* a token that is handed out lasts so much longer */
#define RENEW_BEFORE_END_S 300
#define TROUBLE_FIRST_MS   1000
#define TROUBLE_MAX_MS	   300000
#define REFUSED_MS	   60000
#define KEEP_ALIVE_S	   518400 /* six days: looked at once a day, that is weekly at the latest */
#define SECRET_MS	   5000	  /* a file is looked at again soon: that burdens nobody */

TAILQ_HEAD(wait_queue, token_wait);

struct token_wait {
	struct wait_queue *queue; /* the one it is in */
	token_fn *fn;
	void *arg;
	TAILQ_ENTRY(token_wait) next;
};

/* A moment on both clocks: the monotonic one stands still while a machine sleeps, the wall clock jumps. */
struct moment {
	int64_t mono_ms, wall_ms;
};

struct token_source {
	struct token_means means;
	const struct oauth_config *oauth;
	const char *upstream_name;
	struct counters *counters;
	struct event *settle; /* looks at the waiters, from the loop */
	struct wait_queue waiters;
	bool calling;

	struct secret token; /* empty: none */
	struct moment renew, end;

	struct credential_choice choice;
	struct token_request *request; /* the fetch in flight, or NULL */
	int64_t asked_ms;

	struct failure trouble; /* cause NULL: none since the last success */
	int64_t not_before_ms;	/* monotonic: no fetch earlier */
	int64_t backoff_ms, max_wait_ms;
};

static struct moment in_seconds(long seconds)
{
	return (struct moment){
	    clock_mono_ms() + seconds * INT64_C(1000), clock_wall_ms() + seconds * INT64_C(1000)};
}

static bool reached(const struct moment *moment)
{
	return clock_mono_ms() >= moment->mono_ms || clock_wall_ms() >= moment->wall_ms;
}

static bool usable(const struct token_source *source)
{
	return source->token.bytes != NULL && !reached(&source->end);
}

/* 80 % of the lifetime or five minutes before its end, whichever is earlier; of a short one, the second half.
 */
static long renew_after(long lifetime_s)
{
	long renew_s = lifetime_s / 5 * 4;

	if (renew_s > lifetime_s - RENEW_BEFORE_END_S)
		renew_s = lifetime_s - RENEW_BEFORE_END_S;
	return renew_s > lifetime_s / 2 ? renew_s : lifetime_s / 2;
}

/* A token that lasts only minutes must not be asked for anew at each use. */
static long usable_for(long lifetime_s)
{
	long margin_s = lifetime_s / 5 < GOOD_FOR_S ? lifetime_s / 5 : GOOD_FOR_S;

	return lifetime_s - margin_s;
}

static void settle_soon(struct token_source *source)
{
	event_active(source->settle, EV_TIMEOUT, 0);
}

/* Only a wait that the server asked for may be longer than the config allows. */
static int64_t wait_after(struct token_source *source, int64_t refused_ms)
{
	const struct failure *why = &source->trouble;
	int64_t wait_ms = refused_ms;

	if (why->retry_after_s > 0)
		return why->retry_after_s * INT64_C(1000);
	if (why->cause->outcome == OUTCOME_T) {
		wait_ms = source->backoff_ms == 0 ? TROUBLE_FIRST_MS : source->backoff_ms * 2;
		source->backoff_ms = wait_ms = wait_ms < TROUBLE_MAX_MS ? wait_ms : TROUBLE_MAX_MS;
	}
	return wait_ms < source->max_wait_ms ? wait_ms : source->max_wait_ms;
}

static void log_failure(const struct token_source *source, int64_t wait_ms, const struct token_trace *trace)
{
	const struct failure *why = &source->trouble;

	log_event(LOG_LEVEL_WARNING, "token-failed", kv_str("upstream", source->upstream_name),
	    kv_str("reason", why->cause->name), kv_str("class", outcome_name(why->cause->outcome)),
	    kv_str("cause", why->cause->cause), kv_str("remedy", why->cause->remedy),
	    kv_str("text", why->text), kv_i64("ask_again_ms", wait_ms), kv_str("trace_id", trace->trace_id),
	    kv_str("correlation_id", trace->correlation_id));
}

static void on_failed(struct token_source *source, const struct token_outcome *outcome)
{
	source->trouble = outcome->why;
	int64_t wait_ms = wait_after(source, outcome->is_ours ? SECRET_MS : REFUSED_MS);

	source->not_before_ms = clock_mono_ms() + wait_ms;
	log_failure(source, wait_ms, &outcome->trace);
	settle_soon(source);
}

static void on_fetched(struct token_source *source, struct secret token, long lifetime_s)
{
	secret_free(&source->token);
	source->token = token;
	source->renew = in_seconds(renew_after(lifetime_s));
	source->end = in_seconds(usable_for(lifetime_s));
	source->trouble.cause = NULL;
	source->backoff_ms = 0;
	source->not_before_ms = 0;
	count(&source->counters->tokens_fetched, 1);
	log_event(LOG_LEVEL_INFO, "token-fetched", kv_str("upstream", source->upstream_name),
	    kv_str("credential", credential_name(&source->choice)), kv_i64("lifetime_s", lifetime_s),
	    kv_i64("ms", clock_mono_ms() - source->asked_ms));
}

/* Waiters
 * ----------------------------------------------------------------------------------------------------------
 */

/* What is given is a copy: a waiter may call token_refused, token_get and token_cancel. */
static void give(struct token_source *source, bool success)
{
	struct wait_queue batch = TAILQ_HEAD_INITIALIZER(batch);
	struct failure why = source->trouble;
	struct secret token = {NULL, 0};
	struct token_wait *wait;

	if (success)
		secret_set(&token, (struct str){source->token.bytes, source->token.n});
	TAILQ_CONCAT(&batch, &source->waiters, next);
	TAILQ_FOREACH(wait, &batch, next)
		wait->queue = &batch;
	source->calling = true;
	while ((wait = TAILQ_FIRST(&batch)) != NULL) {
		token_fn *fn = wait->fn;
		void *arg = wait->arg;

		token_cancel(wait);
		fn(arg, success ? &token : NULL, success ? NULL : &why);
	}
	source->calling = false;
	secret_free(&token);
}

static void on_outcome(void *arg, struct token_outcome *outcome);

static void request_with(struct token_source *source, const struct app_credential *credential)
{
	source->request = token_request_new(&source->means, source->oauth, credential, on_outcome, source);
}

/* A credential that is refused, or whose file can't be used, may have been replaced by the other one. Returns whether that is
 * tried now. */
static bool try_other(struct token_source *source, struct token_outcome *outcome)
{
	const char *tried = credential_name(&source->choice);
	const struct failure why = outcome->why;
	const struct app_credential *other;

	if (!outcome->is_credentials)
		return false;
	other = credential_refused(&source->choice, &outcome->why);
	if (other == NULL)
		return false;
	log_event(LOG_LEVEL_WARNING, "credential-refused", kv_str("upstream", source->upstream_name),
	    kv_str("credential", tried), kv_str("name", why.cause->name), kv_str("text", why.text),
	    kv_str("tried_now", credential_name(&source->choice)));
	request_with(source, other);
	return true;
}

static void on_outcome(void *arg, struct token_outcome *outcome)
{
	struct token_source *source = arg;
	struct secret token = outcome->token;

	source->request = NULL;
	if (token.bytes == NULL) {
		if (!try_other(source, outcome))
			on_failed(source, outcome);
		return;
	}
	credential_accepted(&source->choice);
	outcome->token = (struct secret){NULL, 0};
	on_fetched(source, token, outcome->lifetime_s);
	give(source, true);
}

static void fetch(struct token_source *source)
{
	source->asked_ms = clock_mono_ms();
	request_with(source, credential_choose(&source->choice));
}

static bool may_fetch(const struct token_source *source)
{
	return source->request == NULL && clock_mono_ms() >= source->not_before_ms;
}

/* Give what is at hand, or see to it that something will be. */
static void on_settle(evutil_socket_t fd, short what, void *cookie)
{
	struct token_source *source = cookie;

	(void)fd;
	(void)what;
	if (TAILQ_EMPTY(&source->waiters))
		return;
	if (usable(source)) {
		give(source, true);
		if (usable(source) && reached(&source->renew) && may_fetch(source))
			fetch(source);
	} else if (may_fetch(source)) {
		fetch(source);
	} else if (source->request == NULL) {
		give(source, false);
	}
}

struct token_wait *token_get(struct token_source *source, token_fn *fn, void *arg)
{
	struct token_wait *wait = xcalloc(1, sizeof *wait);

	*wait = (struct token_wait){.queue = &source->waiters, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&source->waiters, wait, next);
	settle_soon(source);
	return wait;
}

void token_cancel(struct token_wait *wait)
{
	if (wait == NULL)
		return;
	TAILQ_REMOVE(wait->queue, wait, next);
	free(wait);
}

bool token_refused(struct token_source *source, const struct secret *token)
{
	if (source->token.bytes == NULL || source->token.n != token->n ||
	    memcmp(source->token.bytes, token->bytes, token->n) != 0)
		return false;
	secret_free(&source->token);
	return true;
}

int64_t token_end_ms(const struct token_source *source)
{
	int64_t wall_left_ms = source->end.wall_ms - clock_wall_ms();
	int64_t mono_left_ms = source->end.mono_ms - clock_mono_ms();

	if (source->token.bytes == NULL)
		return 0;
	return clock_mono_ms() + (wall_left_ms < mono_left_ms ? wall_left_ms : mono_left_ms);
}

void token_cap_wait(struct token_source *source, int64_t max_ms)
{
	source->max_wait_ms = max_ms;
}

void token_retry_now(struct token_source *source)
{
	source->not_before_ms = 0;
	credential_try_first(&source->choice);
	if (credential_first_refused(&source->choice) != NULL)
		source->renew = in_seconds(0);
}

void token_forget(struct token_source *source)
{
	token_request_cancel(source->request);
	source->request = NULL;
	secret_free(&source->token);
	source->trouble.cause = NULL;
	source->backoff_ms = 0;
	token_retry_now(source);
	settle_soon(source);
}

const struct failure *token_trouble(const struct token_source *source)
{
	return source->trouble.cause != NULL ? &source->trouble : NULL;
}

const struct failure *token_first_refused(const struct token_source *source)
{
	return credential_first_refused(&source->choice);
}

void token_keep_alive(struct token_source *source)
{
	struct secret token;
	int64_t stored_s;

	if (source->oauth->grant != GRANT_DEVICE_CODE || !may_fetch(source) ||
	    refresh_read(&token, &stored_s, source->means.spool, source->upstream_name, NULL) < 0)
		return;
	secret_free(&token);
	if (clock_wall_ms() / 1000 - stored_s > KEEP_ALIVE_S)
		fetch(source);
}

struct token_source *token_source_new(const struct token_setup *setup)
{
	const struct oauth_config *oauth = setup->oauth;
	struct token_source *source = xcalloc(1, sizeof *source);

	source->means = (struct token_means){.base = setup->base,
	    .http = setup->http,
	    .tasks = task_pool_new(setup->base),
	    .spool = setup->spool,
	    .upstream = setup->upstream_name};
	source->means.signer = signer_new(source->means.tasks);
	signer_load(source->means.signer, &oauth->credential);
	if (oauth->next != NULL)
		signer_load(source->means.signer, oauth->next);
	source->choice.oauth = oauth;
	source->oauth = oauth;
	source->upstream_name = setup->upstream_name;
	source->counters = setup->counters;
	source->max_wait_ms = INT64_MAX;
	TAILQ_INIT(&source->waiters);
	source->settle = evtimer_new(setup->base, on_settle, source);
	assert(source->settle != NULL);
	return source;
}

void token_source_free(struct token_source *source)
{
	if (source == NULL)
		return;
	assert(!source->calling);
	token_request_cancel(source->request);
	task_pool_free(source->means.tasks);
	signer_free(source->means.signer);
	while (!TAILQ_EMPTY(&source->waiters))
		token_cancel(TAILQ_FIRST(&source->waiters));
	event_free(source->settle);
	secret_free(&source->token);
	free(source);
}
