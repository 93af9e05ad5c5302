/* What listener and sender share as processes: privileges dropped, a loop, the supervisor's words, and the end.
 *
 * Words from the supervisor over a socket: stop and retire (finish what is in hand, at most so long), ping (answered from the
 * loop, so a loop that hangs is found). Its EOF means the supervisor is gone: the worker ends at once; all that was
 * acknowledged is in the spool. */
#ifndef MFDRELAY_SUPERVISOR_WORKER_H
#define MFDRELAY_SUPERVISOR_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

struct config;
struct counters;
struct event_base;
struct sandbox;
struct worker;

/* What a worker is given. All borrowed, and there to the process's end. */
struct worker_input {
	const struct config *config;
	struct counters *counters;
	_Atomic uint64_t *sessions_now;	/* of counters; listener: its own count */
	int supervisor_fd;
	int peer_fd;			/* SOCK_SEQPACKET to the other worker, as supervisor/handover.h has it */
	const int *listen_fds;		/* listener: bound and listening; sender: none */
	size_t listen_count;
	uid_t uid;			/* to drop to; (uid_t)-1: stay */
	gid_t gid;
};

enum drain {
	DRAIN_RETIRE = 1,	/* a new worker takes this one's place after a reload */
	DRAIN_STOP,		/* the daemon stops */
};

struct worker_role {
	const char *name;		/* "listener", "sender": process and log */
	/* Set up on base's loop, with privileges already dropped, and no thread started yet; worker_confine as soon as what
	 * the sandbox would refuse is done. Returns the role's state, or NULL with err, which ends the process; the supervisor tries
	 * again with back-off. */
	void *(*start)(struct worker *worker, struct err *err);
	/* Take nothing new, finish what is in hand, then call worker_finished. DRAIN_STOP may follow on DRAIN_RETIRE. */
	void (*drain)(void *state, enum drain why);
	/* The drain's time is over: answer what is unfinished with 4xx or leave it queued, then call worker_finished. */
	void (*deadline)(void *state);
	/* How long the loop stays away from its events behind a round of them, in us; 0: not at all. NULL: never. What comes
	 * meanwhile is met in one round, and whoever sends it need not wake this process for each. */
	unsigned (*rest_us)(void *state);
	/* Free everything. */
	void (*stop)(void *state);
};

/* For the roles. */
struct event_base *worker_base(const struct worker *worker);
const struct worker_input *worker_input(const struct worker *worker);

/* What the role needs is open: enter the sandbox (supervisor/sandbox.h), unless the config switches it off. Before the
 * first thread. */
void worker_confine(const struct worker *worker, const struct sandbox *sandbox);

/* How much time the drain has left, and for how long it has gone on, in ms; -1 while there is none. */
int64_t worker_drain_left_ms(const struct worker *worker);
int64_t worker_drained_ms(const struct worker *worker);

/* Nothing is left to do: the loop ends after the present callbacks. */
void worker_finished(struct worker *worker);

/* In a forked process: signals and rights as a worker's, under the name "mfd-NAME". Returns 0, or -1 with err. */
int worker_become(const char *name, uid_t uid, gid_t gid, struct err *err);

/* Run a worker in this (forked) process. Returns the exit status: 0 after a drain, 1 when start failed. */
int worker_main(const struct worker_role *role, const struct worker_input *input);

extern const struct worker_role listener_role;	/* listener/listener.c */
extern const struct worker_role sender_role;	/* sender/sender.c */

#endif
