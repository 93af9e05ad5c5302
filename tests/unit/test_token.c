/* Tokens: answers of the login host as Microsoft gives them and as it should not, and the cache's waiting and
 * renewing. The clocks and the HTTP client are this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "net/http.h"
#include "sender/token.h"
#include "sender/refresh_store.h"
#include "sender/token_answer.h"
#include "sender/token_identity.h"

/* Fakes
 * ---------------------------------------------------------------------------------------------------------
 */

static int64_t mono_ms, wall_ms;

int64_t clock_mono_ms(void)
{
	return mono_ms;
}

int64_t clock_wall_ms(void)
{
	return wall_ms;
}

static void pass_seconds(long seconds)
{
	mono_ms += seconds * 1000;
	wall_ms += seconds * 1000;
}

struct http_request {
	http_fn *fn;
	void *arg;
};

static struct {
	struct http_request *open;
	char url[200], form[1000], header[200];
	bool local, proxied;
	unsigned posts, cancels;
} wire;

struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *err)
{
	(void)base;
	(void)resolver;
	(void)err;
	return NULL;
}

void http_free(struct http *http)
{
	(void)http;
}

struct http_request *http_send(struct http *http, const struct http_call *call, http_fn *fn, void *arg)
{
	(void)http;
	assert_null(wire.open); /* one fetch in flight */
	wire.open = xcalloc(1, sizeof *wire.open);
	*wire.open = (struct http_request){fn, arg};
	snprintf(wire.url, sizeof wire.url, "%s", call->url);
	snprintf(wire.form, sizeof wire.form, "%s", call->form != NULL ? call->form->bytes : "");
	snprintf(wire.header, sizeof wire.header, "%s%s%s", call->header != NULL ? call->header : "",
	    call->secret_header != NULL ? "|" : "",
	    call->secret_header != NULL ? call->secret_header->bytes : "");
	wire.local = call->local;
	wire.proxied = call->proxy != NULL;
	wire.posts++;
	return wire.open;
}

void http_cancel(struct http_request *request)
{
	if (request == NULL)
		return;
	assert_ptr_equal(request, wire.open);
	wire.open = NULL;
	wire.cancels++;
	free(request);
}

static void answer_with(const struct http_answer *answer)
{
	struct http_request *request = wire.open;

	assert_non_null(request);
	wire.open = NULL;
	request->fn(request->arg, answer);
	free(request);
}

static void answer(int status, const char *body, long retry_after_s)
{
	answer_with(
	    &(struct http_answer){.status = status, .body = str_of(body), .retry_after_s = retry_after_s});
}

static void answer_token(const char *token, long lifetime_s)
{
	char body[300];

	snprintf(body, sizeof body, "{\"token_type\":\"Bearer\",\"expires_in\":%ld,\"access_token\":\"%s\"}",
	    lifetime_s, token);
	answer(200, body, 0);
}

/* Answers
 * ---------------------------------------------------------------------------------------------------------
 */

#define TRACE                                                                                                \
	",\"timestamp\":\"2026-11-20 "                                                                       \
	"08:15:30Z\",\"trace_id\":\"8f1e\",\"correlation_id\":\"c0de\",\"error_uri\":"                       \
	"\"https://login.microsoftonline.com/error?code=1\"}"

