/* The rules for an upstream's oauth, the part of config_check (config/check.h) that knows Microsoft's login host. */
#ifndef MFDRELAY_CONFIG_CHECK_OAUTH_H
#define MFDRELAY_CONFIG_CHECK_OAUTH_H

#include <stddef.h>

struct reader;
struct source;
struct upstream_config;

/* upstream, which has an oauth, is the one with this index in the file. */
void check_oauth(const struct source *source, const struct upstream_config *upstream, size_t index, const struct reader *reader);

#endif
