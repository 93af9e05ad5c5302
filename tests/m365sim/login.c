#include "login.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"
#include "entra.h"
#include "faults.h"
#include "front.h"
#include "http.h"
#include "log.h"
#include "options.h"
#include "sim_tls.h"
#include "stats.h"
#include "stop.h"
#include "stream.h"
#include "text.h"
#include "tokens.h"

#define LIFETIME_S   3599
#define TOKEN_LENGTH 1600
#define HUGE_BODY    (20u * 1024 * 1024)

static const char half_a_token[] =
    "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"eyJ0eXAi";
static const char half_an_answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				     "Content-Length: 1800\r\n\r\n";

static const char token_path[] = "/oauth2/v2.0/token", device_path[] = "/oauth2/v2.0/devicecode";

/* Faults of a request that leave the connection as it is. Returns whether the answer is given. */
static bool answer_fault(struct stream *stream, const struct fault *fault)
{
	char header[FAULT_TEXT_MAX + 40];
	char *text;

	switch (fault->action) {
	case ACTION_STATUS:
		http_answer(stream, (int)fault->number, "text/plain", "", "The service is unavailable.");
		return true;
	case ACTION_HTML:
		http_answer(stream, 200, "text/html", "",
		    "<!DOCTYPE html><html><head><title>Sign in to your "
		    "account</title></head><body></body></html>");
		return true;
	case ACTION_EMPTY:
		http_answer(stream, 200, "application/json", "", "");
		return true;
	case ACTION_RETRY_AFTER:
		snprintf(header, sizeof(header), "Retry-After: %ld\r\n", fault->number);
		http_answer(stream, 429, "text/plain", header, "Too Many Requests");
		return true;
	case ACTION_REDIRECT:
		snprintf(header, sizeof(header), "Location: %s\r\n", fault->text);
		http_answer(stream, 302, "text/html", header, "");
		return true;
	case ACTION_GARBAGE:
		stream_write(stream, "\x00\xff\x13\x37 this is not HTTP\r\n\r\n", 25);
		stream_flush(stream);
		return true;
	case ACTION_CUT_JSON:
		http_answer(stream, 200, "application/json", "", half_a_token);
		return true;
	case ACTION_HALF:
		stream_write(stream, half_an_answer, sizeof(half_an_answer) - 1);
		stream_write(stream, half_a_token, sizeof(half_a_token) - 1);
		stream_flush(stream);
		return true;
	case ACTION_HUGE_BODY:
		text = text_alloc(HUGE_BODY + 1);
		memset(text, 'x', HUGE_BODY);
		memcpy(text, "{\"access_token\":\"", 17);
		http_answer(stream, 200, "application/json", "", text);
		free(text);
		return true;
	default:
		return false;
	}
}

static void give_token(
    struct connection *connection, struct stream *stream, const struct token_request *request)
{
	struct fault fault;
	long lifetime_s = LIFETIME_S;
	size_t length = TOKEN_LENGTH;
	bool as_strings = faults_take(FRONT_LOGIN, STAGE_LOGIN, NULL, ACTION_BIT(ACTION_STRINGS), &fault);
	bool delegated = entra_is_delegated(request);
	char *audience, *token, *refresh, *answer;

	if (faults_take(FRONT_LOGIN, STAGE_TOKENS, NULL, ACTION_BIT(ACTION_EXPIRE_IN), &fault))
		lifetime_s = fault.number;
	if (faults_take(FRONT_LOGIN, STAGE_TOKENS, NULL, ACTION_BIT(ACTION_LENGTH), &fault))
		length = (size_t)fault.number;
	audience = entra_audience(delegated ? "https://outlook.office.com/.default" : request->scope);
	token = token_issue(connection->options, audience, lifetime_s, length);
	refresh = delegated ? device_issue_refresh(connection->options) : NULL;
	answer = entra_success(token, lifetime_s, as_strings, refresh);
	stats_add(STAT_tokens_issued, 1);
	http_answer(stream, 200, "application/json", "", answer);
	log_event("login", connection->number, "> 200 token of %zu bytes for %s, expires_in %ld",
	    strlen(token), audience, lifetime_s);
	free(answer);
	free(refresh);
	free(token);
	free(audience);
}

static void refuse_token(struct connection *connection, struct stream *stream, long number,
    const char *tenant, const struct token_request *request)
{
	int status;
	char *answer = entra_error(number, connection->options, tenant, request, &status);

	stats_add(STAT_token_refusals, 1);
	http_answer(stream, status, "application/json", "", answer);
	log_event("login", connection->number, "> %d AADSTS%ld", status, number);
	free(answer);
}

static void give_device_code(struct connection *connection, struct stream *stream)
{
	char *answer = device_code(connection->options);

	http_answer(stream, 200, "application/json", "", answer);
	log_event("login", connection->number, "> 200 device code");
	free(answer);
}

