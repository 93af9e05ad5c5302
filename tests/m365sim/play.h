/* What differs between the servers that are played: whose tokens they take, how much, and from whom to whom. */
#ifndef M365SIM_PLAY_H
#define M365SIM_PLAY_H

#include <stdbool.h>
#include <stddef.h>
#include "smtp_session.h"

struct play {
	const char *name;		/* for --play */
	unsigned long long size;	/* octets of a message */
	size_t recipients;		/* of a message; the MX host's: of a transaction */
	const char *audience;		/* glob (FNM_EXTMATCH): of the tokens that it takes; NULL: none */
	const char *role;		/* in a token for its app; "": none */
	const char *outside;		/* the refusal of a recipient outside of --domain; NULL: anybody will do */
};

/* By its name ("submission", "hve", "acs"), or NULL. */
const struct play *play_named(const char *name);

/* The one of a session: that of --play, or the MX host's. */
const struct play *play_of(const struct session *session);

/* Why the recipient is refused, or NULL: inside the tenant, or relayed for a client that has proved by its certificate to be a
 * connector's, and not one too many for an MX host. */
const char *play_recipient_refusal(const struct session *session, const char *recipient);

/* Why the message is refused now that all of it is here, or NULL: only an MX host takes any sender. May be put together in dst. */
const char *play_message_refusal(const struct session *session, char *dst, size_t size);

#endif