static const struct {
	const char *label;
	int status;
	const char *body;
	const char *token; /* NULL: a failure */
	long lifetime_s;
	const char *cause;
	enum outcome outcome;
} answers[] = {
    {"success as Entra gives it", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":3599,\"ext_expires_in\":3599,\"access_token\":\"eyJ0eXAi."
	"eyJhdWQi.c2ln-_\"}",
	"eyJ0eXAi.eyJhdWQi.c2ln-_", 3599, NULL, OUTCOME_T},
    {"expires_in as a string", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":\"86399\",\"access_token\":\"eyJ\"}", "eyJ", 86399, NULL,
	OUTCOME_T},
    {"token_type in lower case", 200,
	"{\"token_type\":\"bearer\",\"expires_in\":60,\"access_token\":\"eyJ\"}", "eyJ", 60, NULL, OUTCOME_T},
    {"no expires_in: the shortest lifetime there is", 200,
	"{\"token_type\":\"Bearer\",\"access_token\":\"eyJ\"}", "eyJ", 600, NULL, OUTCOME_T},
    {"a lifetime beyond all measure is capped", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":99999999999,\"access_token\":\"eyJ\"}", "eyJ", 100800,
	NULL, OUTCOME_T},
    {"a negative lifetime", 200, "{\"token_type\":\"Bearer\",\"expires_in\":-5,\"access_token\":\"eyJ\"}",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a lifetime of nothing", 200, "{\"token_type\":\"Bearer\",\"expires_in\":0,\"access_token\":\"eyJ\"}",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a lifetime in words", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":\"soon\",\"access_token\":\"eyJ\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a lifetime with a fraction", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":3599.5,\"access_token\":\"eyJ\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a lifetime of thirty digits", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":\"999999999999999999999999999999\",\"access_token\":"
	"\"eyJ\"}",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"another token type", 200, "{\"token_type\":\"mac\",\"expires_in\":60,\"access_token\":\"eyJ\"}", NULL,
	0, "login-answer-unusable", OUTCOME_C},
    {"no token type", 200, "{\"expires_in\":60,\"access_token\":\"eyJ\"}", NULL, 0, "login-answer-unusable",
	OUTCOME_C},
    {"no token", 200, "{\"token_type\":\"Bearer\",\"expires_in\":60}", NULL, 0, "login-answer-unusable",
	OUTCOME_C},
    {"an empty token", 200, "{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a token that is a number", 200, "{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":7}",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a token with a line break", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"eyJ\\r\\nRSET\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a token with the separator of XOAUTH2", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"eyJ\\u0001\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a token with a NUL", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"eyJ\\u0000x\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a token with a blank", 200, "{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"e J\"}",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a token beyond ASCII", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"e\303\244J\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"two tokens", 200,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"a\",\"access_token\":\"b\"}", NULL,
	0, "login-answer-unusable", OUTCOME_C},
    {"cut JSON", 200, "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_to", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
    {"a JSON list", 200, "[1,2]", NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"an HTML page with 200", 200, "<!DOCTYPE html><html><title>Sign in to the guest network</title></html>",
	NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"nothing with 200", 200, "", NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a wrong secret", 401,
	"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret "
	"provided. Ensure the secret being sent in the request is the client secret value.\\r\\nTrace ID: "
	"8f1e\",\"error_codes\":[7000215]" TRACE,
	NULL, 0, "client-secret-wrong", OUTCOME_C},
    {"an expired secret, its number in the description only", 401,
	"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000222: The provided client secret "
	"keys are expired.\"}",
	NULL, 0, "client-secret-expired", OUTCOME_C},
    {"an unknown tenant", 400,
	"{\"error\":\"invalid_request\",\"error_description\":\"AADSTS90002: Tenant 'x' not "
	"found.\",\"error_codes\":[90002]" TRACE,
	NULL, 0, "tenant-unknown", OUTCOME_C},
    {"an error that is no AADSTS", 400, "{\"error\":\"invalid_request\"}", NULL, 0, "login-refused",
	OUTCOME_C},
    {"error_codes of another type", 400, "{\"error\":\"invalid_request\",\"error_codes\":{\"a\":1}}", NULL, 0,
	"login-refused", OUTCOME_C},
    {"an error with 200 is an error", 200, "{\"error\":\"temporarily_unavailable\",\"error_codes\":[90055]}",
	NULL, 0, "login-throttled", OUTCOME_T},
    {"temporarily unavailable", 400, "{\"error\":\"temporarily_unavailable\",\"error_codes\":[90033]}", NULL,
	0, "login-host-busy", OUTCOME_T},
    {"throttled, in plain text", 429, "Too Many Requests", NULL, 0, "login-throttled", OUTCOME_T},
    {"a gateway's HTML", 502, "<html>Bad Gateway</html>", NULL, 0, "login-host-silent", OUTCOME_T},
    {"a server error in JSON", 503, "{\"error\":\"server_error\",\"error_codes\":[50000]}", NULL, 0,
	"login-signing-trouble", OUTCOME_T},
    {"a redirect", 302, "", NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"not found, in HTML", 404, "<html>Not found</html>", NULL, 0, "login-answer-unusable", OUTCOME_C},
    {"a token with another status", 201,
	"{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"eyJ\"}", NULL, 0,
	"login-answer-unusable", OUTCOME_C},
};

static void answers_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		struct secret token;
		struct failure why;
		long lifetime_s = -1;
		int result =
		    token_read_answer(answers[i].status, str_of(answers[i].body), &token, &lifetime_s, &why);

		if (answers[i].token != NULL) {
			if (result != 0)
				fail_msg("%s: refused: %s", answers[i].label, why.text);
			assert_string_equal(token.bytes, answers[i].token);
			assert_int_equal(lifetime_s, answers[i].lifetime_s);
			secret_free(&token);
			continue;
		}
		if (result == 0 || token.bytes != NULL)
			fail_msg("%s: taken", answers[i].label);
		if (strcmp(why.cause->name, answers[i].cause) != 0 ||
		    why.cause->outcome != answers[i].outcome)
			fail_msg("%s: got %s", answers[i].label, why.cause->name);
		assert_null(strstr(why.text, "eyJ"));
	}
}

