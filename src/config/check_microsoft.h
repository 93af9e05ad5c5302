/* What Microsoft's servers do not take, whoever asks: hosts that end, ports, and more than their limits. */
#ifndef MFDRELAY_CONFIG_CHECK_MICROSOFT_H
#define MFDRELAY_CONFIG_CHECK_MICROSOFT_H

#include <stddef.h>

struct source;
struct upstream_config;

/* upstream is the entry index of upstreams, its kind one that is known. Kind "smtp" may do as it likes. All are warnings:
 * Microsoft moves its limits without notice. */
void check_microsoft(const struct source *source, const struct upstream_config *upstream, size_t index);

#endif
