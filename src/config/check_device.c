#include "config/check_device.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <crypt.h>

#include "base/mem.h"
#include "config/check_identity.h"
#include "config/check_pattern.h"
#include "config/config.h"
#include "config/drop_ins.h"
#include "config/files.h"
#include "config/source.h"
#include "config/values.h"

#define IPV4_BITS   96 /* where an IPv4 prefix's own bits begin */
#define IPV4_WIDEST 8
#define IPV4_USUAL  24
#define PLACE_MAX   300
#define IPV6_WIDEST 32

/* How long the last part of a whole hash is, method by method (crypt(5)). */
static const struct {
	const char *prefix;
	size_t length;
} hash_shapes[] = {{"$y$", 43}, {"$gy$", 43}, {"$7$", 43}, {"$2b$", 53}, {"$2a$", 53}, {"$2y$", 53},
    {"$6$", 86}, {"$5$", 43}, {"$sha1$", 28}, {"$md5", 22}, {"$1$", 22}, {"$3$", 32}};

static bool is_whole_hash(const char *hash)
{
	const char *last = strrchr(hash, '$') + 1;

	for (size_t i = 0; i < sizeof hash_shapes / sizeof *hash_shapes; i++)
		if (strncmp(hash, hash_shapes[i].prefix, strlen(hash_shapes[i].prefix)) == 0)
			return strlen(last) == hash_shapes[i].length;
	return true;
}

/* The wrong value is never repeated: it may be the password itself. Hashes without a '$' (DES) cannot be told
 * from plain text, and are no protection. */
static void check_hash(const struct source *source, const config_setting_t *at, const struct device *device)
{
	const char *hash = device->password_hash;
	int verdict = hash[0] == '$' ? crypt_checksalt(hash) : CRYPT_SALT_INVALID;

	if (verdict == CRYPT_SALT_METHOD_DISABLED)
		source_error(source, at,
		    "devices.password: this system's libcrypt does not take this method; make a new hash: "
		    "mfdrelay passwd");
	else if (verdict == CRYPT_SALT_INVALID)
		source_error(source, at,
		    "devices.password takes a hash, never the password itself; make one: mfdrelay passwd");
	else if (!is_whole_hash(hash))
		source_error(source, at,
		    "devices.password: the hash is not whole; copy all of it, or make a new one: mfdrelay "
		    "passwd");
	else if (verdict != CRYPT_SALT_OK)
		source_warn(source, at,
		    "devices.password: the hash's method is outdated; make a new one: mfdrelay passwd");
}

static void check_width(const struct source *source, const config_setting_t *at, const struct prefix *prefix)
{
	static const struct prefix all_ipv4 = {
	    .address = {.s6_addr = {[10] = 0xff, [11] = 0xff}}, .bits = IPV4_BITS};
	bool is_ipv4 = prefix_is_ipv4(prefix);
	unsigned bits = is_ipv4 ? prefix->bits - IPV4_BITS : prefix->bits;
	/* Behind a translator all of IPv4 comes from one IPv6 network (RFC 6052). */
	static const struct prefix translated = {
	    .address = {.s6_addr = {[1] = 0x64, [2] = 0xff, [3] = 0x9b}}, .bits = IPV4_BITS};
	bool holds_all_ipv4 = prefix->bits <= IPV4_BITS && (prefix_holds(prefix, &all_ipv4.address) ||
							       prefix_holds(prefix, &translated.address));
	char text[64];

	value_prefix_text(text, sizeof text, prefix);
	if (holds_all_ipv4 || bits < (is_ipv4 ? IPV4_WIDEST : IPV6_WIDEST))
		source_error(source, at,
		    "devices.address %s would make an open relay; name the networks that the devices are in",
		    text);
	else if (is_ipv4 && bits < IPV4_USUAL)
		source_warn(source, at,
		    "devices.address %s lets %u addresses send; name smaller networks if you can", text,
		    1u << (32 - bits));
	else if (prefix_has_host_bits(prefix))
		source_warn(source, at,
		    "devices.address %s stands for the whole network; for one device leave the \"/%u\" out",
		    text, bits);
}

