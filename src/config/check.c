#include "config/check.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/check_device.h"
#include "config/check_pattern.h"
#include "config/check_identity.h"
#include "config/check_upstream.h"
#include "config/config.h"
#include "config/drop_ins.h"
#include "config/files.h"
#include "config/kinds.h"
#include "config/load.h"
#include "config/source.h"
#include "config/values.h"
#include "smtp/address.h"

#define SPOOL_PATH_MAX 99 /* with "/control" behind it the address of a unix socket: 107 */

/* The machine's own name may be one that no mail server takes; then config->hostname is what could be made of it. */
static void check_machine_name(
    const struct config *config, const struct source *source, const config_setting_t *at)
{
	char name[256] = "";

	gethostname(name, sizeof name - 1);
	if (config->hostname == NULL)
		source_error(source, at,
		    "the machine has no usable host name; add hostname = \"relay.contoso.local\";");
	else if (strcmp(name, config->hostname) != 0)
		source_warn(source, at,
		    "mail servers do not take the machine's name, \"%.64s\", in EHLO, so it is \"%.64s\" "
		    "there; "
		    "add the name that it shall be: hostname = \"relay.contoso.local\";",
		    name, config->hostname);
}

static void check_hostname(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "hostname");

	if (config_setting_is_root(at))
		check_machine_name(config, source, at);
	else if (config->hostname != NULL && !value_is_ehlo_name(config->hostname))
		source_error(source, at,
		    "hostname = \"%.64s\": mail servers do not take this in EHLO; a name has letters, "
		    "digits, "
		    "inner '-' and dots between: write it as \"relay.contoso.local\"",
		    config->hostname);
}

static void check_spool(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "spool");
	const struct reader reader = reader_of(config);

	if (config->spool == NULL)
		return;
	if (config->spool[0] != '/')
		source_error(source, at, "spool = \"%.64s\": give the whole path, from / on", config->spool);
	else if (strlen(config->spool) > SPOOL_PATH_MAX)
		source_error(source, at,
		    "spool: the path has %zu characters; at most %d are possible, choose a shorter one",
		    strlen(config->spool), SPOOL_PATH_MAX);
	else
		check_spool_folder(source, at, config->spool, &reader);
}

static void check_user(const struct config *config, const struct source *source)
{
	if (config->user != NULL && geteuid() == 0 && getpwnam(config->user) == NULL)
		source_warn(source, source_at(source, "user"),
		    "user = \"%.64s\": no such user, and as root serve does not start without it; correct "
		    "the "
		    "name, or run: useradd --system --shell /usr/sbin/nologin %.64s",
		    config->user, config->user);
}

/* "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT". */
static bool is_name_server(const char *text)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
	const char *port = end == NULL ? NULL : text[0] == '[' ? end + 1 : end;
	char address[INET6_ADDRSTRLEN];
	uint64_t number;

	if (value_is_address(text))
		return true;
	if (port == NULL || *port != ':' || !value_number(port + 1, &number) || number < 1 || number > 65535)
		return false;
	struct str bare = {text + (text[0] == '['), (size_t)(end - text) - (text[0] == '[')};
	return str_copy(address, sizeof address, bare) && value_is_address(address);
}

static void check_name_servers(const struct config *config, const struct source *source)
{
	for (size_t i = 0; i < config->name_server_count; i++)
		if (!is_name_server(config->name_servers[i]))
			source_error(source, source_at(source, "name_servers"),
			    "name_servers = \"%.64s\": no address of a name server; write \"10.1.1.1\", "
			    "\"10.1.1.1:5353\" or "
			    "\"[fd00::1]:53\"",
			    config->name_servers[i]);
}

static void check_report_to(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "report_to");

	if (config->report_to == NULL)
		return;
	if (!value_is_mail_address(config->report_to))
		source_error(source, at,
		    "report_to = \"%.64s\": no mail address; write it as \"it@contoso.com\"",
		    config->report_to);
	else if (config->route_count > 0 && config_route(config, "", config->report_to) < 0)
		source_warn(source, at, "report_to: no route leads to %s, so it will get nothing; add one",
		    config->report_to);
}

static void check_listener(const struct config *config, const struct source *source, size_t index)
{
	const struct listen_config *listen = &config->listen[index];
	const config_setting_t *at = source_at(source, "listen.[%zu].address", index);

	if (listen->address == NULL)
		return;
	if (strcmp(listen->address, "*") != 0 && !value_is_address(listen->address))
		source_error(source, at,
		    "listen.address = \"%.64s\": no address; write \"*\", or an IPv4 or IPv6 address of this "
		    "machine",
		    listen->address);
	for (size_t i = 0; i < index; i++) {
		const struct listen_config *other = &config->listen[i];
		if (other->address == NULL || !listen_overlaps(other, listen))
			continue;
		if (strcmp(other->address, listen->address) == 0)
			source_error(source, at,
			    "address \"%s\" with port %u stands in listen twice; remove one", listen->address,
			    (unsigned)listen->port);
		else
			source_error(source, at,
			    "address \"%s\" with port %u overlaps \"%s\" with the same port; only one of "
			    "them can be "
			    "bound, remove one",
			    listen->address, (unsigned)listen->port, other->address);
		return;
	}
}