static void the_largest_token_and_one_more(void **state)
{
	static const char head[] = "{\"token_type\":\"Bearer\",\"expires_in\":60,\"access_token\":\"";
	size_t room = 2 * 1024 * 1024;
	char *body = xcalloc(1, room);

	(void)state;
	for (size_t n = 16384; n < room - 100; n = n == 16384 ? 16385 : n * 8) {
		struct secret token;
		struct failure why;
		long lifetime_s;

		memcpy(body, head, sizeof head - 1);
		memset(body + sizeof head - 1, 'x', n);
		memcpy(body + sizeof head - 1 + n, "\"}", 3);
		int result = token_read_answer(200, str_of(body), &token, &lifetime_s, &why);
		assert_int_equal(result, n == 16384 ? 0 : -1);
		secret_free(&token);
	}
	memset(body, '[', room - 1);
	struct secret token;
	struct failure why;
	long lifetime_s;
	assert_int_equal(token_read_answer(200, (struct str){body, room - 1}, &token, &lifetime_s, &why), -1);
	free(body);
}

static void every_cut_of_a_good_answer_is_refused(void **state)
{
	const char *body = answers[0].body;

	(void)state;
	for (size_t n = 0; n < strlen(body); n++) {
		struct secret token;
		struct failure why;
		long lifetime_s;

		assert_int_equal(
		    token_read_answer(200, (struct str){body, n}, &token, &lifetime_s, &why), -1);
	}
}

/* The cache
 * ------------------------------------------------------------------------------------------------------- */

struct fixture {
	struct event_base *base;
	struct counters counters;
	struct oauth_config oauth;
	struct token_source *source;
	char folder[40], secret_file[60], source_text[70], log_file[60];
	int real_stderr;
};

