#include "config/check_oauth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "config/check_proxy.h"
#include "config/config.h"
#include "config/expiry.h"
#include "config/files.h"
#include "config/schema.h"
#include "config/source.h"
#include "config/values.h"

#define NAME_ROOM      96 /* for "upstreams.oauth." and a key */
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
	bool is_machine = s->oauth->grant == GRANT_MANAGED_IDENTITY || s->oauth->grant == GRANT_AZURE_ARC;
	const char *scheme = is_machine ? "http://" : "https://";
	const char *host = url + strlen(scheme);

	if (strncasecmp(url, scheme, strlen(scheme)) != 0 && is_machine)
		source_error(s->source, at(s, "authority"),
		    "upstreams.oauth.authority = \"%.64s\": the identity service of this machine speaks "
		    "http://, at an "
		    "address that no other machine can have",
		    url);
	else if (strncasecmp(url, scheme, strlen(scheme)) != 0)
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

/* One credential: group is "" for the first, "next." for the next. */
struct proof {
	const struct subject *s;
	const struct app_credential *credential;
	const char *group;
};

/* The key's place in the config, and what messages call it (room is NAME_ROOM). */
static const config_setting_t *place_of(const struct proof *p, const char *key, char *name, size_t room)
{
	char below[64];

	snprintf(below, sizeof below, "%s%s", p->group, key);
	snprintf(name, room, "upstreams.oauth.%s", below);
	return at(p->s, below);
}

static bool proof_has(const struct proof *p, const char *key)
{
	const config_setting_t *group =
	    p->group[0] != '\0' ? source_at(p->s->source, "upstreams.[%zu].oauth.next", p->s->index)
				: source_at(p->s->source, "upstreams.[%zu].oauth", p->s->index);

	return config_setting_get_member(group, key) != NULL;
}

static void check_secret_of(const struct proof *p, const char *key, const char *value)
{
	char name[NAME_ROOM];
	const config_setting_t *place = place_of(p, key, name, sizeof name);

	check_secret(p->s->source, place, name, value, p->s->reader);
}

static void check_pair_of(const struct proof *p)
{
	char certificate_name[NAME_ROOM], key_name[NAME_ROOM];
	const struct pair_place place = {
	    .certificate_at = place_of(p, "certificate", certificate_name, sizeof certificate_name),
	    .key_at = place_of(p, "key", key_name, sizeof key_name),
	    .certificate_key = certificate_name,
	    .key_key = key_name};

	check_signing_pair(p->s->source, &place, p->credential->certificate, p->credential->key,
	    p->credential->assertion_alg, p->s->reader);
}

/* What goes with one kind of credential only. */
static void check_companion(const struct proof *p, const char *key, bool has_owner, const char *owner)
{
	char name[NAME_ROOM];
	const config_setting_t *place = place_of(p, key, name, sizeof name);

	if (proof_has(p, key) && !has_owner)
		source_warn(p->s->source, place, "%s has no effect without %s; remove it", name, owner);
}

/* One of a secret, a certificate with its key, and a federated token. */
static void check_proof(const struct proof *p)
{
	bool has_secret = proof_has(p, "client_secret"), has_token = proof_has(p, "federated_token");
	bool has_pair = proof_has(p, "certificate") || proof_has(p, "key");
	char name[NAME_ROOM];

	if (has_secret + has_pair + has_token > 1)
		source_error(p->s->source,
		    place_of(p, has_pair ? "certificate" : "federated_token", name, sizeof name),
		    "upstreams.oauth: client_secret, certificate and federated_token exclude each other; "
		    "keep one, and "
		    "give another as oauth.next");
	else if (has_secret + has_pair + has_token == 0)
		source_error(p->s->source, place_of(p, "client_secret", name, sizeof name),
		    "%s is missing, and there is no certificate with its key either; add what the app "
		    "registration "
		    "has",
		    name);
	check_companion(p, "assertion_alg", has_pair, "a certificate");
	check_companion(p, "secret_expires", has_secret, "client_secret");
	check_secret_of(p, "client_secret", p->credential->client_secret);
	check_secret_of(p, "federated_token", p->credential->federated_token);
	check_pair_of(p);
}

/* What is less than 60 days away. */
static void warn_of_expiry(void *arg, const struct expiry *expiry)
{
	const struct subject *s = arg;
	int64_t now_s = time(NULL);
	char text[400];

	if (strncmp(expiry->key, "oauth.", 6) == 0 && expiry_nearness(expiry, now_s) != EXPIRY_FAR)
		source_warn(s->source, at(s, expiry->key + 6), "upstreams.%s",
		    expiry_text(text, sizeof text, expiry, now_s));
}