static void check_widths(const struct config *config, const struct source *source, size_t index)
{
	const struct device *device = &config->devices[index];
	const config_setting_t *at = source_at(source, "devices.[%zu].address", index);
	/* An entry that was no address is not among the prefixes: then the lines of the others are not known.
	 */
	bool in_step =
	    config_setting_is_aggregate(at) && (size_t)config_setting_length(at) == device->prefix_count;

	for (size_t i = 0; i < device->prefix_count; i++)
		check_width(
		    source, in_step ? config_setting_get_elem(at, (unsigned)i) : at, &device->prefixes[i]);
}

/* Where the device of index stands, as seen from at. */
static const char *whereabouts(
    char *dst, size_t size, const struct source *source, const config_setting_t *at, size_t index)
{
	const struct source *own = drop_ins_device(source, &index);

	if (own == drop_ins_owner(source, at))
		snprintf(dst, size, "a device above");
	else
		snprintf(dst, size, "a device in %s", own->file);
	return dst;
}

static void check_device_name(const struct config *config, const struct source *source, size_t index)
{
	const char *name = config->devices[index].name;
	const config_setting_t *at = source_at(source, "devices.[%zu].name", index);
	char other[PLACE_MAX];

	if (name == NULL)
		return;
	if (!value_is_name(name)) {
		source_error(source, at,
		    "devices.name = \"%.64s\": a name is up to 64 letters, digits, '.', '_' and '-'; choose "
		    "another",
		    name);
		return;
	}
	for (size_t i = 0; i < index; i++) {
		if (config->devices[i].name == NULL || strcmp(config->devices[i].name, name) != 0)
			continue;
		source_error(source, at, "devices.name = \"%s\" is taken by %s; choose another", name,
		    whereabouts(other, sizeof other, source, at, i));
		return;
	}
}

static void check_device_user(const struct config *config, const struct source *source, size_t index)
{
	const char *user = config->devices[index].user;
	const config_setting_t *at = source_at(source, "devices.[%zu].user", index);
	char other[PLACE_MAX];

	for (size_t i = 0; user != NULL && i < index; i++) {
		if (config->devices[i].user == NULL || strcasecmp(config->devices[i].user, user) != 0)
			continue;
		source_error(source, at,
		    "devices.user = \"%.64s\" is taken by %s (case does not count); choose another", user,
		    whereabouts(other, sizeof other, source, at, i));
		return;
	}
}

/* The null sender has a pattern of its own. */
static void check_patterns(const struct config *config, const struct source *source, size_t index)
{
	const struct device *device = &config->devices[index];
	const config_setting_t *senders = source_at(source, "devices.[%zu].senders", index);
	const config_setting_t *recipients = source_at(source, "devices.[%zu].recipients", index);

	for (size_t i = 0; i < device->sender_count; i++)
		if (strcmp(device->senders[i], "<>") != 0)
			check_pattern(source, senders, "devices.senders", device->senders[i]);
	for (size_t i = 0; i < device->recipient_count; i++)
		check_pattern(source, recipients, "devices.recipients", device->recipients[i]);
	/* A limit that the admin counts on, and that there would not be. */
	if (device->recipient_count > 0 && device->auth == DEVICE_AUTH_REQUIRED)
		source_error(source, recipients,
		    "devices.recipients is for what comes without a login, and this entry asks for one; "
		    "remove it, or set auth = \"optional\"");
}

static bool has(const struct source *source, size_t index, const char *key)
{
	return config_setting_get_member(source_at(source, "devices.[%zu]", index), key) != NULL;
}

static bool any_has_user(const struct config *config)
{
	for (size_t i = 0; i < config->device_count; i++)
		if (config->devices[i].user != NULL)
			return true;
	return false;
}

static bool overlap(const struct prefix *a, const struct prefix *b)
{
	return prefix_holds(a, &b->address) || prefix_holds(b, &a->address);
}

static bool may_come_from(const struct device *user, const struct prefix *prefix)
{
	for (size_t i = 0; i < user->prefix_count; i++)
		if (overlap(&user->prefixes[i], prefix))
			return true;
	return user->prefix_count == 0;
}

