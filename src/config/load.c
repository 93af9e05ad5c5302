/* Walks the file, not the schema, so that each unknown key is found, at its line; then fills in what the file
 * leaves out. What concerns more than one key is for check.c. */
#include "config/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "config/check.h"
#include "config/config.h"
#include "config/drop_ins.h"
#include "config/kinds.h"
#include "config/schema.h"
#include "config/source.h"
#include "config/values.h"
#include "smtp/address.h"

#define SHOWN_MAX 60   /* octets of a wrong value that a message repeats */
#define ENTRY_MAX 1024 /* octets of an entry of [ ] */

#define IMPLICIT_TLS_PORT 465

void config_problem_add(
    struct config_problems *problems, bool is_error, const char *file, int line, const char *format, ...)
{
	struct config_problem *problem;
	va_list args;

	if (is_error)
		problems->errors++;
	/* Warnings leave room for errors. */
	if (problems->count >= (is_error ? CONFIG_PROBLEMS_MAX : CONFIG_PROBLEMS_MAX / 2))
		return;
	problems->items = xrealloc(problems->items, (problems->count + 1) * sizeof *problems->items);
	problem = &problems->items[problems->count++];
	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *what = xcalloc(1, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(what, (size_t)n + 1, format, args);
	va_end(args);
	*problem = (struct config_problem){.is_error = is_error, .line = line, .file_length = strlen(file)};
	problem->text = line > 0 ? xasprintf("%s:%d: %s", file, line, what) : xasprintf("%s: %s", file, what);
	free(what);
}

void config_problems_free(struct config_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->items[i].text);
	free(problems->items);
	*problems = (struct config_problems){NULL, 0, 0};
}

/* The main file comes first, the others by name. */
static bool is_before(const struct config_problem *a, const struct config_problem *b, const char *main)
{
	size_t n = a->file_length < b->file_length ? a->file_length : b->file_length;
	int order = strncmp(a->text, b->text, n);
	size_t main_length = strlen(main);

	if (order == 0 && a->file_length == b->file_length)
		return a->line < b->line;
	if (a->file_length == main_length && strncmp(a->text, main, main_length) == 0)
		return true;
	if (b->file_length == main_length && strncmp(b->text, main, main_length) == 0)
		return false;
	return order != 0 ? order < 0 : a->file_length < b->file_length;
}

/* Those of one line keep their order. */
static void sort_problems(struct config_problems *problems, const char *main)
{
	for (size_t i = 1; i < problems->count; i++) {
		struct config_problem moved = problems->items[i];
		size_t at = i;
		for (; at > 0 && is_before(&moved, &problems->items[at - 1], main); at--)
			problems->items[at] = problems->items[at - 1];
		problems->items[at] = moved;
	}
}

static void load_group(const struct source *source, const config_setting_t *group, const config_setting_t *at,
    const char *path, void *target);

static void *place_of(const struct key *key, void *target)
{
	return (char *)target + key->offset;
}

static void put_pointer(const struct key *key, void *target, void *pointer)
{
	memcpy(place_of(key, target), &pointer, sizeof pointer);
}

static void put_count(const struct key *key, void *target, size_t count)
{
	memcpy((char *)target + key->count_offset, &count, sizeof count);
}

static void put_number(const struct key *key, void *target, uint64_t value)
{
	uint16_t half = (uint16_t)value;
	uint32_t whole = (uint32_t)value;

	if (key->size == sizeof half)
		memcpy(place_of(key, target), &half, sizeof half);
	else if (key->size == sizeof whole)
		memcpy(place_of(key, target), &whole, sizeof whole);
	else
		memcpy(place_of(key, target), &value, sizeof value);
}

static bool parse_number(const struct key *key, const char *text, uint64_t *value)
{
	for (size_t i = 0; key->words != NULL && key->words[i] != NULL; i++) {
		if (strcmp(text, key->words[i]) == 0) {
			*value = key->type == KEY_WORD ? key->min + i : i;
			return true;
		}
	}
	switch (key->type) {
	case KEY_SIZE:
		return value_size(text, value);
	case KEY_DURATION:
		return value_duration(text, value);
	case KEY_NUMBER:
		return value_number(text, value);
	default:
		return false;
	}
}

