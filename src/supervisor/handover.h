/* What the listener tells the sender, over worker_input.peer_fd: packets that begin with their kind. Any may get lost: a message
 * is then found by the next rescan, and a stranger is counted at his next try. The sender takes nothing else from the listener,
 * and believes nothing of it but the lengths. What a listener could not tell any more when it died, the supervisor makes good:
 * one octet, HANDOVER_LOOK. */
#ifndef MFDRELAY_SUPERVISOR_HANDOVER_H
#define MFDRELAY_SUPERVISOR_HANDOVER_H

#include <netinet/in.h>
#include <stdint.h>
#include "smtp/address.h"
#include "spool/spool.h"

#define HANDOVER_IDS  64	/* at most, in one packet */
#define HANDOVER_HELO 64	/* octets shown of a name */

enum handover_kind {
	HANDOVER_MESSAGES = 'm',
	HANDOVER_STRANGER = 's',
	HANDOVER_LOOK = 'l',	/* there may be messages in queue/ that nobody has told of: the rescan is due */
};

/* New messages in queue/; the packet ends with the last id. */
struct handover_messages {
	char kind;
	char ids[HANDOVER_IDS][SPOOL_ID_MAX + 1];
};

/* Somebody who is not listed in devices was refused. Texts end with a NUL, and are "" where nothing was said. */
struct handover_stranger {
	char kind;
	char helo[HANDOVER_HELO + 1];
	char sender[ADDRESS_MAX + 1];
	char recipient[ADDRESS_MAX + 1];
	struct in6_addr address;
	uint64_t count;		/* of refusals that were not told before */
};

#endif