/* Each address of an entry that asks for a login, and has no user of its own, needs one that may come from there. */
static void check_logins(const struct config *config, const struct source *source, size_t index)
{
	const struct device *device = &config->devices[index];
	char text[64];

	for (size_t i = 0; i < device->prefix_count; i++) {
		size_t k = 0;
		while (k < config->device_count &&
		       (config->devices[k].user == NULL ||
			   !may_come_from(&config->devices[k], &device->prefixes[i])))
			k++;
		if (k < config->device_count)
			continue;
		source_warn(source, source_at(source, "devices.[%zu].auth", index),
		    "devices.auth = \"required\", and no user may come from %s: nothing can log in there; "
		    "add "
		    "that to the address of an entry with a user, or give this one user and password",
		    value_prefix_text(text, sizeof text, &device->prefixes[i]));
	}
}

static void check_auth(const struct config *config, const struct source *source, size_t index)
{
	const struct device *device = &config->devices[index];
	const config_setting_t *at = source_at(source, "devices.[%zu].auth", index);

	if (device->user != NULL && device->auth == DEVICE_AUTH_NONE)
		source_error(source, at,
		    "devices.auth = \"none\" keeps the user of this entry from logging in; remove auth, or "
		    "user "
		    "and password");
	else if (device->user != NULL && device->auth == DEVICE_AUTH_OPTIONAL &&
		 !has(source, index, "address"))
		source_error(source, at,
		    "devices.auth = \"optional\" lets in by the address, and this entry has none; add "
		    "address, "
		    "or remove auth");
	else if (device->user == NULL && device->auth == DEVICE_AUTH_REQUIRED && !any_has_user(config))
		source_error(source, at,
		    "devices.auth = \"required\", and no entry has a user to log in as; add one with user "
		    "and "
		    "password");
	else if (device->user == NULL && device->auth == DEVICE_AUTH_REQUIRED)
		check_logins(config, source, index);
	if (device->auth_requires_tls && device->auth == DEVICE_AUTH_NONE)
		source_error(source, source_at(source, "devices.[%zu].auth_requires_tls", index),
		    "devices.auth_requires_tls has no meaning with auth = \"none\"; remove one of them");
	if (device->message_size > config->limits.message_size && config->limits.message_size > 0)
		source_warn(source, source_at(source, "devices.[%zu].message_size", index),
		    "devices.message_size is above limits.message_size, which counts first; lower it, or "
		    "raise "
		    "that");
}

static bool any_listener_is_safe(const struct config *config)
{
	for (size_t i = 0; i < config->listen_count; i++)
		if (listen_has_tls(&config->listen[i]) && !tls_min_is_legacy(config->listen[i].tls_min))
			return true;
	return false;
}

static void check_device_tls(const struct config *config, const struct source *source, size_t index)
{
	const struct device *device = &config->devices[index];

	if (device->tls_min != TLS_MIN_UNSET && !has(source, index, "address"))
		source_error(source, source_at(source, "devices.[%zu].tls_min", index),
		    "devices.tls_min goes by the address, as the login comes after the handshake; add "
		    "address, or set tls_min in listen");
	if (device->auth_requires_tls && !any_listener_is_safe(config))
		source_error(source, source_at(source, "devices.[%zu].auth_requires_tls", index),
		    "devices.auth_requires_tls, and no listener has TLS of 1.2 or later alone; add one with "
		    "tls = "
		    "\"offered\" to listen");
	else if (device->auth_requires_tls && tls_min_is_legacy(device->tls_min))
		source_error(source, source_at(source, "devices.[%zu].tls_min", index),
		    "devices.tls_min lets in what devices.auth_requires_tls does not count as TLS, so that "
		    "this "
		    "device could never log in; remove one of them");
}

static void check_device_content(const struct config *config, const struct source *source, size_t index)
{
	char path[60];

	snprintf(path, sizeof path, "devices.[%zu].charset", index);
	check_identity(source, "devices", index, &config->devices[index].identity);
	check_charset(source, path, config->devices[index].charset);
}