/* An app that proves itself; for the other grants there is nothing to prove. */
static void check_proofs(const struct subject *s, const struct upstream_config *upstream)
{
	static const char *const keys[] = {"client_secret", "certificate", "key", "federated_token", "next"};
	const struct proof first = {s, &s->oauth->credential, ""}, next = {s, s->oauth->next, "next."};
	struct subject copy = *s;

	if (s->oauth->grant != GRANT_CLIENT_CREDENTIALS) {
		for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
			if (proof_has(&first, keys[i]))
				source_error(s->source, at(s, keys[i]),
				    "upstreams.oauth.%s does not go with grant = \"%s\"; remove one of them",
				    keys[i], oauth_grant_names[s->oauth->grant]);
		return;
	}
	check_proof(&first);
	if (next.credential != NULL)
		check_proof(&next);
	expiry_each(upstream, warn_of_expiry, &copy);
}

/* Whom a token is for: an app of a tenant, or this machine, whose identity has both by itself. */
static void check_app(const struct subject *s, const char *key, const char *value)
{
	bool is_machine = s->oauth->grant == GRANT_MANAGED_IDENTITY || s->oauth->grant == GRANT_AZURE_ARC;
	bool is_choice = s->oauth->grant == GRANT_MANAGED_IDENTITY && strcmp(key, "client_id") == 0;

	if (!is_machine && value == NULL && !has(s, key))
		source_error(s->source, at(s, key), "upstreams.oauth.%s is missing; add it: %s", key,
		    schema_find("upstreams.oauth", key)->help);
	else if (is_machine && !is_choice && value != NULL)
		source_warn(s->source, at(s, key),
		    "upstreams.oauth.%s has no effect with grant = \"%s\"; remove it", key,
		    oauth_grant_names[s->oauth->grant]);
}

static void check_scope(const struct subject *s, const char *scope)
{
	size_t n = strlen(scope);

	if (strcasestr(scope, "graph.microsoft.") != NULL)
		source_warn(s->source, at(s, "scope"),
		    "upstreams.oauth.scope: a token for Microsoft Graph is refused at SMTP (535 5.7.3); "
		    "remove "
		    "scope");
	if (s->oauth->grant == GRANT_DEVICE_CODE) {
		if (strstr(scope, "offline_access") == NULL)
			source_error(s->source, at(s, "scope"),
			    "upstreams.oauth.scope: without offline_access a sign-in lasts an hour; add it "
			    "behind a blank");
	} else if (n < 10 || strchr(scope, ' ') != NULL || strcmp(scope + n - 9, "/.default") != 0) {
		source_warn(s->source, at(s, "scope"),
		    "upstreams.oauth.scope: without a person Microsoft takes one resource that ends in "
		    "\"/.default\"");
	}
}

static void check_login_proxy(const struct subject *s)
{
	char path[64];
	const struct proxy_keys keys = {.proxy = s->oauth->proxy,
	    .user = s->oauth->proxy_user,
	    .password = s->oauth->proxy_password,
	    .path = path,
	    .name = "upstreams.oauth"};

	snprintf(path, sizeof path, "upstreams.[%zu].oauth", s->index);
	check_proxy(s->source, &keys, s->reader);
	if (keys.proxy != NULL && s->oauth->grant >= GRANT_MANAGED_IDENTITY)
		source_warn(s->source, at(s, "proxy"),
		    "upstreams.oauth.proxy has no effect: the identity service is on this machine; remove "
		    "it");
}

void check_oauth(const struct source *source, const struct upstream_config *upstream, size_t index,
    const struct reader *reader)
{
	const struct oauth_config *oauth = upstream->oauth;
	const struct subject subject = {source, reader, oauth, index}, *s = &subject;

	check_app(s, "tenant", oauth->tenant);
	check_app(s, "client_id", oauth->client_id);
	if (oauth->tenant != NULL)
		check_tenant(s, oauth->tenant);
	if (oauth->client_id != NULL && !value_is_guid(oauth->client_id))
		source_warn(source, at(s, "client_id"),
		    "upstreams.oauth.client_id is no GUID; copy \"Application (client) ID\" from the app's "
		    "overview page");
	check_proofs(s, upstream);
	if (oauth->authority != NULL)
		check_authority(s, oauth->authority);
	if (oauth->scope != NULL)
		check_scope(s, oauth->scope);
	check_ca(source, at(s, "ca"), "upstreams.oauth.ca", oauth->ca, reader);
	check_login_proxy(s);
}
