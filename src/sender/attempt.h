/* One attempt to bring recipients of a message to an upstream, which is one mail transaction there (RFC 5321 section 3.3): the
 * unit that a client carries and verdict.c judges. */
#ifndef MFDRELAY_SENDER_ATTEMPT_H
#define MFDRELAY_SENDER_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "catalogue/catalogue.h"

struct envelope;
struct message;
struct spool_message;

/* What became of one recipient. */
struct recipient_result {
	size_t index;			/* in the envelope */
	bool accepted;			/* its RCPT was */
	struct failure *failure;	/* malloc'ed; NULL: delivered (once the attempt is done) */
};

struct attempt {
	struct message *owner;		/* the queue's view of it */
	unsigned road;
	struct spool_message *message;	/* borrowed from owner, held for as long as the attempt lives */
	const struct envelope *rehearsal;	/* only this envelope is tried, and reset: nothing is sent. Then there is neither
					   owner nor message. NULL: message is sent */
	struct recipient_result *recipients;
	size_t count;
	size_t lane;			/* the upstream's that carries it */
	int64_t begun_ms;		/* monotonic */
	bool not_begun;			/* the connection was lost before the upstream answered anything: as if never tried */
	bool unseen;			/* it was refused on this side: the upstream heard nothing of it */
	bool dropped;			/* not_begun, and the connection was new: that is the road's trouble */
	bool perhaps_taken;		/* the connection was lost between the content's end and the answer to it */
	bool own_trouble;		/* what looks like the road's trouble is this message's: it waits for itself (class T) */
	char reply[FAILURE_TEXT_MAX];	/* the upstream's last 250 */
};

/* An attempt with room for count recipients; the caller adds them. */
struct attempt *attempt_new(struct message *owner, unsigned road, struct spool_message *message, size_t room);

/* Forget what became of the recipients: the transaction begins anew. */
void attempt_reset(struct attempt *attempt);

/* Give the same failure to every recipient that has none yet; with only_accepted, to those whose RCPT was accepted. */
void attempt_fail(struct attempt *attempt, const struct failure *failure, bool only_accepted);
void attempt_fail_one(struct recipient_result *recipient, const struct failure *failure);

/* The first failure that is about the road (class S, unless it is the recipient's, C or A, or a new connection dropped), or NULL: such an attempt charges
 * nobody with it. Borrowed. */
const struct failure *attempt_road_failure(const struct attempt *attempt);

/* Whether the upstream took a message, or judged one for what it is: then the road is in order. What was refused on this side
 * proves nothing. */
bool attempt_proves_road(const struct attempt *attempt);

/* Whether any recipient was delivered. */
bool attempt_delivered(const struct attempt *attempt);

/* A cause among its failures that may be shared by all mail (cause_of_all), or NULL; and to have it count as that from now on. */
const struct cause *attempt_shareable(const struct attempt *attempt);
void attempt_share(struct attempt *attempt, const struct cause *cause);

void attempt_free(struct attempt *attempt);

#endif
