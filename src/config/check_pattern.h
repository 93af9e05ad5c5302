/* The rules for patterns of mail addresses, the same wherever the config has them. */
#ifndef MFDRELAY_CONFIG_CHECK_PATTERN_H
#define MFDRELAY_CONFIG_CHECK_PATTERN_H

#include <libconfig.h>

struct source;

/* Note, at the setting at, a pattern that is none or matches no address. key is what the message calls it. */
void check_pattern(const struct source *source, const config_setting_t *at, const char *key, const char *pattern);

#endif
