#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/text.h"
#include "smtp/address.h"

const char *const upstream_kind_names[] = {
    "submission", "hve", "direct-send", "connector", "acs", "smtp", NULL};
const char *const cloud_names[] = {"worldwide", "gcc-high", "dod", "china", NULL};
const char *const upstream_tls_names[] = {"required", "implicit", "none", NULL};
const char *const oauth_grant_names[] = {
    "client_credentials", "device_code", "managed_identity", "azure_arc", NULL};
const char *const assertion_alg_names[] = {"PS256", "RS256", NULL};
const char *const sandbox_names[] = {"on", "off", NULL};
const char *const repairs_names[] = {"all", "none", NULL};
const char *const sender_rule_names[] = {"keep", "map", "force", NULL};
const char *const listen_tls_names[] = {"none", "offered", "required", "implicit", NULL};
const char *const bare_newlines_names[] = {"repair", "reject", NULL};
const char *const tls_min_names[] = {"1.0", "1.1", "1.2", "1.3", NULL};
const char *const device_auth_names[] = {"none", "optional", "required", NULL};
const char *const quirk_names[] = {"eod-lf", NULL};

bool route_is_for(const struct route *route, const char *device)
{
	return route->device_count == 0 ||
	       (device[0] != '\0' && address_matches_any(device, route->devices, route->device_count));
}

int config_route(const struct config *config, const char *device, const char *recipient)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct route *route = &config->routes[i];
		if (route_is_for(route, device) &&
		    address_matches_any(recipient, route->recipients, route->recipient_count))
			return (int)i;
	}
	return -1;
}

const char *route_title(const struct route *route)
{
	if (route->recipient_count > 0)
		return route->recipients[0];
	return route->device_count > 0 ? route->devices[0] : "*";
}

const char *upstream_name(const struct upstream_config *upstream)
{
	return upstream->host != NULL ? upstream->host : upstream->domain;
}

static bool is_ipv6(const char *address)
{
	return strchr(address, ':') != NULL;
}

/* Every address of its family; "*" is every address of both. */
static bool is_wildcard(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

bool listen_overlaps(const struct listen_config *a, const struct listen_config *b)
{
	if (a->port != b->port || a->port == 0)
		return false;
	if (strcmp(a->address, "*") == 0 || strcmp(b->address, "*") == 0)
		return true;
	if (is_ipv6(a->address) != is_ipv6(b->address))
		return false;
	return is_wildcard(a->address) || is_wildcard(b->address) || strcmp(a->address, b->address) == 0;
}

const char *listen_name(char *dst, size_t size, const struct listen_config *listen)
{
	struct text text = text_in(dst, size);

	if (listen->address != NULL) {
		text_join(&text, listen->address, ":", NULL);
		text_number(&text, listen->port, 0);
	}
	return dst;
}

const struct listen_config *config_listen_by_name(const struct config *config, const char *name)
{
	char own[LISTEN_NAME_MAX + 1];

	for (size_t i = 0; i < config->listen_count; i++)
		if (strcmp(listen_name(own, sizeof own, &config->listen[i]), name) == 0)
			return &config->listen[i];
	return NULL;
}

bool prefix_holds(const struct prefix *prefix, const struct in6_addr *address)
{
	const unsigned char *a = prefix->address.s6_addr, *b = address->s6_addr;
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* The longest of the device's prefixes that hold address, or -1. */
static int longest_match(const struct device *device, const struct in6_addr *address)
{
	int longest = -1;

	/* IPv4 lies inside ::/80 as v4-mapped addresses: an IPv6 network does not mean it. */
	unsigned least = IN6_IS_ADDR_V4MAPPED(address) ? 96 : 0;

	for (size_t i = 0; i < device->prefix_count; i++)
		if (device->prefixes[i].bits >= least && (int)device->prefixes[i].bits > longest &&
		    prefix_holds(&device->prefixes[i], address))
			longest = (int)device->prefixes[i].bits;
	return longest;
}

const struct device *config_device_by_address(const struct config *config, const struct in6_addr *address)
{
	const struct device *found = NULL;
	int longest = -1;

	for (size_t i = 0; i < config->device_count; i++) {
		const struct device *device = &config->devices[i];
		int bits = longest_match(device, address);
		bool decides_tie = found != NULL && found->user != NULL && device->user == NULL;
		if (bits > longest || (bits >= 0 && bits == longest && decides_tie)) {
			longest = bits;
			found = device;
		}
	}
	return found;
}

static bool may_come_from(const struct device *device, const struct in6_addr *address)
{
	return device->prefix_count == 0 || longest_match(device, address) >= 0;
}

/* A user stands in one entry only. */
static const struct device *find_user(const struct config *config, struct str user)
{
	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].user != NULL && str_ieq(user, config->devices[i].user))
			return &config->devices[i];
	return NULL;
}

/* As it stands between a Windows domain in front and a mail domain behind. */
static struct str bare_user(const char *user)
{
	const char *slash = strrchr(user, '\\');
	const char *begin = slash != NULL ? slash + 1 : user;
	const char *at = strchr(begin, '@');

	return (struct str){begin, at != NULL ? (size_t)(at - begin) : strlen(begin)};
}

const struct device *config_device_by_name(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].name != NULL && strcmp(config->devices[i].name, name) == 0)
			return &config->devices[i];
	return NULL;
}

