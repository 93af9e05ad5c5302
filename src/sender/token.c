#include "sender/token.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "net/http.h"

#define TOKEN_MAX	   16384  /* octets; 1,500 to 3,000 have been seen */
#define LIFETIME_MAX_S	   100800 /* 28 hours, the longest that Microsoft gives */
#define LIFETIME_UNSAID_S  600	  /* the shortest that Microsoft gives, where an answer does not say */
#define GOOD_FOR_S	   60	  /* a token that is handed out lasts so much longer */
#define RENEW_BEFORE_END_S 300
#define TROUBLE_FIRST_MS   1000
#define TROUBLE_MAX_MS	   300000
#define REFUSED_MS	   60000
#define SECRET_MS	   5000 /* a file is looked at again soon: that burdens nobody */
#define RETRY_AFTER_MAX_S  86400

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
	struct http *http;
	const struct oauth_config *oauth;
	const char *upstream_name;
	struct counters *counters;
	struct event *settle; /* looks at the waiters, from the loop */
	struct wait_queue waiters;
	bool calling;

	struct secret token; /* empty: none */
	struct moment renew, end;

	struct http_request *request; /* the fetch in flight, or NULL */
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

/* Reading an answer
 * ---------------------------------------------------------------------------------------------- */

static json_t *parse_object(struct str body)
{
	json_t *root = body.n == 0 ? NULL : json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

static const char *string_of(const json_t *root, const char *key)
{
	return json_string_value(json_object_get(root, key));
}

/* error_codes[0], or what the description begins with: "AADSTS7000215: ...". */
static long error_number(const json_t *root, const char *description)
{
	json_t *first = json_array_get(json_object_get(root, "error_codes"), 0);

	if (json_is_integer(first) && json_integer_value(first) > 0)
		return (long)json_integer_value(first);
	if (description != NULL && strncmp(description, "AADSTS", 6) == 0)
		return strtol(description + 6, NULL, 10);
	return 0;
}

static int refuse_answer(struct failure *why, const char *what)
{
	failure_from_trouble(why, ROAD_LOGIN_ANSWER, what);
	return -1;
}

static int read_refusal(int status, const json_t *root, struct failure *why)
{
	const char *description = string_of(root, "error_description");
	char text[64];

	if (root != NULL && string_of(root, "error") != NULL) {
		failure_from_login(
		    why, string_of(root, "error"), description, error_number(root, description), status);
		return -1;
	}
	snprintf(text, sizeof text, "HTTP %d without an error in JSON", status);
	if (status != 429 && status < 500)
		return refuse_answer(why, text);
	failure_from_trouble(why, ROAD_LOGIN_HOST, text);
	return -1;
}

static int read_lifetime(const json_t *value, long *lifetime_s)
{
	uint64_t seconds = LIFETIME_UNSAID_S;

	if (json_is_string(value)) {
		struct str text = {json_string_value(value), json_string_length(value)};
		if (!str_u64(text, INT64_MAX, &seconds))
			return -1;
	} else if (json_is_integer(value)) {
		if (json_integer_value(value) < 0)
			return -1;
		seconds = (uint64_t)json_integer_value(value);
	} else if (value != NULL) {
		return -1;
	}
	*lifetime_s = seconds > LIFETIME_MAX_S ? LIFETIME_MAX_S : (long)seconds;
	return seconds == 0 ? -1 : 0;
}

/* It goes into a line of SMTP between control characters: visible ASCII only. */
static bool token_is_clean(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] <= 0x20 || bytes[i] >= 0x7f)
			return false;
	return n > 0;
}

static int read_success(const json_t *root, struct secret *token, long *lifetime_s, struct failure *why)
{
	const char *type = string_of(root, "token_type");
	json_t *value = json_object_get(root, "access_token");
	size_t n = json_string_length(value);

	if (!json_is_string(value))
		return refuse_answer(why, "the answer has no access_token");
	if (type == NULL || !str_ieq(str_of(type), "Bearer"))
		return refuse_answer(why, "token_type of the answer is not Bearer");
	if (n > TOKEN_MAX)
		return refuse_answer(why, "access_token of the answer is larger than 16 KiB");
	if (!token_is_clean(json_string_value(value), n))
		return refuse_answer(
		    why, "access_token of the answer is empty or holds characters that no token has");
	if (read_lifetime(json_object_get(root, "expires_in"), lifetime_s) < 0)
		return refuse_answer(why, "expires_in of the answer is not a number of seconds above 0");
	secret_set(token, (struct str){json_string_value(value), n});
	return 0;
}

static void wipe_token(const json_t *root)
{
	json_t *value = json_object_get(root, "access_token");

	if (json_is_string(value))
		explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
}

int token_read_answer(
    int status, struct str body, struct secret *token, long *lifetime_s, struct failure *why)
{
	json_t *root = parse_object(body);
	int result;

	*token = (struct secret){NULL, 0};
	if (status != 200 || (root != NULL && string_of(root, "error") != NULL))
		result = read_refusal(status, root, why);
	else if (root == NULL)
		result = refuse_answer(why, "HTTP 200 with a body that is not a JSON object");
	else
		result = read_success(root, token, lifetime_s, why);
	wipe_token(root);
	json_decref(root);
	return result;
}

/* The request
 * ---------------------------------------------------------------------------------------------------- */