static const char *number_text(const struct key *key, char *dst, size_t size, uint64_t value)
{
	if (key->type == KEY_SIZE)
		return value_size_text(dst, size, value);
	if (key->type == KEY_DURATION)
		return value_duration_text(dst, size, value);
	snprintf(dst, size, "%" PRIu64, value);
	return dst;
}

static const char *what_it_takes(const struct key *key)
{
	static const char *const takes[] = {
	    [KEY_GROUP] = "a group: { ... }",
	    [KEY_LIST] = "a list of groups: ( { ... }, { ... } )",
	    [KEY_TEXT] = "text in quotes",
	    [KEY_TEXTS] = "text in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_PREFIXES] = "an address in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_UPSTREAMS] = "the name of an upstream in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_WORD] = "a word in quotes",
	    [KEY_WORDS] = "a word in quotes, or several: [ \"...\", \"...\" ]",
	    [KEY_SWITCH] = "true or false, without quotes",
	    [KEY_NUMBER] = "a whole number",
	    [KEY_SIZE] = "octets, or a text such as \"64K\", \"35M\" or \"1G\"",
	    [KEY_DATE] = "a day such as \"2027-05-01\"",
	    [KEY_DURATION] = "seconds, or a text such as \"30s\", \"5m\", \"1h\" or \"2d\"",
	};

	return takes[key->type];
}

static void complain_of_type(const struct source *source, const config_setting_t *at, const struct key *key)
{
	source_error(source, at, "%s takes %s", key->path, what_it_takes(key));
}

/* A number as the file has it, quoted or not. NULL where it is neither. */
static const char *scalar_text(const config_setting_t *setting, char *dst, size_t size)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_STRING:
		return config_setting_get_string(setting);
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(dst, size, "%lld", config_setting_get_int64(setting));
		return dst;
	default:
		return NULL;
	}
}

static void load_number(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	char text_room[24], min[24], max[24];
	const char *text = scalar_text(setting, text_room, sizeof text_room);
	uint64_t value;

	if (text == NULL || !parse_number(key, text, &value)) {
		complain_of_type(source, setting, key);
		return;
	}
	bool is_word = key->words != NULL && strcmp(text, key->words[0]) == 0;
	if (!is_word && (value < key->min || value > key->max)) {
		source_error(source, setting, "%s = %.*s is out of range; it takes %s to %s", key->path,
		    SHOWN_MAX, text, number_text(key, min, sizeof min, key->min),
		    number_text(key, max, sizeof max, key->max));
		return;
	}
	put_number(key, target, value);
}

static bool is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

/* The text of a setting, or NULL when it is none that can be used; then it has been complained about. */
static const char *text_of(
    const struct source *source, const struct key *key, const config_setting_t *setting, uint64_t max)
{
	const char *text = config_setting_get_string(setting);

	if (text == NULL) {
		complain_of_type(source, setting, key);
	} else if (text[0] == '\0') {
		source_error(
		    source, setting, "%s is empty; give it a value, or leave the key out", key->path);
	} else if (strlen(text) > max) {
		source_error(
		    source, setting, "%s is longer than %" PRIu64 " characters; shorten it", key->path, max);
	} else if (!is_printable(text)) {
		source_error(source, setting, "%s holds a line break or another control character; remove it",
		    key->path);
	} else {
		return text;
	}
	return NULL;
}

static void load_date(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	const char *text = config_setting_get_string(setting);
	int64_t at_s;

	if (text != NULL && value_date(text, &at_s))
		put_number(key, target, (uint64_t)at_s);
	else
		complain_of_type(source, setting, key);
}

static void load_text(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	const char *text = text_of(source, key, setting, key->max);

	if (text != NULL)
		put_pointer(key, target, xstrdup(text));
}

/* Which of the key's words a setting has, or -1; then it has been complained about. */
static int find_word(const struct source *source, const struct key *key, const config_setting_t *setting)
{
	const char *text = text_of(source, key, setting, SHOWN_MAX);
	struct nearest nearest = NEAREST(text);

	if (text == NULL)
		return -1;
	for (size_t i = 0; key->words[i] != NULL; i++) {
		if (strcmp(text, key->words[i]) == 0)
			return (int)i;
		nearest_offer(&nearest, key->words[i]);
	}
	char all[128] = "";
	for (size_t i = 0; key->words[i] != NULL; i++)
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s\"%s\"", i == 0 ? "" : ", ",
		    key->words[i]);
	if (nearest.best != NULL)
		source_error(source, setting, "%s = \"%s\": no such word; did you mean \"%s\"? It takes %s",
		    key->path, text, nearest.best, all);
	else
		source_error(source, setting, "%s = \"%s\": no such word; it takes %s", key->path, text, all);
	return -1;
}