static void check_listeners(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "listen");

	if (config_setting_is_list(at) && config_setting_length(at) == 0)
		source_error(source, at,
		    "listen is empty; add { address = \"*\"; port = 25; }, or leave the key out for just "
		    "that");
	for (size_t i = 0; i < config->listen_count; i++)
		check_listener(config, source, i);
}

static void check_tls_min(const struct config *config, const struct source *source, size_t index)
{
	const struct listen_config *listen = &config->listen[index];
	const config_setting_t *entry = source_at(source, "listen.[%zu]", index);

	if (!listen_has_tls(listen) && !config_setting_is_root(entry) &&
	    config_setting_get_member(entry, "tls_min") != NULL)
		source_warn(source, source_at(source, "listen.[%zu].tls_min", index),
		    "listen.tls_min has no effect without TLS; add tls = \"offered\", or remove it");
}

static void check_tls(const struct config *config, const struct source *source)
{
	struct reader reader = reader_of(config);
	bool used = false;

	for (size_t i = 0; i < config->listen_count; i++) {
		check_tls_min(config, source, i);
		used = used || listen_has_tls(&config->listen[i]);
	}
	if (config->tls.ecdsa_certificate != NULL && config->tls.certificate == NULL)
		source_error(source, source_at(source, "tls.ecdsa_certificate"),
		    "tls.ecdsa_certificate is the second certificate, for devices that know elliptic curves; "
		    "add the first, "
		    "with an RSA key, as certificate and key");
	check_certificate(
	    source, "tls.certificate", config->tls.certificate, "tls.key", config->tls.key, &reader);
	check_rsa(source, source_at(source, "tls.certificate"), "tls.certificate", config->tls.certificate);
	check_certificate(source, "tls.ecdsa_certificate", config->tls.ecdsa_certificate, "tls.ecdsa_key",
	    config->tls.ecdsa_key, &reader);
	if (config->tls.certificate != NULL && !used)
		source_warn(source, source_at(source, "tls.certificate"),
		    "tls.certificate is not used: every entry of listen has tls = \"none\"");
}

static bool is_catch_all(const char *pattern)
{
	return strcmp(pattern, "*") == 0 || strcmp(pattern, "*@*") == 0;
}

/* There are none where there is no such key, or where it holds an error. */
static bool knows_recipients(const struct route *route, const struct source *source, size_t index)
{
	char path[64];

	snprintf(path, sizeof path, "routes.[%zu].recipients", index);
	return route->recipient_count > 0 || config_lookup(&source->tree, path) == NULL;
}

/* Every recipient of every device. */
static bool takes_all(const struct config *config, const struct source *source, size_t index)
{
	const struct route *route = &config->routes[index];

	if (route->device_count > 0)
		return false;
	for (size_t i = 0; i < route->recipient_count; i++)
		if (is_catch_all(route->recipients[i]))
			return true;
	return route->recipient_count == 0 && knows_recipients(route, source, index);
}

static bool is_device(const struct config *config, const char *pattern)
{
	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].name != NULL && address_matches(config->devices[i].name, pattern))
			return true;
	return false;
}

/* The device that was most likely meant, or NULL. */
static const char *nearest_device(const struct config *config, const char *pattern)
{
	struct nearest nearest = NEAREST(pattern);

	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].name != NULL)
			nearest_offer(&nearest, config->devices[i].name);
	return nearest.best;
}

/* One that is gone from devices must not stop a reload. */
static void check_route_devices(const struct config *config, const struct source *source, size_t index)
{
	const struct route *route = &config->routes[index];
	const config_setting_t *at = source_at(source, "routes.[%zu].devices", index);

	for (size_t i = 0; i < route->device_count; i++) {
		if (is_device(config, route->devices[i]))
			continue;
		const char *nearest = nearest_device(config, route->devices[i]);
		if (nearest != NULL)
			source_warn(source, at,
			    "routes.devices = \"%.64s\": no such device; did you mean \"%s\"?",
			    route->devices[i], nearest);
		else
			source_warn(source, at,
			    "routes.devices = \"%.64s\": no such device; add it to devices, or correct the "
			    "name",
			    route->devices[i]);
	}
}

