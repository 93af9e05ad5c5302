#include "login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"
#include "entra.h"
#include "log.h"
#include "options.h"
#include "sim_tls.h"
#include "stats.h"
#include "text.h"
#include "token_host.h"

#define LIFETIME_S 3599

static const char token_path[] = "/oauth2/v2.0/token", device_path[] = "/oauth2/v2.0/devicecode";

static void give_token(
    struct connection *connection, struct stream *stream, const struct token_request *request)
{
	struct fault fault;
	long lifetime_s = LIFETIME_S;
	bool as_strings = faults_take(FRONT_LOGIN, STAGE_LOGIN, NULL, ACTION_BIT(ACTION_STRINGS), &fault);
	bool delegated = entra_is_delegated(request);
	char *audience, *token, *refresh, *answer;

	audience = entra_audience(delegated ? "https://outlook.office.com/.default" : request->scope);
	token = token_host_issue(connection, audience, &lifetime_s);
	refresh = delegated ? device_issue_refresh(connection->options) : NULL;
	answer = entra_success(token, lifetime_s, as_strings, refresh);
	http_answer(stream, 200, "application/json", "", answer);
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

static void answer(
    struct connection *connection, struct stream *stream, struct http_request *request, long forced)
{
	char *tenant = tenant_of(request->path, token_path);

	if (!tenant)
		tenant = tenant_of(request->path, device_path);
	if (!tenant)
		http_answer(stream, 404, "text/html", "", "<html><body>Not found</body></html>");
	else if (strcmp(request->method, "POST") != 0)
		http_answer(
		    stream, 405, "text/html", "", "<html><body>POST a token request here</body></html>");
	else
		answer_token_request(connection, stream, tenant, request->body, forced,
		    !strcmp(tenant + strlen(tenant) + 1, device_path + 1));
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
	char why[200];

	if (stream_start_tls(stream, new_tls(), why, sizeof(why)) < 0) {
		stats_add(STAT_tls_failures, 1);
		log_event("login", connection->number, "TLS handshake failed: %s", why);
	} else {
		stats_add(STAT_tls_handshakes, 1);
		token_host_serve(connection, stream, STAGE_LOGIN, answer);
	}
	stream_free(stream, !connection->reset);
}
