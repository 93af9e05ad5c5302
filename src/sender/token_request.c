#include "sender/token_request_private.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/config.h"
#include "net/http.h"
#include "sender/form.h"
#include "sender/login_proxy.h"
#include "sender/signer.h"

#define THROTTLED_S	  60 /* Microsoft asks for a minute, also where no header says so */
#define RETRY_AFTER_MAX_S DAY_S

static const char jwt_bearer[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

static void free_request(struct token_request *request)
{
	event_free(request->end);
	secret_free(&request->outcome.token);
	secret_free(&request->refresh_token);
	free(request->url);
	free(request);
}

void token_request_end(struct token_request *request)
{
	request->fn(request->arg, &request->outcome);
	free_request(request);
}

static void on_end(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	token_request_end(cookie);
}

void token_request_fail(struct token_request *request, enum road_trouble trouble, const char *why)
{
	failure_from_trouble(&request->outcome.why, trouble, why);
	request->outcome.is_ours = true;
	event_active(request->end, EV_TIMEOUT, 0);
}

/* The credential's own file, which another does not have. */
static void fail_credential(struct token_request *request, const char *why)
{
	request->outcome.is_credentials = true;
	token_request_fail(request, ROAD_SECRET, why);
}

long token_request_wait_s(const struct http_answer *answer)
{
	return answer->retry_after_s < RETRY_AFTER_MAX_S ? answer->retry_after_s : RETRY_AFTER_MAX_S;
}

static void read_refusal(struct token_outcome *outcome, const struct http_answer *answer)
{
	outcome->why.retry_after_s = token_request_wait_s(answer);
	if (answer->status == 429 && outcome->why.retry_after_s == 0)
		outcome->why.retry_after_s = THROTTLED_S;
	outcome->is_credentials = outcome->why.cause->outcome == OUTCOME_C && token_has_error(answer->body);
	token_read_trace(&outcome->trace, answer->body);
}

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
		token_refresh_store(request, answer->body);
	else
		token_request_end(request);
}

void token_request_post(struct token_request *request, struct secret *form)
{
	struct login_proxy proxy;
	struct err err;

	if (login_proxy_load(&proxy, request->oauth, &err) < 0) {
		token_request_fail(request, ROAD_SECRET, err.text);
	} else {
		const struct http_call call = {.url = request->url,
		    .ca_file = request->oauth->ca,
		    .form = form,
		    .proxy = login_proxy_http(&proxy)};
		request->http = http_send(request->means.http, &call, on_answer, request);
	}
	login_proxy_free(&proxy);
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
		fail_credential(request, err.text);
		return;
	}
	form = begin_form(request->oauth);
	form_add(&form, "client_secret", (struct str){secret.bytes, secret.n});
	secret_free(&secret);
	token_request_post(request, &form);
}

static void ask_by_assertion(struct token_request *request, const struct secret *assertion)
{
	struct secret form = begin_form(request->oauth);

	form_add(&form, "client_assertion_type", str_of(jwt_bearer));
	form_add(&form, "client_assertion", (struct str){assertion->bytes, assertion->n});
	token_request_post(request, &form);
}

/* The other issuer renews its file by itself, mostly every hour. */
static void ask_by_federated_token(struct token_request *request)
{
	struct secret token;
	struct err err;

	if (secret_read(&token, request->credential->federated_token, &err) < 0)
		fail_credential(request, err.text);
	else
		ask_by_assertion(request, &token);
	secret_free(&token);
}

static void on_signed(void *arg, const struct secret *assertion, const char *why)
{
	struct token_request *request = arg;

	request->signing = NULL;
	if (assertion == NULL)
		fail_credential(request, why);
	else
		ask_by_assertion(request, assertion);
}

/* --- whichever --- */

static char *make_url(const struct oauth_config *oauth)
{
	return xasprintf("%s/%s/oauth2/v2.0/token", oauth->authority, oauth->tenant);
}

static void ask_by_credential(struct token_request *request)
{
	const struct app_credential *credential = request->credential;

	if (credential->certificate != NULL)
		request->signing = signer_sign(request->means.signer, credential, request->url,
		    request->oauth->client_id, on_signed, request);
	else if (credential->federated_token != NULL)
		ask_by_federated_token(request);
	else
		ask_by_secret(request);
}

static void begin(struct token_request *request)
{
	switch (request->oauth->grant) {
	case GRANT_DEVICE_CODE:
		request->url = make_url(request->oauth);
		token_refresh_ask(request);
		break;
	case GRANT_MANAGED_IDENTITY:
	case GRANT_AZURE_ARC:
		token_identity_ask(request);
		break;
	case GRANT_CLIENT_CREDENTIALS:
		request->url = make_url(request->oauth);
		ask_by_credential(request);
		break;
	}
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
	token_refresh_cancel(request);
	free_request(request);
}
