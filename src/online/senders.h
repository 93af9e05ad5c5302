/* Whom mail is from that goes out by an upstream, as far as the config names addresses. */
#ifndef MFDRELAY_ONLINE_SENDERS_H
#define MFDRELAY_ONLINE_SENDERS_H

#include <stddef.h>

struct config;
struct upstream_config;

#define SENDERS_MAX 20

struct senders {
	const char *addresses[SENDERS_MAX];	/* each once, borrowed from the config */
	size_t count;
	size_t left_out;			/* for which there was no room */
};

/* For an upstream that logs in as mailbox (NULL: it has no list of them): its own sender, those that each device has or may have (addresses, not patterns; as the rules of identity change
 * them), and those that the upstream may send as; report_to where there are none. */
void senders_of(const struct config *config, const struct upstream_config *upstream, const char *mailbox,
    struct senders *out);

#endif
