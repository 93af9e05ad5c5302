#include "sender/token_identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "net/http.h"
#include "sender/form.h"
#include "sender/token_answer.h"
#include "sender/token_request_private.h"

#define VM_VERSION  "2018-02-01"
#define ARC_VERSION "2020-06-01"

const char *arc_token_folder = "/var/opt/azcmagent/tokens";

static const char metadata[] = "Metadata: true";

/* The resource that a scope "https://outlook.office365.com/.default" is of: "https://outlook.office365.com/". */
static struct str resource_of(const char *scope)
{
	struct str resource = str_of(scope);

	if (resource.n > 8 && strcmp(scope + resource.n - 8, ".default") == 0)
		resource.n -= 8;
	return resource;
}

static char *make_url(const struct oauth_config *oauth)
{
	bool is_arc = oauth->grant == GRANT_AZURE_ARC;
	struct secret query = {NULL, 0};

	form_add(&query, "api-version", str_of(is_arc ? ARC_VERSION : VM_VERSION));
	form_add(&query, "resource", resource_of(oauth->scope));
	if (!is_arc && oauth->client_id != NULL)
		form_add(&query, "client_id", str_of(oauth->client_id));
	char *url = xasprintf("%s/metadata/identity/oauth2/token?%s", oauth->authority, query.bytes);
	secret_free(&query);
	return url;
}

static void get(struct token_request *request, const struct secret *authorization, http_fn *fn)
{
	const struct http_call call = {
	    .url = request->url, .header = metadata, .secret_header = authorization, .local = true};

	request->http = http_send(request->means.http, &call, fn, request);
}

/* Microsoft asks to come again later after all of these. */
static bool is_passing(int status)
{
	return status == 404 || status == 410 || status == 429 || status >= 500;
}

static void read_token(struct token_outcome *outcome, struct str body)
{
	struct failure wrong;

	if (token_read_answer(200, body, &outcome->token, &outcome->lifetime_s, &wrong) < 0)
		failure_from_trouble(&outcome->why, ROAD_IDENTITY_ANSWER, wrong.text);
}

static void read_refusal(struct token_outcome *outcome, const struct http_answer *answer)
{
	char text[200];

	snprintf(text, sizeof text, "HTTP %d: %.*s", answer->status,
	    answer->body.n < 150 ? (int)answer->body.n : 150, answer->body.p);
	failure_from_trouble(
	    &outcome->why, is_passing(answer->status) ? ROAD_IDENTITY_BUSY : ROAD_IDENTITY, text);
	outcome->why.retry_after_s = token_request_wait_s(answer);
}

/* What comes is a token, or the service's own errors, which are not the login host's. */
static void on_token(void *arg, const struct http_answer *answer)
{
	struct token_request *request = arg;

	request->http = NULL;
	if (answer->status == 0)
		failure_from_trouble(&request->outcome.why, ROAD_IDENTITY_SILENT, answer->why);
	else if (answer->status == 200)
		read_token(&request->outcome, answer->body);
	else
		read_refusal(&request->outcome, answer);
	token_request_end(request);
}

/* --- Arc's proof that one may read what its group may --- */

int arc_read_challenge(struct secret *out, const char *challenge, struct err *err)
{
	static const char scheme[] = "Basic realm=";
	const char *path;
	size_t folder_n = strlen(arc_token_folder), n;

	*out = (struct secret){NULL, 0};
	if (challenge == NULL || strncmp(challenge, scheme, sizeof scheme - 1) != 0)
		return err_set(err, "the identity service names no file to prove oneself by");
	path = challenge + sizeof scheme - 1;
	n = strlen(path);
	if (strncmp(path, arc_token_folder, folder_n) != 0 || path[folder_n] != '/' ||
	    strchr(path + folder_n + 1, '/') != NULL || n < 5 || strcmp(path + n - 4, ".key") != 0)
		return err_set(
		    err, "the identity service asks for \"%.200s\", which is no file of Azure Arc's", path);
	char *source = xasprintf("file:%s", path);
	int result = secret_read(out, source, err);
	free(source);
	return result;
}

static void on_challenge(void *arg, const struct http_answer *answer)
{
	struct token_request *request = arg;
	struct secret key, header;
	struct err err;

	if (answer->status != 401) {
		on_token(arg, answer);
		return;
	}
	request->http = NULL;
	if (arc_read_challenge(&key, answer->challenge, &err) < 0) {
		token_request_fail(request, ROAD_IDENTITY, err.text);
		return;
	}
	char *text = xasprintf("Authorization: Basic %s", key.bytes);
	header = (struct secret){text, strlen(text)};
	get(request, &header, on_token);
	secret_free(&header);
	secret_free(&key);
}

void token_identity_ask(struct token_request *request)
{
	request->url = make_url(request->oauth);
	get(request, NULL, request->oauth->grant == GRANT_AZURE_ARC ? on_challenge : on_token);
}
