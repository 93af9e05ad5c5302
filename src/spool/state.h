/* What each recipient of a queued message got so far: the text of state/<id>, replaced as a whole, absent until the
 * first failure. Versioned and strictly parsed, as the envelope is. */
#ifndef MFDRELAY_SPOOL_STATE_H
#define MFDRELAY_SPOOL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

struct envelope;

#define STATE_MAX (64u * 1024 * 1024)	/* octets; 10,000 recipients with all fields at their limits are less */
#define STATE_REASON_MAX 1024		/* octets of a reason */
#define STATE_REFUSED_BY_MAX (64 * 65)	/* octets of the names of as many upstreams as a config can have, each of 64 at most */

enum recipient_status {
	RECIPIENT_PENDING,
	RECIPIENT_DELIVERED,	/* the upstream said 250 */
	RECIPIENT_FAILED,	/* given up; its report is not durable yet */
	RECIPIENT_REPORTED,	/* given up, and a person is told (or failed/ is all there is) */
};

struct recipient_state {
	enum recipient_status status;
	unsigned attempts;	/* that were charged to the message: not those a held road cost */
	int64_t wait_ms;	/* the wait after the last charged attempt; 0 before the first */
	int64_t waited_ms;	/* sum of the waits that are over: what retry.give_up is compared with */
	int64_t next_ms;	/* wall clock of the next try, a hint for people and restarts: never waited for longer
				   than wait_ms, so a clock jump delays nothing */
	char *upstream;		/* name of the last one tried, or "" */
	char *reason;		/* its last reply or the cause, one line, or "" */
	char *refused_by;	/* upstreams that left it to others (class N), their names parted by blanks, or "" */
	char *perhaps_taken_by;	/* the upstream that got all of the content and whose answer was lost, or "" */
};

struct state {
	unsigned reports;		/* reports made durable so far */
	struct recipient_state *recipients;	/* in the envelope's order */
	size_t count;
};

/* A new state: all pending. The caller frees with state_free. */
void state_init(struct state *state, size_t recipients);

/* Set text fields (copied; control characters made blanks, cut at their limit). */
void state_set_reason(struct recipient_state *recipient, const char *upstream, const char *reason);

/* Which upstreams it need not be offered again. There is room for all of a config; of more, as its changes leave them
 * behind, the oldest are forgotten. */
void state_add_refusal(struct recipient_state *recipient, const char *upstream);
bool state_is_refused_by(const struct recipient_state *recipient, const char *upstream);
void state_forget_refusals(struct recipient_state *recipient);

void state_set_perhaps_taken(struct recipient_state *recipient, const char *upstream);

/* As text, malloc'ed, its length in *n; holds id and the recipients' addresses too, for people. */
char *state_format(const struct state *state, const struct envelope *envelope, size_t *n);

/* Parse strictly; it must belong to envelope (id, addresses, order). Returns 0, or -1 with err and *out empty. */
int state_parse(struct str text, const struct envelope *envelope, struct state *out, struct err *err);

const char *recipient_status_name(enum recipient_status status);

void state_free(struct state *state);	/* fine on an empty one */

#endif