/* One who asks for a token, and what became of it. */
struct asker {
	struct fixture *fixture;
	struct token_wait *wait;
	unsigned called;
	char token[100], cause[40];
	struct asker *cancels;
	bool asks_again, refuses;
};

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	mono_ms = 5000000;
	wall_ms = 1800000000000;
	memset(&wire, 0, sizeof wire);
	snprintf(f->folder, sizeof f->folder, "/tmp/test_token.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->secret_file, sizeof f->secret_file, "%s/secret", f->folder);
	snprintf(f->log_file, sizeof f->log_file, "%s/log", f->folder);
	snprintf(f->source_text, sizeof f->source_text, "file:%s", f->secret_file);
	write_file(f->secret_file, "a~b+c/d e&f%\n", 0600);
	f->oauth = (struct oauth_config){.authority = (char *)"https://login.test:8443",
	    .tenant = (char *)"contoso.onmicrosoft.com",
	    .client_id = (char *)"11111111-2222",
	    .credential.client_secret = f->source_text,
	    .scope = (char *)"https://outlook.office365.com/.default"};
	f->base = event_base_new();
	f->source = token_source_new(&(struct token_setup){.base = f->base,
	    .oauth = &f->oauth,
	    .upstream_name = "submission",
	    .spool = f->folder,
	    .counters = &f->counters});
	/* What is logged goes to a file, so that a test can look for secrets in it. */
	f->real_stderr = dup(STDERR_FILENO);
	int log = open(f->log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, STDERR_FILENO);
	close(log);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	token_source_free(f->source);
	event_base_free(f->base);
	dup2(f->real_stderr, STDERR_FILENO);
	close(f->real_stderr);
	unlink(f->secret_file);
	unlink(f->log_file);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void run_loop(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static bool log_holds(const struct fixture *f, const char *text)
{
	static char log[65536];
	int fd = open(f->log_file, O_RDONLY);
	ssize_t n = read(fd, log, sizeof log - 1);

	close(fd);
	log[n > 0 ? n : 0] = '\0';
	return strstr(log, text) != NULL;
}

static void on_token(void *arg, const struct secret *token, const struct failure *why)
{
	struct asker *a = arg;

	assert_true((token == NULL) != (why == NULL));
	a->called++;
	a->wait = NULL;
	snprintf(a->token, sizeof a->token, "%s", token != NULL ? token->bytes : "");
	snprintf(a->cause, sizeof a->cause, "%s", why != NULL ? why->cause->name : "");
	if (a->cancels != NULL) {
		token_cancel(a->cancels->wait);
		a->cancels->wait = NULL;
	}
	if (a->refuses)
		token_refused(a->fixture->source, token);
	if (a->asks_again) {
		a->asks_again = false;
		a->wait = token_get(a->fixture->source, on_token, a);
	}
}

static void ask(struct fixture *f, struct asker *a)
{
	unsigned called = a->called;

	a->fixture = f;
	a->wait = token_get(f->source, on_token, a);
	assert_int_equal(a->called, called); /* never from inside */
}

/* Asks, lets the loop run, and returns what was given: a token's text, or a cause's name. */
static const char *asked(struct fixture *f, struct asker *a)
{
	unsigned called = a->called;

	ask(f, a);
	run_loop(f);
	assert_int_equal(a->called, called + 1);
	return a->token[0] != '\0' ? a->token : a->cause;
}

static void waiters_share_one_fetch(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0}, b = {0}, c = {0};

	ask(f, &a);
	ask(f, &b);
	run_loop(f);
	ask(f, &c);
	run_loop(f);
	assert_int_equal(wire.posts, 1);
	assert_int_equal(a.called + b.called + c.called, 0);
	assert_string_equal(wire.url, "https://login.test:8443/contoso.onmicrosoft.com/oauth2/v2.0/token");
	assert_string_equal(wire.form,
	    "grant_type=client_credentials&client_id=11111111-2222&scope=https%3A%2F%2Foutlook."
	    "office365.com%2F.default&client_secret=a~b%2Bc%2Fd%20e%26f%25");
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	assert_string_equal(b.token, "tok-1");
	assert_string_equal(c.token, "tok-1");
	assert_string_equal(asked(f, &a), "tok-1");
	assert_int_equal(wire.posts, 1);
	assert_int_equal(counted(&f->counters.tokens_fetched), 1);
	assert_null(token_trouble(f->source));
	assert_true(log_holds(f, "token-fetched upstream=submission credential=oauth lifetime_s=3600 ms=0"));
	assert_false(log_holds(f, "tok-1"));
}

static void a_token_is_renewed_in_the_background(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	pass_seconds(2879);
	assert_string_equal(asked(f, &a), "tok-1");
	assert_null(wire.open);
	pass_seconds(1); /* 80 % */
	assert_string_equal(asked(f, &a), "tok-1");
	assert_non_null(wire.open);
	assert_string_equal(asked(f, &a), "tok-1"); /* still handed out meanwhile */
	answer_token("tok-2", 3600);
	assert_string_equal(asked(f, &a), "tok-2");
	assert_int_equal(wire.posts, 2);
}

static void a_failed_renewal_leaves_the_good_token(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	pass_seconds(3000);
	assert_string_equal(asked(f, &a), "tok-1");
	answer(503, "", 0);
	assert_string_equal(token_trouble(f->source)->cause->name, "login-host-silent");
	assert_true(log_holds(f, "token-failed") && log_holds(f, "remedy=\"Nothing, it is asked again"));
	assert_string_equal(asked(f, &a), "tok-1");
	assert_null(wire.open);
	pass_seconds(541); /* less than a minute is left */
	ask(f, &a);
	run_loop(f);
	assert_non_null(wire.open);
	answer_token("tok-2", 3600);
	assert_string_equal(a.token, "tok-2");
	assert_null(token_trouble(f->source));
}

static void nobody_asks_nothing_is_fetched(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	pass_seconds(100000);
	run_loop(f);
	assert_int_equal(wire.posts, 1);
}

static void a_jump_of_the_wall_clock_makes_no_old_token_good(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	pass_seconds(3600);
	wall_ms -= INT64_C(365) * 86400 * 1000;
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 2);
	answer_token("tok-2", 3600);
	wall_ms += INT64_C(365) * 86400 * 1000; /* as if it had slept */
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 3);
	answer_token("tok-3", 3600);
	assert_string_equal(a.token, "tok-3");
}

static void a_short_token_is_used_and_soon_replaced(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 5);
	assert_string_equal(a.token, "tok-1");
	assert_string_equal(asked(f, &a), "tok-1");
	assert_null(wire.open);
	pass_seconds(4);
	ask(f, &a);
	run_loop(f);
	answer_token("tok-2", 1);
	assert_string_equal(a.token, "tok-2"); /* whatever its lifetime: those who waited get it */
}

static void a_refused_token_is_dropped_once(void **state)
{
	struct fixture *f = *state;
	struct secret old = {NULL, 0};
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	secret_set(&old, str_of("tok-1"));
	token_refused(f->source, &old);
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 2);
	answer_token("tok-2", 3600);
	token_refused(f->source, &old); /* a late word about the old one */
	assert_string_equal(asked(f, &a), "tok-2");
	secret_free(&old);
}

