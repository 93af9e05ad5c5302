#include "config/routes.h"

#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/setting.h"
#include "config/source.h"
#include "config/values.h"

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
	const char *name = setting_text(source, key, entry, ENTRY_MAX);
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

void routes_resolve(const struct source *source, struct config *config)
{
	const struct key *key = schema_find("routes", "via");
	const config_setting_t *routes = config_lookup(&source->tree, "routes");

	for (size_t i = 0; i < config->route_count; i++) {
		struct route *route = &config->routes[i];
		const config_setting_t *via =
		    config_setting_get_member(config_setting_get_elem(routes, (unsigned)i), schema_name(key));
		if (via == NULL || !setting_holds_entries(source, key, via))
			continue;
		route->via = xcalloc(setting_entry_count(via), sizeof *route->via);
		for (size_t j = 0; j < setting_entry_count(via); j++)
			resolve_one(source, config, route, key, setting_entry(via, j));
	}
}
