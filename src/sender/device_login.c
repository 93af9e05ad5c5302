#include "sender/device_login.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "net/http.h"
#include "sender/device_answer.h"
#include "sender/form.h"
#include "sender/login_proxy.h"
#include "sender/token_answer.h"

#define SLOWER_S 5 /* RFC 8628 section 3.5 */

struct device_login {
	struct http *http;
	const struct oauth_config *oauth;
	struct device_login_fns fns;
	struct http_request *request; /* in flight, or NULL */
	struct event *poll;
	struct device_code code;
	int64_t end_ms;		/* monotonic: the code expires */
	struct failure unasked; /* cause NULL: nothing of ours was in the way */
};

static void fail(struct device_login *login, const struct failure *why)
{
	login->fns.done(login->fns.arg, NULL, why);
}

static void fail_by_trouble(struct device_login *login, const struct http_answer *answer)
{
	struct failure why;

	failure_from_trouble(&why, answer->unproved ? ROAD_LOGIN_CERTIFICATE : ROAD_LOGIN_HOST, answer->why);
	fail(login, &why);
}

/* Where the proxy's password can't be read, done is called from the loop all the same. */
static void post(struct device_login *login, const char *path, struct secret *form, http_fn *fn)
{
	char *url = xasprintf("%s/%s/oauth2/v2.0/%s", login->oauth->authority, login->oauth->tenant, path);
	struct login_proxy proxy;
	struct err err;

	if (login_proxy_load(&proxy, login->oauth, &err) < 0) {
		failure_from_trouble(&login->unasked, ROAD_SECRET, err.text);
		timer_set(login->poll, 0);
	} else {
		const struct http_call call = {
		    .url = url, .ca_file = login->oauth->ca, .form = form, .proxy = login_proxy_http(&proxy)};
		login->request = http_send(login->http, &call, fn, login);
	}
	login_proxy_free(&proxy);
	secret_free(form);
	free(url);
}

static void poll_later(struct device_login *login)
{
	struct failure why;

	if (clock_mono_ms() + login->code.interval_s * 1000 < login->end_ms) {
		timer_set(login->poll, login->code.interval_s * 1000);
		return;
	}
	failure_from_login(
	    &why, "expired_token", "the code has expired before anybody signed in", 70019, 400);
	fail(login, &why);
}

static void on_token(struct device_login *login, struct str body)
{
	struct secret refresh;
	struct failure why;

	if (token_read_refresh(body, &refresh, &why) < 0) {
		fail(login, &why);
		return;
	}
	login->fns.done(login->fns.arg, &refresh, NULL);
	secret_free(&refresh);
}

static void on_poll_answer(void *arg, const struct http_answer *answer)
{
	struct device_login *login = arg;
	struct secret token;
	struct failure why;
	long lifetime_s;

	login->request = NULL;
	if (answer->status != 0 &&
	    token_read_answer(answer->status, answer->body, &token, &lifetime_s, &why) == 0) {
		secret_free(&token);
		on_token(login, answer->body);
		return;
	}
	enum device_poll poll = answer->status != 0 ? device_read_poll(answer->body) : DEVICE_PENDING;
	if (poll == DEVICE_FAILED && why.cause->outcome != OUTCOME_T) {
		fail(login, &why);
		return;
	}
	/* A time-out asks for that too, in the same section. */
	if (poll == DEVICE_SLOWER || answer->status == 429 || answer->status == 0)
		login->code.interval_s += SLOWER_S;
	poll_later(login);
}

static void on_poll(evutil_socket_t fd, short what, void *cookie)
{
	struct device_login *login = cookie;
	struct secret form = {NULL, 0};

	(void)fd;
	(void)what;
	if (login->unasked.cause != NULL) {
		fail(login, &login->unasked);
		return;
	}
	form_add(&form, "grant_type", str_of("urn:ietf:params:oauth:grant-type:device_code"));
	form_add(&form, "client_id", str_of(login->oauth->client_id));
	form_add(&form, "device_code", (struct str){login->code.code.bytes, login->code.code.n});
	post(login, "token", &form, on_poll_answer);
}

static void on_code(void *arg, const struct http_answer *answer)
{
	struct device_login *login = arg;
	struct failure why;

	login->request = NULL;
	if (answer->status == 0) {
		fail_by_trouble(login, answer);
		return;
	}
	if (device_read_code(answer->status, answer->body, &login->code, &why) < 0) {
		fail(login, &why);
		return;
	}
	login->end_ms = clock_mono_ms() + login->code.expires_s * 1000;
	login->fns.show(login->fns.arg, &login->code);
	poll_later(login);
}

struct device_login *device_login_new(struct event_base *base, struct http *http,
    const struct oauth_config *oauth, const struct device_login_fns *fns)
{
	struct device_login *login = xcalloc(1, sizeof *login);
	struct secret form = {NULL, 0};

	login->http = http;
	login->oauth = oauth;
	login->fns = *fns;
	login->poll = evtimer_new(base, on_poll, login);
	assert(login->poll != NULL);
	form_add(&form, "client_id", str_of(oauth->client_id));
	form_add(&form, "scope", str_of(oauth->scope));
	post(login, "devicecode", &form, on_code);
	return login;
}

void device_login_free(struct device_login *login)
{
	if (login == NULL)
		return;
	http_cancel(login->request);
	event_free(login->poll);
	secret_free(&login->code.code);
	free(login);
}
