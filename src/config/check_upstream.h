/* The rules for upstreams, the part of config_check (config/check.h) that knows Microsoft's ways in. */
#ifndef MFDRELAY_CONFIG_CHECK_UPSTREAM_H
#define MFDRELAY_CONFIG_CHECK_UPSTREAM_H

struct config;
struct source;

void check_upstreams(const struct config *config, const struct source *source);

#endif