static void a_waiter_may_cancel_another_and_ask_again(void **state)
{
	struct fixture *f = *state;
	struct asker b = {0}, c = {0}, a = {.cancels = &b, .asks_again = true, .refuses = true};

	ask(f, &a);
	ask(f, &b);
	ask(f, &c);
	run_loop(f);
	answer_token("tok-1", 3600);
	assert_int_equal(a.called, 1);
	assert_int_equal(b.called, 0);
	assert_string_equal(c.token, "tok-1"); /* refused by a, but c's copy is whole */
	a.cancels = NULL;
	a.refuses = false;
	run_loop(f);
	assert_int_equal(wire.posts, 2);
	answer_token("tok-2", 3600);
	assert_string_equal(a.token, "tok-2");
	assert_int_equal(c.called, 1);
}

static void cancelled_waiters_are_not_called(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0}, b = {0};

	token_cancel(NULL);
	ask(f, &a);
	token_cancel(a.wait);
	run_loop(f);
	assert_int_equal(wire.posts, 0);
	ask(f, &a);
	ask(f, &b);
	run_loop(f);
	token_cancel(b.wait);
	answer_token("tok-1", 3600);
	assert_int_equal(a.called, 1);
	assert_int_equal(b.called, 0);
}

static void after_a_refusal_a_minute_passes(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	ask(f, &a);
	run_loop(f);
	answer(401,
	    "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client "
	    "secret\",\"error_codes\":[7000215]" TRACE,
	    0);
	run_loop(f);
	assert_string_equal(a.cause, "client-secret-wrong");
	assert_string_equal(token_trouble(f->source)->cause->name, "client-secret-wrong");
	assert_true(log_holds(f, "trace_id=8f1e correlation_id=c0de"));
	pass_seconds(59);
	assert_string_equal(asked(f, &a), "client-secret-wrong");
	assert_int_equal(wire.posts, 1);
	pass_seconds(1);
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 2);
	answer_token("tok-1", 3600);
	assert_null(token_trouble(f->source));
	assert_false(log_holds(f, "a~b"));
}

static void waits_follow_retry_after_and_the_cap(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	token_cap_wait(f->source, 2000);
	ask(f, &a);
	run_loop(f);
	answer(400, "{\"error\":\"invalid_client\"}", 0);
	run_loop(f);
	pass_seconds(2); /* ours is capped */
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 2);
	answer(429, "Too Many Requests", 90);
	run_loop(f);
	assert_string_equal(a.cause, "login-throttled");
	assert_int_equal(token_trouble(f->source)->retry_after_s, 90);
	pass_seconds(89); /* the server's is not */
	assert_string_equal(asked(f, &a), "login-throttled");
	token_retry_now(f->source);
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 3);
}

static void trouble_backs_off_and_recovers(void **state)
{
	static const int waits_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
	struct fixture *f = *state;
	struct asker a = {0};

	for (size_t i = 0; i < sizeof waits_s / sizeof waits_s[0]; i++) {
		ask(f, &a);
		run_loop(f);
		assert_int_equal(wire.posts, i + 1);
		answer_with(&(struct http_answer){.status = 0, .why = "connection refused"});
		run_loop(f);
		assert_string_equal(a.cause, "connection-refused");
		assert_string_equal(token_trouble(f->source)->text, "connection refused");
		mono_ms += waits_s[i] * 1000 - 1;
		assert_string_equal(asked(f, &a), "connection-refused");
		mono_ms += 1;
	}
	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
}

static void the_secret_is_read_anew_each_time(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	chmod(f->secret_file, 0604);
	assert_string_equal(asked(f, &a), "secret-unusable");
	assert_int_equal(wire.posts, 0);
	assert_non_null(strstr(token_trouble(f->source)->text, "chmod"));
	write_file(f->secret_file, "another", 0600);
	pass_seconds(5);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.form, "client_secret=another"));
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
}

static const char refusal[] = "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000222: "
			      "expired\",\"error_codes\":[7000222]}";

/* A source with a next credential, whose first has been refused once. */
static void give_next(struct fixture *f, struct app_credential *next)
{
	char path[80];

	snprintf(path, sizeof path, "%s/next", f->folder);
	write_file(path, "the-next-one", 0600);
	*next = (struct app_credential){.client_secret = xasprintf("file:%s", path)};
	f->oauth.next = next;
}

static void take_next(struct fixture *f, struct app_credential *next)
{
	unlink(next->client_secret + 5);
	free(next->client_secret);
	f->oauth.next = NULL;
}

