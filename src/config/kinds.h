/* Microsoft's ways in, as data: what each kind of upstream has in each cloud where the config does not say. */
#ifndef MFDRELAY_CONFIG_KINDS_H
#define MFDRELAY_CONFIG_KINDS_H

#include <stdbool.h>
#include <stdint.h>
#include "config/config.h"

#define CLOUD_COUNT 4

/* What a kind may prove itself by. */
#define PROOF_OAUTH	  1u
#define PROOF_PASSWORD	  2u	/* user and password */
#define PROOF_CERTIFICATE 4u	/* of the relay, shown in the TLS handshake */

struct kind {
	const char *host[CLOUD_COUNT];	/* NULL: none is known there, the config must name it */
	const char *scope[CLOUD_COUNT];	/* what a token is for; NULL: likewise */
	const char *user_scope[CLOUD_COUNT];	/* the same for a person who signs in */
	unsigned absent;		/* bits 1 << cloud: the kind does not exist there */
	unsigned short port;
	struct window_config window;	/* in order: connections, messages a minute, an hour, recipients in 24 hours */
	unsigned recipients;		/* of a message; 0: no limit */
	uint64_t message_size;		/* octets; 0: what the server says in its EHLO */
	unsigned proofs;		/* PROOF_ bits it takes */
	bool needs_proof;		/* one of them, at least */
	bool inside_only;		/* it delivers to the tenant's own recipients alone */
	enum sender_rule sender;	/* by default, where there is an address to send as; UNSET: keep */
	bool refuses_null;		/* mail without a sender, reports above all */
	bool by_mx;			/* its server is the MX of the tenant's domain */
};
const struct kind *kind_of(enum upstream_kind kind);

/* Whether host, a name of an MX record, is one of Microsoft's in the upstream's cloud, or ends in one of its mx_suffixes: by
 * whole labels, so that neither "x.mx.microsoft.com" nor "evil-mail.protection.outlook.com" are. */
bool mx_is_genuine(const struct upstream_config *upstream, const char *host);

/* The base URL of the login host, or of the machine's identity service. */
const char *grant_authority(enum oauth_grant grant, enum cloud cloud);

#endif
