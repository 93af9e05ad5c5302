#include "sender/config_resolver.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "net/resolver.h"

static void set_name_servers(struct resolver *resolver, const struct config *config)
{
	char list[1024] = "";

	for (size_t i = 0; i < config->name_server_count; i++) {
		size_t n = strlen(list);
		snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? "," : "", config->name_servers[i]);
	}
	if (list[0] != '\0')
		resolver_set_servers(resolver, list, 0);
}

struct resolver *config_resolver(struct event_base *base, const struct config *config, struct err *err)
{
	struct resolver *resolver = resolver_new(base, err);

	if (resolver != NULL)
		set_name_servers(resolver, config);
	return resolver;
}
