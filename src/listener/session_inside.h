/* The inside of a session: session.c has its states and events, session_input.c what is read, session_idle.c how long each wait may
 * last, session_tls.c the handshake; commands.c and auth_dialog.c carry out its commands. */
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
	struct in6_addr peer, counted;	/* its address, and what that is counted as (listener/peers.h) */
	char peer_text[INET6_ADDRSTRLEN];
	const struct listen_config *listen;
	enum tls_min tls_min;		/* of this peer on this listener */
	enum session_state state;
	int64_t since_ms;		/* when it was entered, or the last thing happened in it (monotonic) */
	bool begun;			/* its first octet has been looked at */
	bool greets;			/* the greeting comes behind the handshake ... */
	bool greeted;			/* ... and another went out before its hello came */
	int64_t turn_ms;		/* how long its handshake is to wait yet for its turn */
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

/* --- session.c, for the other files of session_: none of these frees it --- */

/* Enter the state, with all that it implies. A handler of commands only names the next state; this follows before anything is
 * read. */
void session_enter(struct session *session, enum session_state state);

/* The one place where a reply is counted and sent, and where the session ends after it. */
void session_answer(struct session *session, const char *reply);

/* Note that it ends without a message that was begun. */
void session_lost(struct session *session, const char *reason);

void session_greet(struct session *session);		/* the banner; a command is waited for then */
void session_begin_implicit(struct session *session);	/* TLS, and the banner behind it */

/* --- session_input.c --- */

/* Take one line or one piece of content of what has come. Returns false when there is none, or nothing is to be read now. */
bool session_step(struct session *session);

/* The content is whole: have it committed, or answer why not. */
void session_end_message(struct session *session);

/* --- session_idle.c --- */

/* Have its connection tell when the wait for what its state is about is over; 0: never. */
void session_set_timer(struct session *session, int64_t now_ms);

/* The reply to one that has been idle for too long: it names the limit. */
const char *session_idle_reply(const struct session *session);

/* The number of sessions has changed. Near the limit idle ones make room: they are told sooner, also those that wait already. */
void session_look_for_crowd(struct session_env *env);

#endif