/* forced: the AADSTS number of a rule, or 0. */
static void answer_token_request(struct connection *connection, struct stream *stream, char *tenant,
    const char *body, long forced, bool for_device_code)
{
	struct token_request request = {http_form_field(body, "grant_type"),
	    http_form_field(body, "client_id"), http_form_field(body, "client_secret"),
	    http_form_field(body, "scope"), http_form_field(body, "client_assertion_type"),
	    http_form_field(body, "client_assertion"), http_form_field(body, "device_code"),
	    http_form_field(body, "refresh_token")};
	long number = forced		? forced
		      : for_device_code ? entra_check_device(connection->options, tenant, &request)
					: entra_check(connection->options, tenant, &request);

	if (number)
		refuse_token(connection, stream, number, tenant, &request);
	else if (for_device_code)
		give_device_code(connection, stream);
	else
		give_token(connection, stream, &request);
	free(request.grant_type);
	free(request.client_id);
	free(request.client_secret);
	free(request.scope);
	free(request.assertion_type);
	free(request.assertion);
	free(request.device_code);
	free(request.refresh_token);
}

/* The tenant of a path that ends in end, cut off there; NULL: another path. */
static char *tenant_of(char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	if (n <= m + 1 || path[0] != '/' || strcmp(path + n - m, end) != 0)
		return NULL;
	path[n - m] = '\0';
	return path + 1;
}

/* Whether the connection goes on. */
static bool disturbed(struct connection *connection, const struct fault *fault)
{
	stop_wait(fault->action == ACTION_DELAY ? fault->number : fault->delay_ms, -1, 0);
	if (fault->action == ACTION_STALL)
		stop_wait(-1, connection->fd, POLLRDHUP);
	connection->reset = fault->action == ACTION_RESET;
	return fault->action != ACTION_STALL && fault->action != ACTION_CUT && fault->action != ACTION_RESET;
}

/* Returns whether the connection goes on. */
static bool answer(struct connection *connection, struct stream *stream, struct http_request *request)
{
	const uint64_t own = ACTION_BIT(ACTION_STATUS) | ACTION_BIT(ACTION_HTML) | ACTION_BIT(ACTION_EMPTY) |
			     ACTION_BIT(ACTION_RETRY_AFTER) | ACTION_BIT(ACTION_HUGE_BODY) |
			     ACTION_BIT(ACTION_REDIRECT) | ACTION_BIT(ACTION_ERROR) |
			     ACTION_BIT(ACTION_CUT_JSON);
	struct fault fault;
	long forced = 0;
	char *tenant;

	log_event("login", connection->number, "< %s %.300s, body of %zu bytes", request->method,
	    request->path, request->body_n);
	stats_add(STAT_token_requests, 1);
	if (faults_take(FRONT_LOGIN, STAGE_LOGIN, NULL, ACTION_STEPS | own, &fault)) {
		if (!disturbed(connection, &fault))
			return false;
		if (answer_fault(stream, &fault))
			return request->keep_alive && fault.action != ACTION_GARBAGE &&
			       fault.action != ACTION_HALF;
		forced = fault.action == ACTION_ERROR ? fault.number : 0;
	}
	if ((tenant = tenant_of(request->path, token_path)) == NULL)
		tenant = tenant_of(request->path, device_path);
	if (!tenant)
		http_answer(stream, 404, "text/html", "", "<html><body>Not found</body></html>");
	else if (strcmp(request->method, "POST") != 0)
		http_answer(
		    stream, 405, "text/html", "", "<html><body>POST a token request here</body></html>");
	else
		answer_token_request(connection, stream, tenant, request->body, forced,
		    !strcmp(tenant + strlen(tenant) + 1, device_path + 1));
	return request->keep_alive;
}

static SSL *new_tls(void)
{
	struct fault cert = {0}, version = {0};
	enum identity identity = IDENTITY_GOOD;

	if (faults_take(FRONT_LOGIN, STAGE_LOGIN, NULL, ACTION_BIT(ACTION_CERT), &cert))
		while (strcmp(identity_names[identity], cert.text) != 0)
			identity++;
	faults_take(FRONT_LOGIN, STAGE_LOGIN, NULL, ACTION_BIT(ACTION_TLS_MAX), &version);
	return sim_tls_new(identity, version.text[0] ? version.text : NULL);
}

void login_serve(struct connection *connection)
{
	struct stream *stream = stream_new(connection->fd);
	struct http_request request;
	char why[200];
	int result;

	if (stream_start_tls(stream, new_tls(), why, sizeof(why)) < 0) {
		stats_add(STAT_tls_failures, 1);
		log_event("login", connection->number, "TLS handshake failed: %s", why);
	} else {
		stats_add(STAT_tls_handshakes, 1);
		while ((result = http_read(stream, &request)) == 0) {
			bool go_on = answer(connection, stream, &request);

			http_request_free(&request);
			if (!go_on)
				break;
		}
		if (result > 0)
			http_answer(stream, result, "text/plain", "Connection: close\r\n", "");
	}
	stream_free(stream, !connection->reset);
}
