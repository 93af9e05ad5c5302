/* What the entries of devices let a session do. The entry decides, by the address and by the user who has logged in; a login
 * alone decides nothing. */
#ifndef MFDRELAY_LISTENER_POLICY_H
#define MFDRELAY_LISTENER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct address;
struct device;
struct session;

/* Who is sending: the entry of the user that has logged in, else that of the address, unless it asks for a login. NULL:
 * nobody who may send. */
const struct device *policy_device(const struct session *session);

/* Its name, or "": what routes go by. */
const char *policy_device_name(const struct session *session);

/* Whether AUTH is offered and taken, as things stand. */
bool policy_offers_auth(const struct session *session);

/* Why it may not log in, as the reply to AUTH; only where it is not offered. */
const char *policy_refuse_auth(const struct session *session);

/* What it would have to use where devices.auth_requires_tls asks for more than it uses. */
const char *policy_tls_needed(const struct session *session);

/* How large a message may be, and who says so: key is a key of the config and of is "", or it is for the SIZE of an upstream,
 * and of is its name. Borrowed from the config. */
struct size_limit {
	uint64_t bytes;
	const char *key, *of;
};

/* What the session is told in EHLO: what the config lets it send, but no more than the most that any route takes. */
struct size_limit policy_size_limit(const struct session *session);

/* The stricter of limit and what the largest of the upstreams takes that recipient's mail may go by. */
struct size_limit policy_size_limit_for(const struct session *session, const char *recipient, struct size_limit limit);

/* Each the reply that refuses, borrowed until the next reply is made, or NULL: it may. Who may not send at all is let pass
 * at MAIL, and told at RCPT, where devices show what they are told. */
const char *policy_refuse_sender(const struct session *session, const struct address *sender);
const char *policy_refuse_peer(const struct session *session);
const char *policy_refuse_recipient(const struct session *session, const struct address *recipient);

#endif
