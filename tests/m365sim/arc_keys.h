/* How Azure Arc's agent has a caller prove what it may read: it writes a key into a file that root and the group himds can read,
 * and names the file; each key is good once. Here they are written to DIR/azcmagent/tokens and named as in /var/opt. */
#ifndef M365SIM_ARC_KEYS_H
#define M365SIM_ARC_KEYS_H

#include <stdbool.h>

struct options;

/* Make a new key. Returns its file's name in /var/opt/azcmagent/tokens, to be freed, or NULL with errno. At most 16 are good at a
 * time: the oldest ends. */
char *arc_key_new(const struct options *options);

/* Whether it is a key that is good; from now on it is no more, and its file is gone. */
bool arc_key_use(const struct options *options, const char *key);

#endif