static void load_word(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	int n = find_word(source, key, setting);

	if (n >= 0)
		put_number(key, target, key->min + (uint64_t)n);
}

static void load_switch(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	bool on = config_setting_get_bool(setting) == CONFIG_TRUE;

	if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
		complain_of_type(source, setting, key);
	else
		memcpy(place_of(key, target), &on, sizeof on);
}

/* One text stands for a list of one. */
static size_t entry_count(const config_setting_t *setting)
{
	return config_setting_is_aggregate(setting) ? (size_t)config_setting_length(setting) : 1;
}

static const config_setting_t *entry_of(const config_setting_t *setting, size_t i)
{
	return config_setting_is_aggregate(setting) ? config_setting_get_elem(setting, (unsigned)i) : setting;
}

static bool can_hold_entries(
    const struct source *source, const struct key *key, const config_setting_t *setting)
{
	if (config_setting_is_group(setting)) {
		complain_of_type(source, setting, key);
	} else if (entry_count(setting) == 0) {
		source_error(source, setting, "%s is empty; give it at least one entry, or leave the key out",
		    key->path);
	} else if (entry_count(setting) > key->max) {
		source_error(source, setting, "%s has %zu entries; at most %" PRIu64 " are possible",
		    key->path, entry_count(setting), key->max);
	} else {
		return true;
	}
	return false;
}

static void load_texts(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	size_t n = 0;

	if (!can_hold_entries(source, key, setting))
		return;
	char **texts = xcalloc(entry_count(setting), sizeof *texts);
	for (size_t i = 0; i < entry_count(setting); i++) {
		const char *text = text_of(source, key, entry_of(setting, i), ENTRY_MAX);
		if (text != NULL)
			texts[n++] = xstrdup(text);
	}
	put_pointer(key, target, texts);
	put_count(key, target, n);
}

static void load_prefixes(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	size_t n = 0;

	if (!can_hold_entries(source, key, setting))
		return;
	struct prefix *prefixes = xcalloc(entry_count(setting), sizeof *prefixes);
	for (size_t i = 0; i < entry_count(setting); i++) {
		const config_setting_t *entry = entry_of(setting, i);
		const char *text = text_of(source, key, entry, ENTRY_MAX);
		if (text != NULL && value_prefix(text, &prefixes[n]))
			n++;
		else if (text != NULL)
			source_error(source, entry,
			    "%s = \"%.*s\": no address; write \"10.1.2.17\", \"10.1.3.0/24\" or "
			    "\"fd00:3::/64\"",
			    key->path, SHOWN_MAX, text);
	}
	put_pointer(key, target, prefixes);
	put_count(key, target, n);
}

static void load_words(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	uint64_t bits = 0;

	if (!can_hold_entries(source, key, setting))
		return;
	for (size_t i = 0; i < entry_count(setting); i++) {
		int n = find_word(source, key, entry_of(setting, i));
		bits |= n >= 0 ? 1u << n : 0;
	}
	put_number(key, target, bits);
}

static bool is_list_of_groups(const config_setting_t *setting)
{
	if (!config_setting_is_list(setting))
		return false;
	for (int i = 0; i < config_setting_length(setting); i++)
		if (!config_setting_is_group(config_setting_get_elem(setting, (unsigned)i)))
			return false;
	return true;
}

/* setting is NULL where the file has none: one entry of defaults then. */
static void load_list(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	size_t n = setting != NULL ? (size_t)config_setting_length(setting) : 1;

	if (setting != NULL && !is_list_of_groups(setting)) {
		complain_of_type(source, setting, key);
		return;
	}
	if (n > key->max) {
		source_error(source, setting, "%s has %zu entries; at most %" PRIu64 " are possible",
		    key->path, n, key->max);
		return;
	}
	char *items = xcalloc(n, key->size);
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *entry =
		    setting != NULL ? config_setting_get_elem(setting, (unsigned)i) : NULL;
		load_group(source, entry, entry, key->path, items + i * key->size);
	}
	put_pointer(key, target, items);
	put_count(key, target, n);
}

