/* Walks the file, not the schema, so that each unknown key is found, at its line; then fills in what the file
 * leaves out. What concerns more than one key is for check.c. */
#include "config/load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/check.h"
#include "config/config.h"
#include "config/defaults.h"
#include "config/drop_ins.h"
#include "config/routes.h"
#include "config/schema.h"
#include "config/setting.h"
#include "config/source.h"

static void load_group(const struct source *source, const config_setting_t *group, const config_setting_t *at,
    const char *path, void *target);

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
		setting_complain_of_type(source, setting, key);
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
	setting_put_pointer(key, target, items);
	setting_put_count(key, target, n);
}

static void load_nested(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	if (!config_setting_is_group(setting)) {
		setting_complain_of_type(source, setting, key);
		return;
	}
	if (key->size > 0) {
		void *own = xcalloc(1, key->size);
		setting_put_pointer(key, target, own);
		target = own;
	}
	load_group(source, setting, setting, key->path, target);
}

static void load_setting(
    const struct source *source, const struct key *key, const config_setting_t *setting, void *target)
{
	if (key->type == KEY_GROUP)
		load_nested(source, key, setting, target);
	else if (key->type == KEY_LIST)
		load_list(source, key, setting, target);
	else
		setting_load(source, key, setting, target);
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
	if (key->type == KEY_GROUP && key->size == 0)
		load_group(source, NULL, at, key->path, target);
	else if (key->type == KEY_LIST && key->fallback != NULL)
		load_list(source, key, NULL, target);
	else
		setting_put_default(key, target);
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
	defaults_fill(config);
	routes_resolve(source, config);
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
	config_problems_sort(problems, file);
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
	config_problems_sort(problems, file);
	if (config != NULL && config->spool == NULL) {
		config_free(config);
		config = NULL;
	}
	return config;
}