static void a_refused_credential_gives_way_to_the_next_at_once(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	answer(401, refusal, 0);
	assert_int_equal(a.called, 0);
	assert_int_equal(wire.posts, 2);
	assert_non_null(strstr(wire.form, "client_secret=the-next-one"));
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	assert_true(log_holds(
	    f, "credential-refused upstream=submission credential=oauth name=client-secret-expired"));
	assert_true(log_holds(f, "credential=oauth.next lifetime_s=3600"));
	assert_string_equal(token_first_refused(f->source)->cause->name, "client-secret-expired");
	pass_seconds(3600);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.form, "client_secret=the-next-one")); /* remembered */
	answer_token("tok-2", 3600);
	write_file(f->secret_file, "renewed", 0600);
	pass_seconds(3600);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.form, "client_secret=renewed"));
	answer_token("tok-3", 3600);
	assert_string_equal(a.token, "tok-3");
	assert_null(token_first_refused(f->source));
	take_next(f, &next);
}

static void when_both_are_refused_the_first_is_what_is_told_of(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	answer(401, refusal, 0);
	answer(400, "{\"error\":\"unauthorized_client\",\"error_codes\":[700016]}", 0);
	run_loop(f);
	assert_string_equal(a.cause, "client-secret-expired");
	assert_int_equal(wire.posts, 2);
	pass_seconds(60);
	ask(f, &a);
	run_loop(f);
	assert_int_equal(wire.posts, 3);
	assert_null(strstr(wire.form, "the-next-one")); /* from the front again */
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	take_next(f, &next);
}

static void trouble_of_the_host_turns_to_no_other_credential(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	answer(503, "", 0);
	run_loop(f);
	assert_int_equal(a.called, 1);
	assert_int_equal(wire.posts, 1);
	unlink(f->secret_file); /* but a file that is gone does */
	pass_seconds(1);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.form, "client_secret=the-next-one"));
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	take_next(f, &next);
}

static void trouble_at_the_next_credential_is_told_as_what_it_is(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	answer(401, refusal, 0);
	answer(503, "", 0);
	run_loop(f);
	assert_string_equal(a.cause, "login-host-silent");
	assert_int_equal(token_trouble(f->source)->cause->outcome, OUTCOME_T);
	pass_seconds(1);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.form, "client_secret=the-next-one"));
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	assert_string_equal(token_first_refused(f->source)->cause->name, "client-secret-expired");
	take_next(f, &next);
}

static void what_another_credential_meets_too_turns_to_none(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	f->oauth.proxy = (char *)"http://proxy.test:3128";
	f->oauth.proxy_user = (char *)"relay";
	f->oauth.proxy_password = (char *)"file:/nonexistent/proxy-password";
	assert_string_equal(asked(f, &a), "secret-unusable");
	f->oauth.proxy = NULL;
	pass_seconds(5);
	ask(f, &a);
	run_loop(f);
	answer(404, "<html>Please sign on to the guest network</html>", 0);
	run_loop(f);
	assert_string_equal(a.cause, "login-answer-unusable");
	assert_int_equal(wire.posts, 1);
	assert_false(log_holds(f, "credential-refused"));
	take_next(f, &next);
}

/* Longer than the file system's clock takes for a step. */
static void let_file_times_differ(void)
{
	usleep(20000);
}

static void expect_the_first_is_tried(struct fixture *f)
{
	struct asker a = {0};

	pass_seconds(3600);
	ask(f, &a);
	run_loop(f);
	assert_null(strstr(wire.form, "the-next-one"));
	answer_token("tok-2", 3600);
	assert_string_equal(a.token, "tok-2");
	assert_null(token_first_refused(f->source));
}

static void a_file_that_can_be_read_again_brings_back_the_first(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	chmod(f->secret_file, 0604);
	ask(f, &a);
	run_loop(f);
	answer_token("tok-1", 3600);
	assert_string_equal(token_first_refused(f->source)->cause->name, "secret-unusable");
	let_file_times_differ();
	chmod(f->secret_file, 0600);
	expect_the_first_is_tried(f);
	take_next(f, &next);
}

static void what_is_written_while_the_first_is_on_its_way_is_tried(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	let_file_times_differ();
	write_file(f->secret_file, "renewed", 0600);
	answer(401, refusal, 0);
	answer_token("tok-1", 3600);
	expect_the_first_is_tried(f);
	assert_non_null(strstr(wire.form, "client_secret=renewed"));
	take_next(f, &next);
}

