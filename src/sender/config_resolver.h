/* The resolver as the config wants it. */
#ifndef MFDRELAY_SENDER_CONFIG_RESOLVER_H
#define MFDRELAY_SENDER_CONFIG_RESOLVER_H

#include "base/err.h"

struct config;
struct event_base;
struct resolver;

/* resolver_new (net/resolver.h), which asks name_servers of the config where there are any. Returns NULL with err. */
struct resolver *config_resolver(struct event_base *base, const struct config *config, struct err *err);

#endif
