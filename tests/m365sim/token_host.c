#include "token_host.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "stats.h"
#include "stop.h"
#include "text.h"
#include "tokens.h"

#define TOKEN_LENGTH 1600
#define HUGE_BODY    (20u * 1024 * 1024)

static const char half_a_token[] =
    "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"eyJ0eXAi";
static const char half_an_answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				     "Content-Length: 1800\r\n\r\n";

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

/* Whether the connection goes on. */
static bool disturbed(struct connection *connection, const struct fault *fault)
{
	faults_wait(fault);
	if (fault->action == ACTION_STALL)
		stop_wait(-1, connection->fd, POLLRDHUP);
	connection->reset = fault->action == ACTION_RESET;
	return fault->action != ACTION_STALL && fault->action != ACTION_CUT && fault->action != ACTION_RESET;
}

/* Returns whether the connection goes on. */
static bool answer(struct connection *connection, struct stream *stream, struct http_request *request,
    enum stage stage, token_host_fn *fn)
{
	const uint64_t own = ACTION_BIT(ACTION_STATUS) | ACTION_BIT(ACTION_HTML) | ACTION_BIT(ACTION_EMPTY) |
			     ACTION_BIT(ACTION_RETRY_AFTER) | ACTION_BIT(ACTION_HUGE_BODY) |
			     ACTION_BIT(ACTION_REDIRECT) | ACTION_BIT(ACTION_ERROR) |
			     ACTION_BIT(ACTION_CUT_JSON);
	struct fault fault;
	long forced = 0;

	log_event(front_name(connection->front), connection->number, "< %s %.300s%s%.300s, body of %zu bytes",
	    request->method, request->path, *request->query ? "?" : "", request->query, request->body_n);
	stats_add(STAT_token_requests, 1);
	if (faults_take(connection->front, stage, NULL, ACTION_STEPS | own, &fault)) {
		if (!disturbed(connection, &fault))
			return false;
		if (answer_fault(stream, &fault))
			return request->keep_alive && fault.action != ACTION_GARBAGE &&
			       fault.action != ACTION_HALF;
		forced = fault.action == ACTION_ERROR ? fault.number : 0;
	}
	fn(connection, stream, request, forced);
	return request->keep_alive;
}

void token_host_serve(
    struct connection *connection, struct stream *stream, enum stage stage, token_host_fn *fn)
{
	struct http_request request;
	int result;

	while ((result = http_read(stream, &request)) == 0) {
		bool go_on = answer(connection, stream, &request, stage, fn);

		http_request_free(&request);
		if (!go_on)
			return;
	}
	if (result > 0)
		http_answer(stream, result, "text/plain", "Connection: close\r\n", "");
}

char *token_host_issue(const struct connection *connection, const char *audience, long *lifetime_s)
{
	size_t length = TOKEN_LENGTH;
	struct fault fault;

	if (faults_take(connection->front, STAGE_TOKENS, NULL, ACTION_BIT(ACTION_EXPIRE_IN), &fault))
		*lifetime_s = fault.number;
	if (faults_take(connection->front, STAGE_TOKENS, NULL, ACTION_BIT(ACTION_LENGTH), &fault))
		length = (size_t)fault.number;
	char *token = token_issue(connection->options, audience, *lifetime_s, length);
	stats_add(STAT_tokens_issued, 1);
	log_event(front_name(connection->front), connection->number,
	    "> 200 token of %zu bytes for %s, expires_in %ld", strlen(token), audience, *lifetime_s);
	return token;
}