/* Percent-encoded at the end of form, which has room: three octets for each of value. */
static void append_encoded(struct secret *form, struct str value)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		if ((c < 0x80 && isalnum(c)) || (c != '\0' && strchr("-._~", c) != NULL)) {
			form->bytes[form->n++] = (char)c;
		} else {
			form->bytes[form->n++] = '%';
			form->bytes[form->n++] = hex[c >> 4];
			form->bytes[form->n++] = hex[c & 15];
		}
	}
}

static void append(struct secret *form, const char *text)
{
	memcpy(form->bytes + form->n, text, strlen(text));
	form->n += strlen(text);
}

/* Sized once: a form that grew would leave copies of the secret behind. */
static void make_form(
    struct secret *form, const struct oauth_config *oauth, const struct secret *client_secret)
{
	size_t values = strlen(oauth->client_id) + strlen(oauth->scope) + client_secret->n;

	*form = (struct secret){xcalloc(1, 3 * values + 128), 0};
	append(form, "grant_type=client_credentials&client_id=");
	append_encoded(form, str_of(oauth->client_id));
	append(form, "&scope=");
	append_encoded(form, str_of(oauth->scope));
	append(form, "&client_secret=");
	append_encoded(form, (struct str){client_secret->bytes, client_secret->n});
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

static void log_failure(const struct token_source *source, int64_t wait_ms, struct str body)
{
	const struct failure *why = &source->trouble;
	json_t *root = parse_object(body);

	log_event(LOG_LEVEL_WARNING, "token-failed", kv_str("upstream", source->upstream_name),
	    kv_str("name", why->cause->name), kv_str("class", outcome_name(why->cause->outcome)),
	    kv_i64("ask_again_ms", wait_ms), kv_str("trace_id", string_of(root, "trace_id")),
	    kv_str("correlation_id", string_of(root, "correlation_id")));
	wipe_token(root);
	json_decref(root);
}

static void on_failed(struct token_source *source, int64_t refused_ms, struct str body)
{
	int64_t wait_ms = wait_after(source, refused_ms);

	source->not_before_ms = clock_mono_ms() + wait_ms;
	log_failure(source, wait_ms, body);
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
	    kv_i64("lifetime_s", lifetime_s), kv_i64("ms", clock_mono_ms() - source->asked_ms));
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

static void on_answer(void *arg, const struct http_answer *answer)
{
	struct token_source *source = arg;
	struct secret token;
	struct failure why;
	long lifetime_s;

	source->request = NULL;
	if (answer->status == 0) {
		failure_from_trouble(&source->trouble,
		    answer->unproved ? ROAD_LOGIN_CERTIFICATE : ROAD_LOGIN_HOST, answer->why);
		on_failed(source, REFUSED_MS, (struct str){NULL, 0});
	} else if (token_read_answer(answer->status, answer->body, &token, &lifetime_s, &why) < 0) {
		why.retry_after_s =
		    answer->retry_after_s < RETRY_AFTER_MAX_S ? answer->retry_after_s : RETRY_AFTER_MAX_S;
		/* Microsoft asks for a minute where it throttles, also where no header says so. */
		if (answer->status == 429 && why.retry_after_s == 0)
			why.retry_after_s = REFUSED_MS / 1000;
		source->trouble = why;
		on_failed(source, REFUSED_MS, answer->body);
	} else {
		on_fetched(source, token, lifetime_s);
		give(source, true);
	}
}

/* The secret is read anew each time: an admin who replaced the file need not reload. */
static void fetch(struct token_source *source)
{
	const struct oauth_config *oauth = source->oauth;
	struct secret client_secret, form;
	struct err err;

	if (secret_read(&client_secret, oauth->client_secret, &err) < 0) {
		failure_from_trouble(&source->trouble, ROAD_SECRET, err.text);
		on_failed(source, SECRET_MS, (struct str){NULL, 0});
		return;
	}
	make_form(&form, oauth, &client_secret);
	secret_free(&client_secret);
	char *url = xasprintf("%s/%s/oauth2/v2.0/token", oauth->authority, oauth->tenant);
	source->asked_ms = clock_mono_ms();
	source->request = http_post(source->http, url, oauth->ca, &form, on_answer, source);
	free(url);
	secret_free(&form);
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
}

const struct failure *token_trouble(const struct token_source *source)
{
	return source->trouble.cause == NULL || usable(source) ? NULL : &source->trouble;
}

struct token_source *token_source_new(struct event_base *base, struct http *http,
    const struct oauth_config *oauth, const char *upstream_name, struct counters *counters)
{
	struct token_source *source = xcalloc(1, sizeof *source);

	source->http = http;
	source->oauth = oauth;
	source->upstream_name = upstream_name;
	source->counters = counters;
	source->max_wait_ms = INT64_MAX;
	TAILQ_INIT(&source->waiters);
	source->settle = evtimer_new(base, on_settle, source);
	assert(source->settle != NULL);
	return source;
}

void token_source_free(struct token_source *source)
{
	if (source == NULL)
		return;
	assert(!source->calling);
	http_cancel(source->request);
	while (!TAILQ_EMPTY(&source->waiters))
		token_cancel(TAILQ_FIRST(&source->waiters));
	event_free(source->settle);
	secret_free(&source->token);
	free(source);
}