static void check_route(const struct config *config, const struct source *source, size_t index)
{
	const struct route *route = &config->routes[index];
	const config_setting_t *via = source_at(source, "routes.[%zu].via", index);

	for (size_t i = 0; i < route->recipient_count; i++)
		check_pattern(source, source_at(source, "routes.[%zu].recipients", index),
		    "routes.recipients", route->recipients[i]);
	check_route_devices(config, source, index);
	for (size_t i = 0; i < route->via_count; i++)
		for (size_t j = 0; j < i; j++)
			if (route->via[i] == route->via[j])
				source_warn(source, via, "routes.via names \"%s\" twice; remove one",
				    config->upstreams[route->via[i]].name);
	if (route->via_count == 0 || !takes_all(config, source, index))
		return;
	for (size_t i = 0; i < route->via_count; i++) {
		enum upstream_kind kind = config->upstreams[route->via[i]].kind;
		if (!kind_of(kind)->inside_only)
			continue;
		source_warn(source, via,
		    "routes.via: kind \"%s\" delivers to the tenant's own recipients only, and this route "
		    "takes all; "
		    "put a route with your own domains before it",
		    upstream_kind_names[kind]);
		return;
	}
}

static void check_routes(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "routes");
	bool all_taken = false, is_known = true;

	if (config_setting_is_list(at) && config_setting_length(at) == 0)
		source_error(source, at,
		    "routes is empty; add { recipients = [ \"*\" ]; via = [ \"NAME OF AN UPSTREAM\" ]; }");
	for (size_t i = 0; i < config->route_count; i++) {
		check_route(config, source, i);
		if (all_taken)
			source_warn(source, source_at(source, "routes.[%zu]", i),
			    "this route is never used: one above takes every recipient; move it up");
		all_taken = all_taken || takes_all(config, source, i);
		is_known = is_known && knows_recipients(&config->routes[i], source, i);
	}
	if (config->route_count > 0 && is_known && !all_taken)
		source_warn(source, at,
		    "recipients that no route matches will be refused; add { recipients = [ \"*\" ]; ... } "
		    "as the last one "
		    "to take all");
}

static void check_retry(const struct config *config, const struct source *source)
{
	char small[24], large[24];

	if (config->retry.max_ms > 0 && config->retry.first_ms > config->retry.max_ms)
		source_error(source, source_at(source, "retry.first"),
		    "retry.first (%s) is longer than retry.max (%s); swap or correct them",
		    value_duration_text(large, sizeof large, (uint64_t)config->retry.first_ms),
		    value_duration_text(small, sizeof small, (uint64_t)config->retry.max_ms));
	if (config->retry.give_up_ms > 0 && config->retry.max_ms > config->retry.give_up_ms)
		source_error(source, source_at(source, "retry.give_up"),
		    "retry.give_up (%s) is shorter than retry.max (%s); swap or correct them",
		    value_duration_text(small, sizeof small, (uint64_t)config->retry.give_up_ms),
		    value_duration_text(large, sizeof large, (uint64_t)config->retry.max_ms));
}

static void check_limits(const struct config *config, const struct source *source)
{
	bool is_named = config_lookup(&source->tree, "limits.sessions_per_address") != NULL;

	if (is_named && config->limits.sessions_per_address > config->limits.sessions &&
	    config->limits.sessions > 0)
		source_warn(source, source_at(source, "limits.sessions_per_address"),
		    "limits.sessions_per_address (%u) is above limits.sessions (%u), which counts first; "
		    "lower it",
		    config->limits.sessions_per_address, config->limits.sessions);
}

static void check_mode(const struct source *source)
{
	if ((source->mode & (S_IWGRP | S_IWOTH)) != 0)
		source_warn(source, NULL, "others than its owner can change the config; run: chmod go-w %s",
		    source->file);
}

/* What is no error can wait until those are mended. */
static void check_somebody_is_told(const struct config *config, const struct source *source)
{
	if (config->report_to == NULL && source->problems->errors == 0)
		source_warn(source, NULL,
		    "report_to is missing: nobody is told of mail that could not be delivered, where its "
		    "sender "
		    "cannot be; add it: report_to = \"it@contoso.com\"");
}

void config_check(const struct config *config, const struct source *source)
{
	const config_setting_t *upstreams = source_at(source, "upstreams");

	check_mode(source);
	for (size_t i = 0; i < source->drop_ins->count; i++)
		check_mode(&source->drop_ins->items[i].source);
	check_hostname(config, source);
	check_spool(config, source);
	check_user(config, source);
	check_report_to(config, source);
	check_name_servers(config, source);
	check_listeners(config, source);
	check_tls(config, source);
	check_devices(config, source);
	if (config_setting_is_list(upstreams) && config_setting_length(upstreams) == 0)
		source_error(source, upstreams, "upstreams is empty; add one, as mfdrelay.conf(5) shows");
	check_upstreams(config, source);
	check_routes(config, source);
	check_retry(config, source);
	check_limits(config, source);
	check_charset(source, "charset", config->charset);
	check_somebody_is_told(config, source);
}
