#include "identity.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "arc_keys.h"
#include "entra.h"
#include "log.h"
#include "options.h"
#include "stats.h"
#include "text.h"
#include "token_host.h"

#define LIFETIME_S 86399 /* a managed identity's token is good for a day */

enum wrong {
	NOTHING_WRONG,
	NO_METADATA,
	NO_VERSION,
	NO_RESOURCE,
	UNKNOWN_RESOURCE,
	UNKNOWN_IDENTITY,
	SEVERAL_IDENTITIES,
	WRONG_KEY,
	NO_KEY_FILE
};

/* Microsoft documents the first, and invalid_resource; the others' words are from experience or ours. */
static const struct refusal {
	int status;
	const char *error, *text;
} refusals[] = {
    [NO_METADATA] = {400, "bad_request_102", "Required metadata header not specified"},
    [NO_VERSION] = {400, "invalid_request", "The api-version is missing, or none that is supported"},
    [NO_RESOURCE] = {400, "invalid_request", "Required query variable 'resource' is missing"},
    [UNKNOWN_RESOURCE] = {400, "invalid_resource", NULL},
    [UNKNOWN_IDENTITY] = {400, "invalid_request", "Identity not found"},
    [SEVERAL_IDENTITIES] = {400, "invalid_request",
	"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity "
	"in the token request"},
    [WRONG_KEY] = {401, "unauthorized_client", "The key of the Authorization header is not known"},
    [NO_KEY_FILE] = {500, "unknown", "The key file can't be written"},
};

struct asked {
	char *version, *resource, *client_id; /* NULL: not asked for */
};

static char *words_for(const struct connection *connection, enum wrong wrong, const struct asked *asked)
{
	if (wrong != UNKNOWN_RESOURCE)
		return text_copy(refusals[wrong].text);
	return text_format("AADSTS50001: The application named %.200s was not found in the tenant named "
			   "%.100s. This can happen if the application has not been installed by the "
			   "administrator of the tenant or consented to by any user in the tenant. You might "
			   "have sent your authentication request to the wrong tenant.",
	    asked->resource, connection->options->tenant);
}

static void refuse(
    struct connection *connection, struct stream *stream, enum wrong wrong, const struct asked *asked)
{
	const struct refusal *refusal = &refusals[wrong];
	char *words = words_for(connection, wrong, asked);
	json_t *json = json_pack("{s:s, s:s}", "error", refusal->error, "error_description", words);
	char *body = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);

	stats_add(STAT_token_refusals, 1);
	/* Names that are not UTF-8 make no JSON. */
	http_answer(stream, refusal->status, "application/json", "", body ? body : "{}");
	log_event(front_name(connection->front), connection->number, "> %d %s: %s", refusal->status,
	    refusal->error, words);
	free(body);
	json_decref(json);
	free(words);
}

/* The VM's identities are those of DIR/app/identities, client ids one a line; without the file the app's. */
static enum wrong check_identity(const struct options *options, const char *client_id)
{
	char *path = text_format("%s/app/identities", options->dir), line[80];
	FILE *file = fopen(path, "r");
	bool found = !file && (!client_id || !strcasecmp(client_id, options->client_id));
	size_t n = 0;

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = found || !client_id || !strcasecmp(client_id, line);
		n++;
	}
	if (file)
		fclose(file);
	free(path);
	if (!found)
		return UNKNOWN_IDENTITY;
	return !client_id && n > 1 ? SEVERAL_IDENTITIES : NOTHING_WRONG;
}

/* Arc's agent is asked with "True" in Microsoft's own example. */
static bool has_metadata(const struct connection *connection, const struct http_request *request)
{
	return connection->front == FRONT_ARC ? !strcasecmp(request->metadata, "true")
					      : !strcmp(request->metadata, "true");
}

/* All but the proof. */
static enum wrong check(
    const struct connection *connection, const struct http_request *request, const struct asked *asked)
{
	const char *oldest = connection->front == FRONT_ARC ? "2019-11-01" : "2018-02-01";

	if (!has_metadata(connection, request))
		return NO_METADATA;
	if (!asked->version || strlen(asked->version) != strlen(oldest) || strcmp(asked->version, oldest) < 0)
		return NO_VERSION;
	if (!asked->resource)
		return NO_RESOURCE;
	if (!entra_knows_resource(asked->resource))
		return UNKNOWN_RESOURCE;
	return connection->front == FRONT_IMDS ? check_identity(connection->options, asked->client_id)
					       : NOTHING_WRONG;
}

static void challenge(struct connection *connection, struct stream *stream, const struct asked *asked)
{
	char *path = arc_key_new(connection->options), *header;
	struct fault fault;

	if (!path) {
		refuse(connection, stream, NO_KEY_FILE, asked);
		return;
	}
	header = faults_take(connection->front, STAGE_IDENTITY, NULL, ACTION_BIT(ACTION_CHALLENGE), &fault)
		     ? text_format("WWW-Authenticate: %s\r\n", fault.text)
		     : text_format("WWW-Authenticate: Basic realm=%s\r\n", path);
	http_answer(stream, 401, "text/plain", header, "");
	log_event("arc", connection->number, "> 401 %.*s", (int)strcspn(header, "\r"), header);
	free(header);
	free(path);
}

/* Returns whether the caller has proved itself; else it is answered. */
static bool is_proved(struct connection *connection, struct stream *stream,
    const struct http_request *request, const struct asked *asked)
{
	if (connection->front != FRONT_ARC)
		return true;
	if (!request->authorization[0])
		challenge(connection, stream, asked);
	else if (strncmp(request->authorization, "Basic ", 6) == 0 &&
		 arc_key_use(connection->options, request->authorization + 6))
		return true;
	else
		refuse(connection, stream, WRONG_KEY, asked);
	return false;
}

static void give_token(struct connection *connection, struct stream *stream, const struct asked *asked)
{
	long lifetime_s = LIFETIME_S, now_s = (long)(text_now_us() / 1000000);
	char *token = token_host_issue(connection, asked->resource, &lifetime_s);
	json_t *json = json_pack("{s:s, s:o, s:o, s:o, s:s, s:s}", "access_token", token, "expires_in",
	    json_sprintf("%ld", lifetime_s), "expires_on", json_sprintf("%ld", now_s + lifetime_s),
	    "not_before", json_sprintf("%ld", now_s), "resource", asked->resource, "token_type", "Bearer");
	char *body = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);

	http_answer(stream, 200, "application/json", "", body);
	free(body);
	json_decref(json);
	free(token);
}

static void answer(
    struct connection *connection, struct stream *stream, struct http_request *request, long forced)
{
	struct asked asked = {http_form_field(request->query, "api-version"),
	    http_form_field(request->query, "resource"), http_form_field(request->query, "client_id")};
	enum wrong wrong = check(connection, request, &asked);

	(void)forced;
	if (strcmp(request->path, "/metadata/identity/oauth2/token") != 0)
		http_answer(stream, 404, "text/html", "", "<html><body>Not found</body></html>");
	else if (strcmp(request->method, "GET") != 0)
		http_answer(stream, 405, "text/html", "", "<html><body>Only GET is supported</body></html>");
	else if (wrong)
		refuse(connection, stream, wrong, &asked);
	else if (is_proved(connection, stream, request, &asked))
		give_token(connection, stream, &asked);
	free(asked.version);
	free(asked.resource);
	free(asked.client_id);
}

void identity_serve(struct connection *connection)
{
	struct stream *stream = stream_new(connection->fd);

	token_host_serve(connection, stream, STAGE_IDENTITY, answer);
	stream_free(stream, !connection->reset);
}
