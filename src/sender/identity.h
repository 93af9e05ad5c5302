/* Who a message is from as it goes out: the device's rule is asked first, then the upstream's. Pure. */
#ifndef MFDRELAY_SENDER_IDENTITY_H
#define MFDRELAY_SENDER_IDENTITY_H

#include <stdbool.h>

struct device;
struct upstream_config;

struct identity {
	const struct device *device;	/* NULL: not known any more, or a report of ours */
	const struct upstream_config *upstream;
	const char *mailbox;		/* whom the connection is logged in as; NULL: nobody */
};

/* The address of the upstream's rule, or NULL. */
const char *identity_own_address(const struct identity *identity);

/* The address that takes the place of address, in the envelope or in From: address itself (the very pointer) where it
 * stays. "" is nobody, and stays nobody where no rule puts somebody in. The result is borrowed from the config, or
 * address. */
const char *identity_address(const struct identity *identity, const char *address);

/* The same for the envelope, where "" is the null sender: it stays, but for upstreams that refuse it. */
const char *identity_sender(const struct identity *identity, const char *sender);

/* Whether a rule may change From at all. */
bool identity_has_rule(const struct identity *identity);

/* The display name of a From that is rewritten, malloc'ed, or NULL where none is set. */
char *identity_display_name(const struct identity *identity);

#endif