static void load_nested(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	if (!config_setting_is_group(setting)) {
		complain_of_type(source, setting, key);
		return;
	}
	if (key->size > 0) {
		void *own = xcalloc(1, key->size);
		put_pointer(key, target, own);
		target = own;
	}
	load_group(source, setting, setting, key->path, target);
}

static void load_setting(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	switch (key->type) {
	case KEY_GROUP:
		load_nested(source, key, setting, target);
		break;
	case KEY_LIST:
		load_list(source, key, setting, target);
		break;
	case KEY_TEXT:
		load_text(source, key, setting, target);
		break;
	case KEY_TEXTS:
		load_texts(source, key, setting, target);
		break;
	case KEY_PREFIXES:
		load_prefixes(source, key, setting, target);
		break;
	case KEY_UPSTREAMS:
		break;
	case KEY_WORD:
		load_word(source, key, setting, target);
		break;
	case KEY_WORDS:
		load_words(source, key, setting, target);
		break;
	case KEY_SWITCH:
		load_switch(source, key, setting, target);
		break;
	case KEY_DATE:
		load_date(source, key, setting, target);
		break;
	case KEY_NUMBER:
	case KEY_SIZE:
	case KEY_DURATION:
		load_number(source, key, setting, target);
		break;
	}
}

static void complain_of_unknown(
    const struct source *source, const config_setting_t *setting, const char *path)
{
	const char *name = config_setting_name(setting);
	const struct key *meant = schema_suggest(path, name);
	const char *in = path[0] != '\0' ? " in " : "";

	if (meant == NULL)
		source_error(
		    source, setting, "unknown key \"%.*s\"%s%s; remove it", SHOWN_MAX, name, in, path);
	else if (schema_is_in(meant, path))
		source_error(source, setting, "unknown key \"%.*s\"%s%s; did you mean \"%s\"?", SHOWN_MAX,
		    name, in, path, schema_name(meant));
	else
		source_error(source, setting, "unknown key \"%.*s\"%s%s; did you mean %s?", SHOWN_MAX, name,
		    in, path, meant->path);
}

static void apply_default(
    const struct source *source, const struct key *key, const config_setting_t *at, void *target)
{
	uint64_t value = 0;

	if (key->type == KEY_GROUP && key->size == 0)
		load_group(source, NULL, at, key->path, target);
	if (key->fallback == NULL || key->fallback[0] == '(') {
		if (key->type == KEY_LIST && key->fallback != NULL)
			load_list(source, key, NULL, target);
		else if (key->type == KEY_NUMBER && key->min == 0)
			put_number(key, target, CONFIG_UNSET);
		return;
	}
	if (key->type == KEY_TEXT)
		put_pointer(key, target, xstrdup(key->fallback));
	else if (parse_number(key, key->fallback, &value))
		put_number(key, target, value);
}

/* group is NULL where the file has none and only defaults are to be filled in. at is what a missing key is
 * missed in. */
static void load_group(const struct source *source, const config_setting_t *group, const config_setting_t *at,
    const char *path, void *target)
{
	for (int i = 0; group != NULL && i < config_setting_length(group); i++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
		const struct key *key = schema_find(path, config_setting_name(setting));
		if (key == NULL)
			complain_of_unknown(source, setting, path);
		else
			load_setting(source, key, setting, target);
	}
	for (size_t i = 0; i < schema_count; i++) {
		const struct key *key = &schema[i];
		if (!schema_is_in(key, path) ||
		    (group != NULL && config_setting_get_member(group, schema_name(key)) != NULL))
			continue;
		if (key->required)
			source_error(source, at, "%s is missing; add it: %s", key->path, key->help);
		apply_default(source, key, at, target);
	}
}

static void fill_text(char **text, const char *fallback)
{
	if (*text == NULL && fallback != NULL)
		*text = xstrdup(fallback);
}

static void fill_number(unsigned *number, unsigned unset, unsigned fallback)
{
	if (*number == unset)
		*number = fallback;
}

static void fill_window(struct window_config *window, const struct window_config *fallback)
{
	fill_number(&window->connections, 0, fallback->connections);
	fill_number(&window->messages_per_minute, CONFIG_UNSET, fallback->messages_per_minute);
	fill_number(&window->messages_per_hour, CONFIG_UNSET, fallback->messages_per_hour);
	fill_number(&window->recipients_per_day, CONFIG_UNSET, fallback->recipients_per_day);
}

