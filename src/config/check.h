/* The rules between keys: what each key for itself allows and the relay still cannot work with, or can but should
 * not. */
#ifndef MFDRELAY_CONFIG_CHECK_H
#define MFDRELAY_CONFIG_CHECK_H

struct config;
struct source;

/* Note every such error and warning. config is as loaded, defaults filled in; where the loader has found an error in
 * a key, the key may be empty here and is passed over. */
void config_check(const struct config *config, const struct source *source);

#endif
