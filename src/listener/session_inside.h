/* The inside of a session, for session.c and those that carry out its commands: commands.c, auth_dialog.c. */
#ifndef MFDRELAY_LISTENER_SESSION_INSIDE_H
#define MFDRELAY_LISTENER_SESSION_INSIDE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "base/str.h"
#include "config/config.h"
#include "listener/session.h"
#include "spool/spool.h"

struct auth_check;
struct conn;
struct device;
struct event;
struct sasl_login;
struct transaction;

#define HELO_MAX 255		/* octets kept of a device's name for itself */
#define SESSION_REPLY_MAX 1024	/* octets of a reply; only EHLO's has more than one line */

/* What a session waits for. */
enum session_state {
	S_FIRST,		/* the first octet, before the greeting */
	S_TLS,			/* the TLS handshake */
	S_COMMAND,		/* a command line */
	S_AUTH_PLAIN,		/* the line that AUTH PLAIN has asked for */
	S_AUTH_USER,		/* AUTH LOGIN: the user */
	S_AUTH_PASSWORD,	/* AUTH LOGIN: the password */
	S_OVERLONG,		/* the end of a line that was too long */
	S_DATA,			/* content */
	S_CHECK,		/* the password check; nothing is read */
	S_TURN,			/* its turn to begin TLS; nothing is read */
	S_COMMIT,		/* the spool's sync; nothing is read */
	S_PENALTY,		/* the time a wrong password costs; nothing is read */
	S_ENDED,		/* nothing: the outermost callback frees it */
};

struct session {
	struct session_env *env;
	LIST_ENTRY(session) entry;
	struct conn *conn;
	struct transaction *mail;	/* NULL: no MAIL given */
	const struct device *place;	/* the entry of its address, which may ask for a login; NULL: not listed */
	const struct device *login;	/* the entry of the user that has logged in; NULL: none */
	struct sasl_login *sasl;	/* while AUTH is under way */
	struct auth_check *check;	/* in S_CHECK */
	int64_t auth_ms;		/* when the password came; in S_PENALTY when that is over (monotonic) */
	struct event *pause;		/* the timer of S_PENALTY and S_TURN; NULL: never used */
	char *helo;			/* NULL: none; printable ASCII */
	struct in6_addr peer;
	char peer_text[INET6_ADDRSTRLEN];
	const struct listen_config *listen;
	enum tls_min tls_min;		/* of this peer on this listener */
	enum session_state state;
	int64_t since_ms;		/* when it was entered, or the last thing happened in it (monotonic) */
	bool begun;			/* its first octet has been looked at */
	bool greets;			/* the greeting comes behind the handshake */
	bool has_turn;			/* the handshake has been let in */
	bool handshaking;
	bool tls;			/* what is said is said over TLS ... */
	bool secure;			/* ... of 1.2 or later: what policies may rely on */
	bool login_missed;		/* AUTH has come to nothing */
	bool extended;			/* EHLO was said */
	bool content_refused;		/* what comes next may be the content that we did not ask for */
	bool closes;			/* after the next reply */
	bool last_message;		/* the one after a reload has been begun */
	bool peer_closed;		/* no more input will come */
	bool broken;			/* no output can be sent either; ends with what it waits for */
	bool reading;			/* as the connection knows it */
	bool choked;			/* the peer does not read its replies: neither do we read on */
	unsigned commands;
	unsigned errors, deferrals, unknown;	/* since the last accepted message */
	unsigned chatter, repeats;	/* commands and recipients that bring no mail nearer, likewise */
	unsigned failed_logins;
	size_t dropped;			/* in S_OVERLONG */
	char stored[SPOOL_ID_MAX + 1];	/* the id of the last accepted message, until the next one begins; "": none */
};

/* Whether it begins no message any more and has none under way; then QUIT is all it may say. */
bool session_is_leaving(const struct session *session);

/* The 421 that it is sent away with, in dst. Returns dst. */
const char *session_goodbye(const struct session *session, char *dst, size_t size);

/* What bounds the lines about it: strangers can not have a line about a device that is listed withheld. */
struct session_quiet *session_quiet(const struct session *session);

/* Write reply (or nothing, where it is NULL), then go on with what has come meanwhile. The last act of a
 * callback that brings the answer which S_CHECK or S_COMMIT waited for: the session may be gone
 * afterwards. */
void session_resume(struct session *session, const char *reply);

#endif