static void an_admin_has_the_first_tried_again_while_the_token_is_used_on(void **state)
{
	struct fixture *f = *state;
	struct app_credential next;
	struct asker a = {0};

	give_next(f, &next);
	ask(f, &a);
	run_loop(f);
	answer(401, refusal, 0);
	answer_token("tok-1", 3600);
	token_retry_now(f->source); /* the certificate was uploaded: no file has changed */
	assert_non_null(token_first_refused(f->source));
	assert_string_equal(asked(f, &a), "tok-1");
	assert_int_equal(wire.posts, 3);
	assert_null(strstr(wire.form, "the-next-one"));
	answer_token("tok-2", 3600);
	assert_null(token_first_refused(f->source));
	token_retry_now(f->source);
	assert_string_equal(asked(f, &a), "tok-2");
	assert_int_equal(wire.posts, 3); /* all is well */
	take_next(f, &next);
}

static void a_federated_token_goes_out_as_the_assertion(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	f->oauth.credential = (struct app_credential){.federated_token = f->source_text};
	ask(f, &a);
	run_loop(f);
	assert_string_equal(wire.form,
	    "grant_type=client_credentials&client_id=11111111-2222&scope=https%3A%2F%2Foutlook."
	    "office365.com%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-"
	    "type%3Ajwt-"
	    "bearer&client_assertion=a~b%2Bc%2Fd%20e%26f%25");
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
}

static void be_a_machine(struct fixture *f, enum oauth_grant grant)
{
	f->oauth = (struct oauth_config){.grant = grant,
	    .authority = (char *)"http://localhost:40342",
	    .scope = (char *)"https://outlook.office365.com/.default"};
}

static void a_managed_identity_is_asked_for_on_this_machine(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};

	be_a_machine(f, GRANT_MANAGED_IDENTITY);
	ask(f, &a);
	run_loop(f);
	assert_string_equal(wire.url,
	    "http://localhost:40342/metadata/identity/oauth2/"
	    "token?api-version=2018-02-01&resource=https%3A%2F%2Foutlook.office365.com%2F");
	assert_string_equal(wire.header, "Metadata: true");
	assert_string_equal(wire.form, "");
	assert_true(wire.local);
	answer(404, "", 0);
	run_loop(f);
	assert_string_equal(a.cause, "identity-busy");
	pass_seconds(1);
	ask(f, &a);
	run_loop(f);
	answer(429, "", 30 * 86400);
	run_loop(f);
	assert_int_equal(token_trouble(f->source)->retry_after_s, 86400);
	pass_seconds(86400);
	ask(f, &a);
	run_loop(f);
	answer(200, "<html>", 0);
	run_loop(f);
	assert_string_equal(a.cause, "identity-answer-unusable");
	pass_seconds(300);
	ask(f, &a);
	run_loop(f);
	answer(400, "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}", 0);
	run_loop(f);
	assert_string_equal(a.cause, "identity-refused");
	pass_seconds(60);
	ask(f, &a);
	run_loop(f);
	answer(200, "{\"access_token\":\"tok-1\",\"expires_in\":\"86399\",\"token_type\":\"Bearer\"}", 0);
	assert_string_equal(a.token, "tok-1");
}

static void arc_is_shown_what_its_challenge_names(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0};
	char path[80], challenge[120];

	snprintf(path, sizeof path, "%s/1234.key", f->folder);
	snprintf(challenge, sizeof challenge, "Basic realm=%s", path);
	write_file(path, "of-the-agent", 0600);
	arc_token_folder = f->folder;
	be_a_machine(f, GRANT_AZURE_ARC);
	ask(f, &a);
	run_loop(f);
	assert_non_null(strstr(wire.url, "api-version=2020-06-01&resource="));
	answer_with(&(struct http_answer){.status = 401, .body = str_of(""), .challenge = challenge});
	assert_string_equal(wire.header, "Metadata: true|Authorization: Basic of-the-agent");
	assert_true(wire.local);
	answer_token("tok-1", 3600);
	assert_string_equal(a.token, "tok-1");
	assert_int_equal(wire.posts, 2);
	assert_false(log_holds(f, "of-the-agent"));
	unlink(path);
}

static void arc_gets_no_file_but_its_own(void **state)
{
	struct fixture *f = *state;
	char good[80], other[80], above[120];
	const char *const wrong[] = {NULL, "", "Basic", "Bearer realm=/x.key",
	    "Basic realm=", "Basic realm=/etc/passwd", "Basic realm=/var/opt/azcmagent/tokens", other, above};
	struct secret key;
	struct err err;

	snprintf(good, sizeof good, "Basic realm=%s/1.key", f->folder);
	snprintf(other, sizeof other, "Basic realm=%s/secret", f->folder);
	snprintf(above, sizeof above, "Basic realm=%s/../%s/1.key", f->folder, f->folder + 5);
	write_file(good + 12, "x", 0600);
	arc_token_folder = f->folder;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (arc_read_challenge(&key, wrong[i], &err) == 0)
			fail_msg("%s is taken", wrong[i]);
	assert_int_equal(arc_read_challenge(&key, good, &err), 0);
	assert_string_equal(key.bytes, "x");
	secret_free(&key);
	unlink(good + 12);
}

