/* The catalogue: what went wrong on the way out, as cause, remedy and class of outcome. The tables are data, in
 * replies_*.c, login.c and troubles.c; the classes are those of Microsoft's replies as this project sorts them:
 *
 *   T  transient, this attempt: try again later        C  configuration: hold the road, tell the admin
 *   S  slow down: hold the road for a while            N  the next upstream of the route may succeed
 *   A  a new token, once; then C                       P  permanent for this recipient or message
 *
 * A failure is a value: made here, acted on in sender/verdict.c and upstream.c. What a code's digits say of a message or a road is
 * said here alone; sender/client*.c looks at them where the protocol hangs on it (354, 421, a BDAT that is refused as such). */
#ifndef MFDRELAY_CATALOGUE_H
#define MFDRELAY_CATALOGUE_H

#include <limits.h>
#include <stdbool.h>
#include "base/str.h"
#include "config/config.h"

struct reply;

enum outcome { OUTCOME_T, OUTCOME_S, OUTCOME_A, OUTCOME_C, OUTCOME_N, OUTCOME_P };

/* Who must act. */
enum actor {
	ACTOR_NOBODY,		/* it mends by itself */
	ACTOR_RELAY,		/* whoever looks after the relay */
	ACTOR_TENANT,		/* the tenant's administrator: licences, domains, Defender */
	ACTOR_EXCHANGE, ACTOR_ENTRA, ACTOR_AZURE,	/* its administrator for that */
	ACTOR_NETWORK, ACTOR_DNS,
	ACTOR_DEVICE,		/* whoever set the device up, or stands at it */
	ACTOR_RECIPIENT,
};

/* How long to wait before the next look: first_s, then growth times as long from look to look as long as the cause is the same,
 * up to max_s. retry.max of the config caps it, unless own_max says that this is no retry of ours. For S, C and A it is the road that is held; for T each recipient waits
 * first_s at least. */
struct hold {
	unsigned first_s;	/* 0: the retry schedule. REST_AT_ONCE, IN_HALVES: below */
	unsigned growth;
	unsigned max_s;
	bool of_recipient;	/* S: the recipient waits, not the road: others are not concerned */
	bool own_max;		/* S: max_s counts, whatever retry.max is: Microsoft has blocked the mailbox for errors that went
				   on (its page "Continuous error throttling"), for a time that it picks */
};

/* T: recipients that found no room in a transaction which others did follow in the next, without a wait. */
#define REST_AT_ONCE UINT_MAX
/* P: too many recipients: the message is tried again at once with half as many at a time. For a single one it is P. */
#define IN_HALVES (UINT_MAX - 1)

/* One row. Static, never freed. */
struct cause {
	const char *name;	/* short, stable, of this row alone: "send-as-denied" */
	enum outcome outcome;
	enum actor actor;
	struct hold hold;
	const char *cause;	/* what is the matter, a sentence */
	const char *remedy;	/* what is to be changed, where, in sentences */
};

#define FAILURE_TEXT_MAX 600

struct failure {
	const struct cause *cause;
	long retry_after_s;		/* of the server, or 0 */
	char text[FAILURE_TEXT_MAX];	/* the other side's own words, one line: "535 5.7.3 Authentication unsuccessful [..]" */
};

/* Where in the dialogue a reply came. */
enum smtp_phase {
	PHASE_BANNER, PHASE_EHLO, PHASE_STARTTLS,
	PHASE_AUTH,		/* with a token */
	PHASE_PASSWORD,		/* AUTH with user and password */
	PHASE_MAIL, PHASE_RCPT, PHASE_DATA, PHASE_CONTENT,
};

/* Classify a 4xx or 5xx reply of an upstream of this kind. Enhanced code and a fragment of the text decide; what no row knows
 * falls to its class by the first digit (in phases before MAIL a 5xx is C), where an enhanced code of another class wins over
 * the digit as the table says. Never fails. */
void failure_from_reply(struct failure *out, const struct reply *reply, enum upstream_kind kind,
    enum smtp_phase phase);

/* What is not a reply. */
enum road_trouble {
	ROAD_DNS,		/* the host's name can't be resolved */
	ROAD_MX_NONE,		/* the domain has no mail host: C */
	ROAD_MX_FOREIGN,	/* its mail host is not Microsoft's: C */
	ROAD_PROXY,		/* the proxy does not connect to the host */
	ROAD_PROXY_LOGIN,	/* it wants a login, or another one: C */
	ROAD_CONNECT,		/* refused, unreachable, timed out */
	ROAD_TLS,		/* the handshake failed other than by the certificate */
	ROAD_CERTIFICATE,	/* chain or name not verified */
	ROAD_NO_STARTTLS,	/* the upstream does not offer it */
	ROAD_NO_AUTH,		/* the mechanism needed is not offered */
	ROAD_CUT,		/* connection lost */
	ROAD_TIMEOUT,		/* no answer in time */
	ROAD_GARBAGE,		/* the answer is not SMTP */
	ROAD_SECRET,		/* a secret's file can't be used */
	ROAD_IDENTITY,		/* the machine's identity service gives no token: C */
	ROAD_IDENTITY_BUSY,	/* it asks to come again later */
	ROAD_IDENTITY_SILENT,	/* it gave no answer, or there is none */
	ROAD_IDENTITY_ANSWER,	/* it answered what is not a token answer: C */
	ROAD_SIGN_IN,		/* nobody has signed in by device code: C */
	ROAD_LOGIN_HOST,	/* the login host gave no answer, 429 or 5xx */
	ROAD_LOGIN_CERTIFICATE,	/* its chain or name not verified: C */
	ROAD_LOGIN_ANSWER,	/* it answered what is not a token answer */
	ROAD_SPOOL,		/* the message can't be read from the spool */
	ROAD_HEADER,		/* its From can't be held to the sender rule; text: repair_plan_left(): P */
	ROAD_TOO_LARGE,		/* the message is larger than the SIZE the upstream takes: N */
	ROAD_NO_ROUTE,		/* no route of the config matches the recipient: C */
	ROAD_EXPIRED,		/* retry.give_up is over: P */
};
void failure_from_trouble(struct failure *out, enum road_trouble trouble, const char *text);

/* An error answer of the login host: error and error_description of its JSON, the first of error_codes (0: none). */
void failure_from_login(struct failure *out, const char *error, const char *description, long aadsts, int http_status);

/* What a failure of this cause is where every message of a mailbox meets it: then the road is to be held for it (class C).
 * NULL: it stays what it is. */
const struct cause *cause_of_all(const struct cause *cause);

/* The one of these with that name, or NULL. */
const struct cause *cause_of_all_named(const char *name);

/* "T".. "P". */
const char *outcome_name(enum outcome outcome);

/* "configuration: the upstream is held ..." */
const char *outcome_words(enum outcome outcome);

/* "the tenant's Exchange administrator" */
const char *actor_words(enum actor actor);

#endif
