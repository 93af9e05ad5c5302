/* One setting of the config file, by its key in the schema: from the text to the field of the struct, with what is wrong noted at
 * its line. Groups, and lists of groups, are the loader's. */
#ifndef MFDRELAY_CONFIG_SETTING_H
#define MFDRELAY_CONFIG_SETTING_H

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key;
struct source;

#define SHOWN_MAX 60	/* octets of a wrong value that a message repeats */
#define ENTRY_MAX 1024	/* octets of an entry of [ ] */

/* Put the setting where key says in target, the struct of the group around it. Where it is no such value, that is noted and the
 * field stays as it was. Nothing for keys that are groups, lists of groups, or names of upstreams. */
void setting_load(const struct source *source, const struct key *key, const config_setting_t *setting, void *target);

/* Put key's default there, if it has one; a number that the file may leave out becomes CONFIG_UNSET. */
void setting_put_default(const struct key *key, void *target);

/* Put what the loader has made itself: an array or a struct, and how many it has. */
void setting_put_pointer(const struct key *key, void *target, void *pointer);
void setting_put_count(const struct key *key, void *target, size_t count);

/* Note that the setting is not of key's type. */
void setting_complain_of_type(const struct source *source, const config_setting_t *at, const struct key *key);

/* The text of a setting, of at most max octets, or NULL when it is none that can be used; then that has been noted. Borrowed. */
const char *setting_text(const struct source *source, const struct key *key, const config_setting_t *setting, uint64_t max);

/* The entries of a setting that may have several; one text stands for a list of one. Ask first whether it can hold any, at most
 * key->max: false when that has been noted as wrong. */
bool setting_holds_entries(const struct source *source, const struct key *key, const config_setting_t *setting);
size_t setting_entry_count(const config_setting_t *setting);
const config_setting_t *setting_entry(const config_setting_t *setting, size_t i);

#endif