static bool is_mail_address(const char *text)
{
	struct address address;

	return address_parse(str_of(text), &address) && address_domain(&address)[0] != '\0';
}

/* Who logs in is whom it sends as. */
static void fill_identity(struct upstream_config *upstream)
{
	const struct kind *kind = kind_of(upstream->kind);
	struct identity_config *identity = &upstream->identity;
	const char *login = upstream->mailbox;

	if (login == NULL && kind->sender != SENDER_UNSET)
		login = upstream->user;
	if (login != NULL && is_mail_address(login)) {
		identity->is_any_mailbox = identity->address == NULL && upstream->mailbox_count > 0;
		fill_text(&identity->address, login);
	}
	if (identity->rule == SENDER_UNSET)
		identity->rule =
		    identity->address != NULL && kind->sender != SENDER_UNSET ? kind->sender : SENDER_KEEP;
}

static void fill_upstream(struct upstream_config *upstream)
{
	const struct kind *kind = kind_of(upstream->kind);
	struct oauth_config *oauth = upstream->oauth;

	if (upstream->mailbox_count > 0)
		fill_text(&upstream->mailbox, upstream->mailboxes[0]);
	fill_text(&upstream->host, kind->host[upstream->cloud]);
	if (upstream->port == 0)
		upstream->port = upstream->tls == UPSTREAM_TLS_IMPLICIT ? IMPLICIT_TLS_PORT : kind->port;
	fill_window(&upstream->window, &kind->window);
	if (upstream->limits.recipients == 0)
		upstream->limits.recipients = kind->recipients;
	if (upstream->limits.message_size == 0)
		upstream->limits.message_size = kind->message_size;
	fill_identity(upstream);
	if (oauth == NULL)
		return;
	fill_text(&oauth->authority, grant_authority(oauth->grant, upstream->cloud));
	fill_text(&oauth->scope, oauth->grant == GRANT_DEVICE_CODE ? kind->user_scope[upstream->cloud]
								   : kind->scope[upstream->cloud]);
	size_t n = strlen(oauth->authority);
	while (n > 0 && oauth->authority[n - 1] == '/')
		oauth->authority[--n] = '\0';
}

static void fill_hostname(struct config *config)
{
	char name[256] = "";

	if (config->hostname != NULL)
		return;
	if (gethostname(name, sizeof name - 1) == 0 && name[0] != '\0')
		config->hostname = xstrdup(name);
}

/* One that asks for TLS brings a certificate into being, which the others then have too. */
static void fill_listeners(struct config *config)
{
	bool has_certificate = config->tls.certificate != NULL || config_makes_certificate(config);

	for (size_t i = 0; i < config->listen_count; i++)
		if (config->listen[i].tls == LISTEN_TLS_UNSET)
			config->listen[i].tls = has_certificate ? LISTEN_TLS_OFFERED : LISTEN_TLS_NONE;
}

static void fill_devices(struct config *config)
{
	for (size_t i = 0; i < config->device_count; i++) {
		struct device *device = &config->devices[i];
		if (device->auth == DEVICE_AUTH_UNSET)
			device->auth = device->user != NULL ? DEVICE_AUTH_REQUIRED : DEVICE_AUTH_OPTIONAL;
	}
}

static bool find_upstream(
    const struct config *config, const char *name, size_t *index, const char **nearest_name)
{
	struct nearest nearest = NEAREST(name);

	for (size_t i = 0; i < config->upstream_count; i++) {
		if (config->upstreams[i].name == NULL)
			continue;
		if (strcmp(config->upstreams[i].name, name) == 0) {
			*index = i;
			return true;
		}
		nearest_offer(&nearest, config->upstreams[i].name);
	}
	*nearest_name = nearest.best;
	return false;
}

/* One whose name could not be loaded, which has been said already. */
static bool has_nameless_upstream(const struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].name == NULL)
			return true;
	return false;
}

