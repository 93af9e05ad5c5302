#include "supervisor/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/privileges.h"
#include "base/timer.h"
#include "config/config.h"
#include "net/conn.h"
#include "supervisor/channel.h"
#include "supervisor/sandbox.h"

/* How long a worker goes on when the supervisor has died: shorter than a new daemon waits for the spool's
 * lock. */
#define ORPHAN_DRAIN_MS 3000
#define SPARE_MEMORY	(4 << 20) /* bytes; what sixty messages take at once */

struct worker {
	const struct worker_role *role;
	const struct worker_input *input;
	struct event_base *base;
	struct event *channel, *term, *deadline;
	void *state;
	enum drain draining;	       /* 0: not */
	int64_t drain_ms, deadline_ms; /* its begin and its end, monotonic, while draining */
};

struct event_base *worker_base(const struct worker *worker)
{
	return worker->base;
}

const struct worker_input *worker_input(const struct worker *worker)
{
	return worker->input;
}

void worker_confine(const struct worker *worker, const struct sandbox *sandbox)
{
	if (worker->input->config->sandbox == SANDBOX_ON)
		sandbox_enter(sandbox);
	else
		log_event(LOG_LEVEL_WARNING, "sandbox-off",
		    kv_str("why", "the config says sandbox = \"off\""),
		    kv_str("consequence", "this process can do all that its user may"));
}

void worker_finished(struct worker *worker)
{
	event_base_loopexit(worker->base, NULL);
}

int64_t worker_drain_left_ms(const struct worker *worker)
{
	int64_t left_ms = worker->deadline_ms - clock_mono_ms();

	if (!worker->draining)
		return -1;
	return left_ms > 0 ? left_ms : 0;
}

int64_t worker_drained_ms(const struct worker *worker)
{
	return worker->draining ? clock_mono_ms() - worker->drain_ms : -1;
}

/* A later word can shorten the time, and turn a retirement into a stop; never the other way. */
static void begin_drain(struct worker *worker, enum drain why, unsigned ms)
{
	int64_t now_ms = clock_mono_ms(), deadline_ms = now_ms + ms;

	if (!worker->draining)
		worker->drain_ms = now_ms;
	if (!worker->draining || deadline_ms < worker->deadline_ms) {
		worker->deadline_ms = deadline_ms;
		timer_set(worker->deadline, ms);
	}
	if (worker->draining >= why)
		return;
	worker->draining = why;
	log_event(LOG_LEVEL_INFO, "draining", kv_str("for", why == DRAIN_STOP ? "stop" : "reload"),
	    kv_i64("deadline_ms", worker_drain_left_ms(worker)));
	worker->role->drain(worker->state, why);
}

static void on_deadline(evutil_socket_t fd, short what, void *cookie)
{
	struct worker *worker = cookie;

	(void)fd;
	(void)what;
	worker->role->deadline(worker->state);
}

static void on_orphaned(struct worker *worker, const char *why)
{
	log_event(LOG_LEVEL_WARNING, "supervisor-gone", kv_str("sign", why));
	event_del(worker->channel);
	begin_drain(worker, DRAIN_STOP, ORPHAN_DRAIN_MS);
}

static void on_term(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	begin_drain(cookie, DRAIN_STOP, ORPHAN_DRAIN_MS);
}

static void on_word(evutil_socket_t fd, short what, void *cookie)
{
	struct worker *worker = cookie;
	struct word word;
	int got;

	(void)what;
	while ((got = channel_receive((int)fd, &word)) > 0) {
		if (word.kind == WORD_PING)
			channel_send((int)fd, WORD_PONG, word.value);
		else if (word.kind == WORD_STOP)
			begin_drain(worker, DRAIN_STOP, word.value);
		else if (word.kind == WORD_RETIRE)
			begin_drain(worker, DRAIN_RETIRE, word.value);
	}
	if (got < 0)
		on_orphaned(worker, "its socket is closed");
}

static void set_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	/* Ctrl-C and SIGHUP reach the whole process group; only the supervisor answers them. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGUSR1, SIG_IGN);
}

static int set_up(struct worker *worker, struct err *err)
{
	worker->base = event_base_new();
	if (worker->base == NULL)
		return err_set(err, "libevent has no event loop for this system");
	worker->channel =
	    event_new(worker->base, worker->input->supervisor_fd, EV_READ | EV_PERSIST, on_word, worker);
	worker->term = evsignal_new(worker->base, SIGTERM, on_term, worker);
	worker->deadline = evtimer_new(worker->base, on_deadline, worker);
	if (worker->channel == NULL || worker->term == NULL || worker->deadline == NULL ||
	    event_add(worker->channel, NULL) < 0 || evsignal_add(worker->term, NULL) < 0)
		return err_sys(err, "setting up the event loop");
	/* Cleared by a change of user, so it comes after. A supervisor that has gone before shows on the
	 * channel. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0)
		return err_sys(err, "asking for a signal at the supervisor's end");
	worker->state = worker->role->start(worker, err);
	return worker->state != NULL ? 0 : -1;
}

static void tear_down(struct worker *worker)
{
	if (worker->state != NULL)
		worker->role->stop(worker->state);
	conn_drop_finishing();
	if (worker->channel != NULL)
		event_free(worker->channel);
	if (worker->term != NULL)
		event_free(worker->term);
	if (worker->deadline != NULL)
		event_free(worker->deadline);
	if (worker->base != NULL)
		event_base_free(worker->base);
}

int worker_become(const char *name, uid_t uid, gid_t gid, struct err *err)
{
	char title[16] = "mfd-";

	log_init(name);
	mem_keep_spare(SPARE_MEMORY);
	str_copy(title + 4, sizeof title - 4, str_of(name));
	prctl(PR_SET_NAME, title, 0, 0, 0);
	set_signals();
	return privileges_drop(uid, gid, err);
}

static void run(struct worker *worker)
{
	const struct worker_role *role = worker->role;
	unsigned us;

	while (event_base_loop(worker->base, EVLOOP_ONCE) == 0 && !event_base_got_exit(worker->base))
		if (role->rest_us != NULL && (us = role->rest_us(worker->state)) > 0)
			clock_rest_us(us);
}

int worker_main(const struct worker_role *role, const struct worker_input *input)
{
	struct worker worker = {.role = role, .input = input};
	struct err err = {""};
	int status = 0;

	if (worker_become(role->name, input->uid, input->gid, &err) < 0 || set_up(&worker, &err) < 0) {
		log_event(LOG_LEVEL_ERR, "start-failed", kv_words("why", err.text));
		status = 1;
	} else {
		channel_send(input->supervisor_fd, WORD_READY, 0);
		run(&worker);
	}
	tear_down(&worker);
	return status;
}
