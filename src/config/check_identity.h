/* The rules for who a message is from as it goes out, the same for devices and upstreams. */
#ifndef MFDRELAY_CONFIG_CHECK_IDENTITY_H
#define MFDRELAY_CONFIG_CHECK_IDENTITY_H

#include <stddef.h>

struct identity_config;
struct source;

/* identity is that of the entry index of list ("devices" or "upstreams"). */
void check_identity(
    const struct source *source, const char *list, size_t index, const struct identity_config *identity);

/* Note a charset that iconv(3) does not know, in the setting at path ("devices.[3].charset"). NULL is fine. */
void check_charset(const struct source *source, const char *path, const char *charset);

#endif