static void resolve_one(const struct source *source, const struct config *config, struct route *route,
    const struct key *key, const config_setting_t *entry)
{
	const char *name = text_of(source, key, entry, ENTRY_MAX);
	const char *nearest = NULL;
	size_t index;

	if (name == NULL)
		return;
	if (find_upstream(config, name, &index, &nearest))
		route->via[route->via_count++] = index;
	else if (has_nameless_upstream(config))
		return;
	else if (nearest != NULL)
		source_error(source, entry, "%s = \"%.*s\": no such upstream; did you mean \"%s\"?",
		    key->path, SHOWN_MAX, name, nearest);
	else
		source_error(source, entry,
		    "%s = \"%.*s\": no such upstream; add it to upstreams, or correct the name", key->path,
		    SHOWN_MAX, name);
}

/* Upstreams may stand behind the routes in the file. */
static void resolve_routes(const struct source *source, struct config *config)
{
	const struct key *key = schema_find("routes", "via");
	const config_setting_t *routes = config_lookup(&source->tree, "routes");

	for (size_t i = 0; i < config->route_count; i++) {
		struct route *route = &config->routes[i];
		const config_setting_t *via =
		    config_setting_get_member(config_setting_get_elem(routes, (unsigned)i), schema_name(key));
		if (via == NULL || !can_hold_entries(source, key, via))
			continue;
		route->via = xcalloc(entry_count(via), sizeof *route->via);
		for (size_t j = 0; j < entry_count(via); j++)
			resolve_one(source, config, route, key, entry_of(via, j));
	}
}

/* Takes over what part has. */
static void append_devices(struct config *config, struct config *part)
{
	size_t n = config->device_count + part->device_count;

	if (part->device_count == 0) {
		free(part->devices);
		return;
	}
	config->devices = xrealloc(config->devices, n * sizeof *config->devices);
	memcpy(config->devices + config->device_count, part->devices,
	    part->device_count * sizeof *part->devices);
	config->device_count = n;
	free(part->devices);
}

static void load_drop_in(const struct source *source, struct config *config)
{
	const config_setting_t *root = config_root_setting(&source->tree);

	for (int i = 0; i < config_setting_length(root); i++) {
		const config_setting_t *setting = config_setting_get_elem(root, (unsigned)i);
		const char *name = config_setting_name(setting);
		const struct key *key = schema_find("", name);
		struct config part = {.devices = NULL};
		if (key == NULL || strcmp(name, "devices") != 0) {
			source_error(source, setting,
			    "%.*s: files in " DROP_INS_FOLDER
			    " hold devices and nothing else; move it to the "
			    "main file",
			    SHOWN_MAX, name);
			continue;
		}
		load_setting(source, key, setting, &part);
		append_devices(config, &part);
		if (config->device_count > key->max)
			source_error(source, setting,
			    "devices has %zu entries with those of other files; at most %" PRIu64
			    " are possible",
			    config->device_count, key->max);
	}
}

static void load_drop_ins(const struct source *source, struct config *config)
{
	for (size_t i = 0; i < source->drop_ins->count; i++) {
		struct drop_in *item = &source->drop_ins->items[i];
		item->first_device = config->device_count;
		load_drop_in(&item->source, config);
	}
}

static struct config *build(const struct source *source)
{
	struct config *config = xcalloc(1, sizeof *config);
	const config_setting_t *root = config_root_setting(&source->tree);

	config->file = xstrdup(source->file);
	load_group(source, root, root, "", config);
	load_drop_ins(source, config);
	for (size_t i = 0; i < config->upstream_count; i++)
		fill_upstream(&config->upstreams[i]);
	fill_hostname(config);
	fill_listeners(config);
	fill_devices(config);
	resolve_routes(source, config);
	return config;
}

struct config *config_load(const char *file, struct config_problems *problems)
{
	struct config *config = NULL;
	struct source source;

	*problems = (struct config_problems){NULL, 0, 0};
	if (source_read(&source, file, problems) == 0) {
		drop_ins_read(&source);
		config = build(&source);
		config_check(config, &source);
	}
	source_free(&source);
	sort_problems(problems, file);
	if (problems->errors > 0) {
		config_free(config);
		config = NULL;
	}
	return config;
}

struct config *config_load_lenient(const char *file, struct config_problems *problems)
{
	struct config *config = NULL;
	struct source source;

	*problems = (struct config_problems){NULL, 0, 0};
	if (source_read(&source, file, problems) == 0) {
		drop_ins_read(&source);
		config = build(&source);
	}
	source_free(&source);
	sort_problems(problems, file);
	if (config != NULL && config->spool == NULL) {
		config_free(config);
		config = NULL;
	}
	return config;
}