static void a_sign_in_is_used_and_its_new_refresh_token_kept(void **state)
{
	struct fixture *f = *state;
	struct secret token, now;
	struct asker a = {0};
	char path[80];
	int64_t stored_s;
	struct err err;

	f->oauth.grant = GRANT_DEVICE_CODE;
	f->oauth.scope = (char *)"https://outlook.office.com/SMTP.Send offline_access";
	assert_string_equal(asked(f, &a), "sign-in-missing");
	snprintf(path, sizeof path, "%s/var", f->folder);
	assert_int_equal(mkdir(path, 0700), 0);
	secret_set(&token, str_of("0.one"));
	assert_int_equal(refresh_write(f->folder, "submission", NULL, &token, &err), 0);
	secret_free(&token);
	pass_seconds(5);
	ask(f, &a);
	run_loop(f);
	assert_string_equal(wire.form, "grant_type=refresh_token&client_id=11111111-2222&scope=https%3A%2F%"
				       "2Foutlook.office.com%2FSMTP.Send%20offline_"
				       "access&refresh_token=0.one");
	answer(200,
	    "{\"access_token\":\"tok-1\",\"expires_in\":3599,\"token_type\":\"Bearer\",\"refresh_token\":\"0."
	    "two\"}",
	    0);
	while (a.token[0] == '\0')
		event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(refresh_read(&now, &stored_s, f->folder, "submission", &err), 0);
	assert_string_equal(now.bytes, "0.two"); /* before it was told of */
	secret_free(&now);
	assert_false(log_holds(f, "0.one") || log_holds(f, "0.two"));
	snprintf(path, sizeof path, "%s/var/sign-in.submission", f->folder);
	unlink(path);
	snprintf(path, sizeof path, "%s/var", f->folder);
	rmdir(path);
}

static void freeing_cancels_everything(void **state)
{
	struct fixture *f = *state;
	struct asker a = {0}, b = {0};

	ask(f, &a);
	run_loop(f);
	ask(f, &b);
	token_source_free(f->source);
	f->source = NULL;
	run_loop(f);
	assert_int_equal(wire.cancels, 1);
	assert_int_equal(a.called + b.called, 0);
	token_source_free(NULL);
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_are_read),
	    cmocka_unit_test(the_largest_token_and_one_more),
	    cmocka_unit_test(every_cut_of_a_good_answer_is_refused),
	    CACHE_TEST(waiters_share_one_fetch),
	    CACHE_TEST(a_token_is_renewed_in_the_background),
	    CACHE_TEST(a_failed_renewal_leaves_the_good_token),
	    CACHE_TEST(nobody_asks_nothing_is_fetched),
	    CACHE_TEST(a_jump_of_the_wall_clock_makes_no_old_token_good),
	    CACHE_TEST(a_short_token_is_used_and_soon_replaced),
	    CACHE_TEST(a_refused_token_is_dropped_once),
	    CACHE_TEST(a_waiter_may_cancel_another_and_ask_again),
	    CACHE_TEST(cancelled_waiters_are_not_called),
	    CACHE_TEST(after_a_refusal_a_minute_passes),
	    CACHE_TEST(waits_follow_retry_after_and_the_cap),
	    CACHE_TEST(trouble_backs_off_and_recovers),
	    CACHE_TEST(the_secret_is_read_anew_each_time),
	    CACHE_TEST(a_refused_credential_gives_way_to_the_next_at_once),
	    CACHE_TEST(when_both_are_refused_the_first_is_what_is_told_of),
	    CACHE_TEST(trouble_of_the_host_turns_to_no_other_credential),
	    CACHE_TEST(trouble_at_the_next_credential_is_told_as_what_it_is),
	    CACHE_TEST(what_another_credential_meets_too_turns_to_none),
	    CACHE_TEST(a_file_that_can_be_read_again_brings_back_the_first),
	    CACHE_TEST(what_is_written_while_the_first_is_on_its_way_is_tried),
	    CACHE_TEST(an_admin_has_the_first_tried_again_while_the_token_is_used_on),
	    CACHE_TEST(a_federated_token_goes_out_as_the_assertion),
	    CACHE_TEST(a_managed_identity_is_asked_for_on_this_machine),
	    CACHE_TEST(arc_is_shown_what_its_challenge_names),
	    CACHE_TEST(arc_gets_no_file_but_its_own),
	    CACHE_TEST(a_sign_in_is_used_and_its_new_refresh_token_kept),
	    CACHE_TEST(freeing_cancels_everything),
	};

	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