static void check_device(const struct config *config, const struct source *source, size_t index)
{
	const config_setting_t *at = source_at(source, "devices.[%zu]", index);
	bool has_address = has(source, index, "address");
	bool has_user = has(source, index, "user");
	bool has_password = has(source, index, "password");

	check_device_name(config, source, index);
	check_device_user(config, source, index);
	check_widths(config, source, index);
	check_patterns(config, source, index);
	check_auth(config, source, index);
	check_device_tls(config, source, index);
	check_device_content(config, source, index);
	if (!has_address && !has_user)
		source_error(source, at,
		    "a device is known by its address or by its user; add address, or user and password");
	if (has_user && !has_password)
		source_error(source, source_at(source, "devices.[%zu].user", index),
		    "devices.user needs a password; make its hash: mfdrelay passwd");
	if (has_password && !has_user)
		source_error(source, source_at(source, "devices.[%zu].password", index),
		    "devices.password needs the user it belongs to; add user");
	if (config->devices[index].password_hash != NULL)
		check_hash(
		    source, source_at(source, "devices.[%zu].password", index), &config->devices[index]);
}

/* One prefix of a device that is known by its address alone. */
struct claim {
	struct prefix prefix;
	size_t device;
};

static int by_prefix(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = memcmp(&x->prefix.address, &y->prefix.address, sizeof x->prefix.address);

	if (order != 0)
		return order;
	if (x->prefix.bits != y->prefix.bits)
		return x->prefix.bits < y->prefix.bits ? -1 : 1;
	return x->device < y->device ? -1 : x->device > y->device;
}

static void compare_claims(
    const struct config *config, const struct source *source, const struct claim *claims, size_t n)
{
	char text[64];

	for (size_t i = 1; i < n; i++) {
		const struct claim *a = &claims[i - 1], *b = &claims[i];
		if (a->device == b->device || a->prefix.bits != b->prefix.bits ||
		    memcmp(&a->prefix.address, &b->prefix.address, sizeof a->prefix.address) != 0)
			continue;
		const char *first = config->devices[a->device].name;
		source_warn(source, source_at(source, "devices.[%zu].address", b->device),
		    "devices.address %s is that of device \"%.64s\" already, which wins; remove it from one "
		    "of them",
		    value_prefix_text(text, sizeof text, &b->prefix), first != NULL ? first : "");
	}
}

static void check_claims(const struct config *config, const struct source *source)
{
	size_t n = 0, room = 0;

	for (size_t i = 0; i < config->device_count; i++)
		room += config->devices[i].prefix_count;
	if (room == 0)
		return;
	struct claim *claims = xcalloc(room, sizeof *claims);
	for (size_t i = 0; i < config->device_count; i++)
		for (size_t j = 0; config->devices[i].user == NULL && j < config->devices[i].prefix_count;
		     j++)
			claims[n++] = (struct claim){config->devices[i].prefixes[j], i};
	qsort(claims, n, sizeof *claims, by_prefix);
	compare_claims(config, source, claims, n);
	free(claims);
}

/* The devices of a file follow upon each other. */
static void check_hashes_hidden(const struct config *config, const struct source *source)
{
	const struct source *told = NULL;
	const struct reader reader = reader_of(config);
	char number[READER_GROUP_ROOM];
	/* Without a user in the config nobody knows here whom the service runs as. */
	const char *group = reader.name != NULL ? reader_group(&reader, number) : "GROUP-OF-THE-SERVICE";

	for (size_t i = 0; i < config->device_count; i++) {
		size_t place = i;
		const struct source *own = drop_ins_device(source, &place);
		if (config->devices[i].password_hash == NULL || (own->mode & S_IROTH) == 0 || own == told)
			continue;
		told = own;
		source_warn(own, NULL,
		    "everyone on this machine can read the password hashes in the config; run: chgrp %s %s "
		    "&& "
		    "chmod 0640 %s",
		    group, own->file, own->file);
	}
}

void check_devices(const struct config *config, const struct source *source)
{
	const config_setting_t *at = source_at(source, "devices");

	if (config->device_count == 0 &&
	    (config_setting_is_root(at) || (config_setting_is_list(at) && config_setting_length(at) == 0)))
		source_warn(
		    source, at, "no devices are listed: nothing will be accepted; add them to devices");
	for (size_t i = 0; i < config->device_count; i++)
		check_device(config, source, i);
	check_claims(config, source);
	check_hashes_hidden(config, source);
}
