#include "entra.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "app.h"
#include "device.h"
#include "options.h"
#include "text.h"

/* Texts as the login host words them; {app}, {tenant}, {scope}, {grant}, {wrong} stand for what the request
 * named. */
static const struct entra_row {
	long number;
	int status;
	const char *error;
	const char *text;
} rows[] = {
    {7000215, 401, "invalid_client",
	"Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
	"value, not the client secret ID, for a secret added to app '{app}'."},
    {7000222, 401, "invalid_client",
	"The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new "
	"keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for "
	"added security: https://aka.ms/certCreds."},
    {7000218, 401, "invalid_client",
	"The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
    {7000112, 400, "unauthorized_client", "Application '{app}'(scan relay) is disabled."},
    {700016, 400, "unauthorized_client",
	"Application with identifier '{app}' was not found in the directory '{tenant}'. This can happen if "
	"the application has not been installed by the administrator of the tenant or consented to by any "
	"user in the tenant. You may have sent your authentication request to the wrong tenant."},
    {700024, 401, "invalid_client", "Client assertion is not within its valid time range."},
    {700027, 401, "invalid_client",
	"The certificate with identifier used to sign the client assertion is not registered on "
	"application."},
    {50027, 401, "invalid_client", "JWT token is invalid or malformed."},
    {50173, 400, "invalid_grant",
	"The provided grant has expired due to it being revoked, a fresh auth token is needed. The user "
	"might have "
	"changed or reset their password."},
    {70016, 400, "authorization_pending",
	"OAuth 2.0 device flow error. Authorization is pending. Continue polling."},
    {70017, 400, "authorization_declined", "The end user has denied the authorization request."},
    {70018, 400, "bad_verification_code", "Invalid verification code due to User typing in wrong user code."},
    {70019, 400, "expired_token", "Verification code expired. Have the user retry the sign-in."},
    {90002, 400, "invalid_request",
	"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into "
	"the correct cloud. Check with your subscription administrator, this may happen if there are no "
	"active subscriptions for the tenant."},
    {90033, 503, "temporarily_unavailable", "A transient error has occurred. Please try again."},
    {90055, 429, "temporarily_unavailable",
	"The request was not processed because there are too many requests for the tenant."},
    {900144, 400, "invalid_request", "The request body must contain the following parameter: '{wrong}'."},
    {50194, 400, "invalid_request",
	"Application '{app}'(scan relay) is not configured as a multi-tenant application. Usage of the "
	"/common endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific "
	"endpoint or configure the application to be multi-tenant."},
    {50196, 400, "invalid_grant",
	"The server terminated an operation because it encountered a client request loop. Please contact "
	"your app vendor."},
    {53003, 400, "access_denied",
	"Access has been blocked by Conditional Access policies. The access policy does not allow token "
	"issuance."},
    {70003, 400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."},
    {70011, 400, "invalid_scope",
	"The provided request must include a 'scope' input parameter. The provided value for the input "
	"parameter 'scope' is not valid. The scope {scope} is not valid."},
    {1002012, 400, "invalid_scope",
	"The provided value for scope {scope} is not valid. Client credential flows must have a scope value "
	"with /.default suffixed to the resource identifier (application ID URI)."},
    {28000, 400, "invalid_scope",
	"Provided value for the input parameter scope is not valid because it contains more than one "
	"resource. Scope {scope} is not valid."},
    {500011, 400, "invalid_resource",
	"The resource principal named {scope} was not found in the tenant named {tenant}. This can happen if "
	"the application has not been installed by the administrator of the tenant or consented to by any "
	"user in the tenant. You might have sent your authentication request to the wrong tenant."},
    {0, 400, "invalid_request", "The request can't be served."},
};

static const char *const resources[] = {"https://outlook.office365.com", "https://outlook.office.com",
    "https://outlook.office365.us", "https://outlook-dod.office365.us", "https://partner.outlook.cn",
    "https://communication.azure.com", "https://graph.microsoft.com", "https://graph.microsoft.us"};

static const char default_scope[] = "/.default";
static const char device_grant[] = "urn:ietf:params:oauth:grant-type:device_code";
static const char jwt_bearer[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

char *entra_audience(const char *scope)
{
	char *audience = text_copy(scope);
	size_t n = strlen(audience), m = sizeof(default_scope) - 1;

	if (n > m && !strcmp(audience + n - m, default_scope))
		audience[n - m] = '\0';
	return audience;
}

bool entra_knows_resource(const char *resource)
{
	size_t n = strlen(resource), i;

	n -= n > 0 && resource[n - 1] == '/';
	for (i = 0; i < sizeof(resources) / sizeof(*resources); i++)
		if (strlen(resources[i]) == n && !strncasecmp(resource, resources[i], n))
			return true;
	return false;
}

static long check_scope(const char *scope)
{
	char *audience = entra_audience(scope);
	long number = 500011;

	if (strchr(scope, ' '))
		number = strchr(strchr(scope, ' ') + 1, '/') ? 28000 : 1002012;
	else if (!strcmp(audience, scope))
		number = strstr(scope, "://") ? 1002012 : 70011;
	else if (entra_knows_resource(audience))
		number = 0;
	free(audience);
	return number;
}

static long check_app(const struct options *options, const char *tenant, const char *client_id)
{
	if (!client_id)
		return 900144;
	if (!strcmp(tenant, "common") || !strcmp(tenant, "organizations"))
		return 50194;
	if (strcasecmp(tenant, options->tenant) != 0)
		return 90002;
	return strcasecmp(client_id, options->client_id) != 0 ? 700016 : 0;
}

static long check_proof(
    const struct options *options, const char *tenant, const struct token_request *request)
{
	if (!request->scope)
		return 900144;
	if (check_scope(request->scope) != 0)
		return check_scope(request->scope);
	if (request->client_secret)
		return app_check_secret(options, request->client_secret);
	if (request->assertion && request->assertion_type && !strcmp(request->assertion_type, jwt_bearer))
		return app_check_assertion(options, tenant, request->assertion);
	return 7000218;
}

bool entra_is_delegated(const struct token_request *request)
{
	return request->grant_type && strcmp(request->grant_type, "client_credentials") != 0;
}

/* What a person may be asked for: one permission, and that it lasts. */
static bool is_user_scope(const char *scope)
{
	return scope && strstr(scope, ".Send") && strstr(scope, " offline_access") &&
	       !strstr(scope, "/.default");
}

long entra_check_device(
    const struct options *options, const char *tenant, const struct token_request *request)
{
	long number = check_app(options, tenant, request->client_id);

	return number ? number : is_user_scope(request->scope) ? 0 : 70011;
}

long entra_check(const struct options *options, const char *tenant, const struct token_request *request)
{
	long number = request->grant_type ? check_app(options, tenant, request->client_id) : 900144;

	if (number)
		return number;
	if (!strcmp(request->grant_type, "client_credentials"))
		return check_proof(options, tenant, request);
	if (strcmp(request->grant_type, device_grant) != 0 &&
	    strcmp(request->grant_type, "refresh_token") != 0)
		return 70003;
	/* A public client has nothing to prove itself by. */
	if (request->client_secret || request->assertion)
		return 700025;
	if (request->device_code)
		return device_poll(options, request->device_code);
	if (!request->refresh_token)
		return 900144;
	return is_user_scope(request->scope) ? device_check_refresh(options, request->refresh_token) : 70011;
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

/* The words with the request's names put in, to be freed. */
static char *fill_in(const char *text, const char *tenant, const struct token_request *request)
{
	const char *wrong = !request->grant_type ? "grant_type" : !request->client_id ? "client_id" : "scope";
	const struct {
		const char *name, *value;
	} names[] = {{"{app}", request->client_id}, {"{tenant}", tenant}, {"{scope}", request->scope},
	    {"{grant}", request->grant_type}, {"{wrong}", wrong}};
	char *filled = text_copy(text);
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *at = strstr(filled, names[i].name), *next;

		if (!at)
			continue;
		*at = '\0';
		next =
		    text_format("%s%.200s%s", filled, or_empty(names[i].value), at + strlen(names[i].name));
		free(filled);
		filled = next;
	}
	return filled;
}

char *entra_error(long number, const struct options *options, const char *tenant,
    const struct token_request *request, int *status)
{
	const struct entra_row *row = rows;
	char trace[TEXT_GUID], correlation[TEXT_GUID], now[TEXT_TIME], *words, *description, *uri, *answer;
	json_t *json;

	while (row->number && row->number != number)
		row++;
	text_guid(trace);
	text_guid(correlation);
	text_time_entra(now, text_now_us());
	words = fill_in(row->text, tenant ? tenant : options->tenant, request);
	description = text_format("AADSTS%ld: %s Trace ID: %s Correlation ID: %s Timestamp: %s", number,
	    words, trace, correlation, now);
	uri = text_format("https://login.microsoftonline.com/error?code=%ld", number);
	json = json_pack("{s:s, s:s, s:[I], s:s, s:s, s:s, s:s}", "error", row->error, "error_description",
	    description, "error_codes", (json_int_t)number, "timestamp", now, "trace_id", trace,
	    "correlation_id", correlation, "error_uri", uri);
	answer = json ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	json_decref(json);
	free(words);
	free(description);
	free(uri);
	*status = row->status;
	/* Names that are not UTF-8 make no JSON. */
	return answer ? answer : text_copy("{\"error\":\"invalid_request\"}");
}

char *entra_success(const char *token, long expires_in, bool as_strings, const char *refresh_token)
{
	const char *quote = as_strings ? "\"" : "";
	char *refresh =
	    refresh_token ? text_format(",\"refresh_token\":\"%s\"", refresh_token) : text_copy("");
	char *answer =
	    text_format("{\"token_type\":\"Bearer\",\"expires_in\":%s%ld%s,\"ext_expires_in\":%s%ld%s,"
			"\"access_token\":\"%s\"%s}",
		quote, expires_in, quote, quote, expires_in, quote, token, refresh);

	free(refresh);
	return answer;
}
