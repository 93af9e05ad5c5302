/* The rules for a proxy, to an upstream or to the login host: part of config_check (config/check.h). */
#ifndef MFDRELAY_CONFIG_CHECK_PROXY_H
#define MFDRELAY_CONFIG_CHECK_PROXY_H

#include <stdbool.h>

struct reader;
struct source;

/* What the config says of it, in the group path ("upstreams.[2].oauth"), which messages call name ("upstreams.oauth"). */
struct proxy_keys {
	const char *proxy, *user, *password;
	const char *path, *name;
	bool takes_socks;
};

void check_proxy(const struct source *source, const struct proxy_keys *keys, const struct reader *reader);

#endif
