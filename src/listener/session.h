/* One device's connection: the SMTP server's side of it. The dialog is in commands.c, a message under way in
 * transaction.c; here are the states, the timeouts, and the reading of lines and content. */
#ifndef MFDRELAY_LISTENER_SESSION_H
#define MFDRELAY_LISTENER_SESSION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include "base/ration.h"

struct auth;
struct config;
struct counters;
struct event_base;
struct guesses;
struct handshakes;
struct rates;
struct listen_config;
struct session;
struct spool;
struct storms;
struct strangers;

/* What sessions can bring into the log as often as their peers like. */
struct session_quiet {
	struct quiet handshakes, closed, refused;
};

/* What the sessions of a listener share. The first part is the listener's, borrowed, set before the first
 * session; the rest begins as zero and is the sessions' own. */
struct session_env {
	struct event_base *base;
	const struct config *config;
	struct counters *counters;
	_Atomic uint64_t *sessions_now;	/* of counters: this process's */
	struct spool *spool;
	struct auth *auth;	/* NULL: AUTH is not offered */
	const struct handshakes *tls;	/* NULL: there is no TLS */
	struct storms *storms;
	struct guesses *guesses;
	unsigned silence_ms;	/* behind LF.LF that ends the message of a device with the quirk eod-lf */
	struct strangers *strangers;	/* NULL: nobody wants to hear of them */
	unsigned login_penalty_ms;	/* how long the answer to a wrong password is held back, at the least */
	unsigned stranger_places;	/* how many of limits.sessions may be taken before who is not listed gets none; 0: all */
	void (*committed)(void *arg, const char *id);	/* a commit has ended; id NULL: it failed */
	void (*ended)(void *arg, const struct in6_addr *counted);	/* a session of that peer_counted has ended, and is freed */
	void *arg;

	struct rates *handshake_rates;	/* borrowed; NULL: no limit */
	struct ration handshakes_of_strangers;
	struct session_quiet of_strangers, of_listed;
	struct quiet crowd;
	bool crowded;		/* most of limits.sessions are taken */
	bool strangers_crowded;	/* most of stranger_places are, and not by devices that are listed alone */
	LIST_HEAD(session_list, session) sessions;
	size_t session_count, stranger_count;
	unsigned answers;	/* given since whoever reads it has set it to 0 */
	size_t commits;		/* under way, their session still there or not */
	bool retiring;		/* a session begins one more message at most */
	bool draining;		/* no new message is begun */
	bool closing;		/* a session ends after the answer it owes */
};

/* Serve a device on fd (accepted, non-blocking; taken over) and greet it. peer is its address, IPv4 as
 * v4-mapped; listen (borrowed) is what it has connected to. Returns false with errno, nothing called back and fd closed, when the loop has no room for
 * it. */
bool session_new(
    struct session_env *env, int fd, const struct in6_addr *peer, const struct listen_config *listen);

/* A new listener serves new connections: each session goes on as it was for one message more, then it is told 421. */
void sessions_retire(struct session_env *env);

/* Begin no new message: sessions without one are told 421 and end, now or at their next command; a message
 * that has been begun may be finished. */
void sessions_drain(struct session_env *env);

/* The time is over: every session but those whose commit is under way is told 421 and ends; what was not
 * acknowledged is dropped. */
void sessions_expire(struct session_env *env);

/* Before spool_close: as sessions_expire, without a word, and the commits that spool_close finishes are
 * still answered; their sessions end with that answer. */
void sessions_close(struct session_env *env);

#endif
