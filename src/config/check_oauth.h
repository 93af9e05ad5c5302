/* The rules for an upstream's oauth, the part of config_check (config/check.h) that knows Microsoft's login host. */
#ifndef MFDRELAY_CONFIG_CHECK_OAUTH_H
#define MFDRELAY_CONFIG_CHECK_OAUTH_H

#include <stddef.h>

struct oauth_config;
struct reader;
struct source;

/* oauth is that of the upstream with this index in the file. */
void check_oauth(const struct source *source, const struct oauth_config *oauth, size_t index, const struct reader *reader);

#endif