const struct device *config_device_by_user(
    const struct config *config, const char *user, const struct in6_addr *address)
{
	const struct device *device = find_user(config, str_of(user));

	if (device == NULL)
		device = find_user(config, bare_user(user));
	return device != NULL && may_come_from(device, address) ? device : NULL;
}

bool config_may_log_in_as(
    const struct device *place, const struct device *device, const struct in6_addr *address)
{
	if (place == NULL || place->user == NULL || place->auth != DEVICE_AUTH_REQUIRED)
		return true;
	return longest_match(device, address) >= longest_match(place, address);
}

bool config_may_log_in(
    const struct config *config, const struct device *place, const struct in6_addr *address, bool secure)
{
	if (place != NULL && (place->auth == DEVICE_AUTH_NONE || (place->auth_requires_tls && !secure)))
		return false;
	for (size_t i = 0; i < config->device_count; i++) {
		const struct device *device = &config->devices[i];
		if (device->user != NULL && (secure || !device->auth_requires_tls) &&
		    may_come_from(device, address) && config_may_log_in_as(place, device, address))
			return true;
	}
	return false;
}

bool listen_has_tls(const struct listen_config *listen)
{
	return listen->tls >= LISTEN_TLS_OFFERED;
}

enum tls_min config_tls_min(
    const struct config *config, const struct listen_config *listen, const struct in6_addr *address)
{
	enum tls_min found = TLS_MIN_UNSET;
	int longest = -1;

	for (size_t i = 0; i < config->device_count; i++) {
		int bits = longest_match(&config->devices[i], address);
		if (bits > longest || (bits == longest && bits >= 0 && found == TLS_MIN_UNSET)) {
			longest = bits;
			found = config->devices[i].tls_min;
		}
	}
	if (found == TLS_MIN_UNSET)
		found = listen->tls_min;
	return found != TLS_MIN_UNSET ? found : TLS_MIN_1_2;
}

static bool has_tls(const struct config *config)
{
	for (size_t i = 0; i < config->listen_count; i++)
		if (listen_has_tls(&config->listen[i]))
			return true;
	return false;
}

bool config_makes_certificate(const struct config *config)
{
	return config->tls.certificate == NULL && has_tls(config);
}

bool tls_min_is_legacy(enum tls_min tls_min)
{
	return tls_min == TLS_MIN_1_0 || tls_min == TLS_MIN_1_1;
}

bool config_has_legacy(const struct config *config)
{
	if (!has_tls(config))
		return false;
	for (size_t i = 0; i < config->listen_count; i++)
		if (listen_has_tls(&config->listen[i]) && tls_min_is_legacy(config->listen[i].tls_min))
			return true;
	for (size_t i = 0; i < config->device_count; i++)
		if (tls_min_is_legacy(config->devices[i].tls_min))
			return true;
	return false;
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static void free_identity(struct identity_config *identity)
{
	free(identity->address);
	for (size_t i = 0; i < identity->send_as_count; i++)
		free(identity->send_as[i]);
	free(identity->send_as);
	free(identity->display_name);
}

static void free_device(struct device *device)
{
	free_identity(&device->identity);
	free(device->charset);
	free(device->subject);
	free_texts(device->senders, device->sender_count);
	free_texts(device->recipients, device->recipient_count);
	free(device->name);
	free(device->prefixes);
	free(device->user);
	free(device->password_hash);
}

static void free_credential(struct app_credential *credential)
{
	free(credential->client_secret);
	free(credential->certificate);
	free(credential->key);
	free(credential->federated_token);
}

static void free_oauth(struct oauth_config *oauth)
{
	if (oauth == NULL)
		return;
	free(oauth->authority);
	free(oauth->tenant);
	free(oauth->client_id);
	free_credential(&oauth->credential);
	if (oauth->next != NULL)
		free_credential(oauth->next);
	free(oauth->next);
	free(oauth->scope);
	free(oauth->ca);
	free(oauth->proxy);
	free(oauth->proxy_user);
	free(oauth->proxy_password);
	free(oauth);
}

static void free_upstream(struct upstream_config *upstream)
{
	free(upstream->name);
	free(upstream->host);
	free(upstream->domain);
	free_texts(upstream->mx_suffixes, upstream->mx_suffix_count);
	free(upstream->ca);
	free(upstream->certificate);
	free(upstream->key);
	free(upstream->mailbox);
	free_texts(upstream->mailboxes, upstream->mailbox_count);
	free_identity(&upstream->identity);
	free_oauth(upstream->oauth);
	free(upstream->proxy);
	free(upstream->proxy_user);
	free(upstream->proxy_password);
	free(upstream->user);
	free(upstream->password);
}

static void free_route(struct route *route)
{
	free_texts(route->recipients, route->recipient_count);
	free_texts(route->devices, route->device_count);
	free(route->via);
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->listen_count; i++)
		free(config->listen[i].address);
	for (size_t i = 0; i < config->device_count; i++)
		free_device(&config->devices[i]);
	for (size_t i = 0; i < config->upstream_count; i++)
		free_upstream(&config->upstreams[i]);
	for (size_t i = 0; i < config->route_count; i++)
		free_route(&config->routes[i]);
	free(config->listen);
	free(config->devices);
	free(config->upstreams);
	free(config->routes);
	free(config->file);
	free(config->hostname);
	free(config->spool);
	free(config->user);
	free(config->report_to);
	free_texts(config->name_servers, config->name_server_count);
	free(config->charset);
	free(config->tls.certificate);
	free(config->tls.key);
	free(config->tls.ecdsa_certificate);
	free(config->tls.ecdsa_key);
	free(config);
}
