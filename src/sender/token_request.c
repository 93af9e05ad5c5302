#include "sender/token_request.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/task.h"
#include "config/config.h"
#include "net/http.h"
#include "sender/form.h"
#include "sender/refresh_store.h"
#include "sender/signer.h"

#define THROTTLED_S	  60 /* Microsoft asks for a minute, also where no header says so */
#define RETRY_AFTER_MAX_S 86400

static const char jwt_bearer[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct token_request {
	struct token_means means;
	const struct oauth_config *oauth;
	const struct app_credential *credential;
	token_request_fn *fn;
	void *arg;
	char *url;
	struct secret refresh_token; /* that of the device code grant which was sent */
	struct signing *signing;     /* what is under way: one of these, */
	struct http_request *http;   /* or this, */
	struct storing *storing;     /* or this, */
	struct event *end;	     /* or this, which tells the outcome */
	struct token_outcome outcome;
};

static void free_request(struct token_request *request)
{
	event_free(request->end);
	secret_free(&request->outcome.token);
	secret_free(&request->refresh_token);
	free(request->url);
	free(request);
}

static void on_end(evutil_socket_t fd, short what, void *cookie)
{
	struct token_request *request = cookie;

	(void)fd;
	(void)what;
	request->fn(request->arg, &request->outcome);
	free_request(request);
}

static void end_soon(struct token_request *request)
{
	event_active(request->end, EV_TIMEOUT, 0);
}

static void fail_by_ourselves(struct token_request *request, enum road_trouble trouble, const char *why)
{
	failure_from_trouble(&request->outcome.why, trouble, why);
	request->outcome.is_ours = true;
	end_soon(request);
}

static void read_refusal(struct token_outcome *outcome, const struct http_answer *answer)
{
	outcome->why.retry_after_s =
	    answer->retry_after_s < RETRY_AFTER_MAX_S ? answer->retry_after_s : RETRY_AFTER_MAX_S;
	if (answer->status == 429 && outcome->why.retry_after_s == 0)
		outcome->why.retry_after_s = THROTTLED_S;
	outcome->is_refusal = outcome->why.cause->outcome == OUTCOME_C;
	token_read_trace(&outcome->trace, answer->body);
}

static void store_refresh_token(struct token_request *request, struct str body);

static void on_answer(void *arg, const struct http_answer *answer)
{
	struct token_request *request = arg;
	struct token_outcome *outcome = &request->outcome;

	request->http = NULL;
	if (answer->status == 0)
		failure_from_trouble(
		    &outcome->why, answer->unproved ? ROAD_LOGIN_CERTIFICATE : ROAD_LOGIN_HOST, answer->why);
	else if (token_read_answer(
		     answer->status, answer->body, &outcome->token, &outcome->lifetime_s, &outcome->why) < 0)
		read_refusal(outcome, answer);
	if (outcome->token.bytes != NULL && request->oauth->grant == GRANT_DEVICE_CODE)
		store_refresh_token(request, answer->body);
	else
		on_end(-1, 0, request);
}

/* Takes form over. */
static void post(struct token_request *request, struct secret *form)
{
	request->http =
	    http_post(request->means.http, request->url, request->oauth->ca, form, on_answer, request);
	secret_free(form);
}

/* --- the client credentials grant --- */

static struct secret begin_form(const struct oauth_config *oauth)
{
	struct secret form = {NULL, 0};

	form_add(&form, "grant_type", str_of("client_credentials"));
	form_add(&form, "client_id", str_of(oauth->client_id));
	form_add(&form, "scope", str_of(oauth->scope));
	return form;
}

static void ask_by_secret(struct token_request *request)
{
	struct secret secret, form;
	struct err err;

	if (secret_read(&secret, request->credential->client_secret, &err) < 0) {
		fail_by_ourselves(request, ROAD_SECRET, err.text);
		return;
	}
	form = begin_form(request->oauth);
	form_add(&form, "client_secret", (struct str){secret.bytes, secret.n});
	secret_free(&secret);
	post(request, &form);
}

static void ask_by_assertion(struct token_request *request, const struct secret *assertion)
{
	struct secret form = begin_form(request->oauth);

	form_add(&form, "client_assertion_type", str_of(jwt_bearer));
	form_add(&form, "client_assertion", (struct str){assertion->bytes, assertion->n});
	post(request, &form);
}

/* The other issuer renews its file by itself, mostly every hour. */
static void ask_by_federated_token(struct token_request *request)
{
	struct secret token;
	struct err err;

	if (secret_read(&token, request->credential->federated_token, &err) < 0)
		fail_by_ourselves(request, ROAD_SECRET, err.text);
	else
		ask_by_assertion(request, &token);
	secret_free(&token);
}

static void on_signed(void *arg, const struct secret *assertion, const char *why)
{
	struct token_request *request = arg;

	request->signing = NULL;
	if (assertion == NULL)
		fail_by_ourselves(request, ROAD_SECRET, why);
	else
		ask_by_assertion(request, assertion);
}

/* --- the refresh token of a sign-in by device code --- */

/* The new one on its way to the disk, which goes on when the request is cancelled. */
struct storing {
	struct task task;
	struct token_request *request; /* NULL: cancelled */
	const char *spool, *upstream;
	struct secret old, new;
	int result;
	struct err err;
};

static void ask_by_refresh_token(struct token_request *request)
{
	struct secret form = {NULL, 0};
	int64_t stored_s;
	struct err err;

	if (refresh_read(&request->refresh_token, &stored_s, request->means.spool, request->means.upstream,
		&err) < 0) {
		fail_by_ourselves(request, ROAD_SIGN_IN, err.text);
		return;
	}
	form_add(&form, "grant_type", str_of("refresh_token"));
	form_add(&form, "client_id", str_of(request->oauth->client_id));
	form_add(&form, "scope", str_of(request->oauth->scope));
	form_add(
	    &form, "refresh_token", (struct str){request->refresh_token.bytes, request->refresh_token.n});
	post(request, &form);
}

static void run_storing(struct task *task)
{
	struct storing *storing = (struct storing *)(void *)task;

	storing->result =
	    refresh_write(storing->spool, storing->upstream, &storing->old, &storing->new, &storing->err);
}

/* The old one is not revoked by the new: where that could not be stored, mail goes on all the same. */
static void on_stored(struct task *task)
{
	struct storing *storing = (struct storing *)(void *)task;

	if (storing->result < 0)
		log_event(LOG_LEVEL_ERR, "refresh-token-not-stored", kv_str("upstream", storing->upstream),
		    kv_words("why", storing->err.text),
		    kv_str("consequence", "the one before is used on, for up to 90 days"));
	if (storing->request != NULL) {
		storing->request->storing = NULL;
		on_end(-1, 0, storing->request);
	}
	secret_free(&storing->old);
	secret_free(&storing->new);
	free(storing);
}

static void store_refresh_token(struct token_request *request, struct str body)
{
	struct secret new;
	struct storing *storing;
	struct failure why;

	if (token_read_refresh(body, &new, &why) < 0) {
		on_end(-1, 0, request);
		return;
	}
	storing = xcalloc(1, sizeof *storing);
	*storing = (struct storing){.request = request,
	    .spool = request->means.spool,
	    .upstream = request->means.upstream,
	    .old = request->refresh_token,
	    .new = new};
	request->refresh_token = (struct secret){NULL, 0};
	storing->task.run = run_storing;
	storing->task.done = on_stored;
	request->storing = storing;
	task_submit(request->means.tasks, &storing->task);
}

/* --- whichever --- */

static void begin(struct token_request *request)
{
	if (request->oauth->grant == GRANT_DEVICE_CODE)
		ask_by_refresh_token(request);
	else if (request->credential->certificate != NULL)
		request->signing = signer_sign(request->means.signer, request->credential, request->url,
		    request->oauth->client_id, on_signed, request);
	else if (request->credential->federated_token != NULL)
		ask_by_federated_token(request);
	else
		ask_by_secret(request);
}

struct token_request *token_request_new(const struct token_means *means, const struct oauth_config *oauth,
    const struct app_credential *credential, token_request_fn *fn, void *arg)
{
	struct token_request *request = xcalloc(1, sizeof *request);

	request->means = *means;
	request->oauth = oauth;
	request->credential = credential;
	request->fn = fn;
	request->arg = arg;
	request->url = xasprintf("%s/%s/oauth2/v2.0/token", oauth->authority, oauth->tenant);
	request->end = evtimer_new(means->base, on_end, request);
	assert(request->end != NULL);
	begin(request);
	return request;
}

void token_request_cancel(struct token_request *request)
{
	if (request == NULL)
		return;
	signing_cancel(request->signing);
	http_cancel(request->http);
	if (request->storing != NULL)
		request->storing->request = NULL;
	free_request(request);
}
