#include "config/check_oauth.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "config/files.h"
#include "config/source.h"
#include "config/values.h"

#define URL_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/[]"

/* The oauth of one upstream, and where it stands in the file. */
struct subject {
	const struct source *source;
	const struct reader *reader;
	const struct oauth_config *oauth;
	size_t index;
};

static const config_setting_t *at(const struct subject *s, const char *key)
{
	return source_at(s->source, "upstreams.[%zu].oauth.%s", s->index, key);
}

static bool has(const struct subject *s, const char *key)
{
	const config_setting_t *oauth = source_at(s->source, "upstreams.[%zu].oauth", s->index);

	return config_setting_get_member(oauth, key) != NULL;
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcasecmp(text, *words) == 0)
			return true;
	return false;
}

static void check_tenant(const struct subject *s, const char *tenant)
{
	static const char *const shared[] = {"common", "organizations", "consumers", NULL};

	if (is_one_of(tenant, shared))
		source_error(s->source, at(s, "tenant"),
		    "upstreams.oauth.tenant = \"%s\" names no tenant; write yours: a domain of it, or its "
		    "GUID",
		    tenant);
	else if (!value_is_host(tenant) || strchr(tenant, ':') != NULL)
		source_error(s->source, at(s, "tenant"),
		    "upstreams.oauth.tenant = \"%.64s\": write a domain of the tenant "
		    "(contoso.onmicrosoft.com), or its GUID",
		    tenant);
}

static void check_authority(const struct subject *s, const char *url)
{
	static const char scheme[] = "https://";
	const char *host = url + sizeof scheme - 1;

	if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
		source_error(s->source, at(s, "authority"),
		    "upstreams.oauth.authority = \"%.64s\": the secret goes there, so it must begin with "
		    "https://",
		    url);
	else if (host[0] == '\0' || host[0] == '/' || host[0] == ':' ||
		 host[strspn(host, URL_CHARACTERS)] != '\0')
		source_error(s->source, at(s, "authority"),
		    "upstreams.oauth.authority = \"%.64s\": no base URL; write it as "
		    "\"https://login.microsoftonline.com\"",
		    url);
}

/* A secret, or a certificate with its key: one of the two. */
static void check_credential(const struct subject *s)
{
	const struct app_credential *credential = &s->oauth->credential;
	bool has_pair = has(s, "certificate") || has(s, "key");

	if (has(s, "client_secret") && has_pair)
		source_error(s->source, at(s, "certificate"),
		    "upstreams.oauth: client_secret and certificate exclude each other; remove one of them");
	else if (!has(s, "client_secret") && !has_pair)
		source_error(s->source, at(s, "tenant"),
		    "upstreams.oauth needs client_secret, or certificate and key; add what the app "
		    "registration has");
	if (has(s, "assertion_alg") && !has_pair)
		source_warn(s->source, at(s, "assertion_alg"),
		    "upstreams.oauth.assertion_alg has no effect without a certificate; remove it");
	check_secret(s->source, at(s, "client_secret"), "upstreams.oauth.client_secret",
	    credential->client_secret, s->reader);
	const struct pair_place place = {.certificate_at = at(s, "certificate"),
	    .key_at = at(s, "key"),
	    .certificate_key = "upstreams.oauth.certificate",
	    .key_key = "upstreams.oauth.key"};
	check_signing_pair(s->source, &place, credential->certificate, credential->key,
	    credential->assertion_alg, s->reader);
}

void check_oauth(
    const struct source *source, const struct oauth_config *oauth, size_t index, const struct reader *reader)
{
	const struct subject subject = {source, reader, oauth, index}, *s = &subject;

	if (oauth->tenant != NULL)
		check_tenant(s, oauth->tenant);
	if (oauth->client_id != NULL && !value_is_guid(oauth->client_id))
		source_warn(source, at(s, "client_id"),
		    "upstreams.oauth.client_id is no GUID; copy \"Application (client) ID\" from the app's "
		    "overview page");
	check_credential(s);
	if (oauth->authority != NULL)
		check_authority(s, oauth->authority);
	if (oauth->scope != NULL && (strlen(oauth->scope) < 10 || strchr(oauth->scope, ' ') != NULL ||
					strcmp(oauth->scope + strlen(oauth->scope) - 9, "/.default") != 0))
		source_warn(source, at(s, "scope"),
		    "upstreams.oauth.scope: with a client secret Microsoft takes one resource that ends in "
		    "\"/.default\"");
	check_ca(source, at(s, "ca"), "upstreams.oauth.ca", oauth->ca, reader);
}
