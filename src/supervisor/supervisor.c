#include "supervisor/supervisor.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "config/config.h"
#include "config/load.h"
#include "spool/spool.h"
#include "supervisor/certificate.h"
#include "supervisor/channel.h"
#include "supervisor/handover.h"
#include "supervisor/process.h"
#include "supervisor/sockets.h"
#include "supervisor/spool_watch.h"
#include "supervisor/worker.h"

#define SIGNAL_COUNT	 4
#define LOCK_WAIT_MS	 5000
#define PORT_WAIT_MS	 1000 /* a process that ends may let go of the lock a moment before its ports */
#define STOP_DEADLINE_MS 10000
/* Longer than the reply to a content may take: a reload cuts no transaction. */
#define RELOAD_SENDER_MS    660000
#define RELOAD_LISTENER_MS  300000 /* a long scan on a slow device goes on during a reload */
#define TICK_S		    10
#define HANG_TIMEOUT_MS	    60000
#define RESTART_FIRST_MS    100
#define RESTART_MAX_MS	    30000
#define RESTART_FORGIVEN_MS 60000
#define CERTIFICATE_NEXT_MS (12 * 3600 * 1000LL) /* looks at the relay's own certificate come so often, */
#define CERTIFICATE_SOON_MS (600 * 1000LL)	 /* and so long after one that failed */
#define CLOCK_SETTLED_MS    (12 * 3600 * 1000LL) /* by then the time comes from the network, if it does */

/* A worker's place: the process in it now, and when the next one is due after a death. */
struct slot {
	struct supervisor *supervisor;
	const struct worker_role *role;
	struct process *current;
	struct event *restart;
	unsigned backoff_ms;
	bool ready;
	_Atomic uint64_t *restarts;
	_Atomic int32_t *pid;
};

struct retired {
	struct process *process;
	SLIST_ENTRY(retired) next;
};

struct supervisor {
	struct config *config;
	struct counters *counters;
	struct sockets sockets;
	struct event_base *base;
	struct event *signals[SIGNAL_COUNT], *tick;
	struct slot listener, sender;
	SLIST_HEAD(, retired) retired;			    /* listeners that drain after a reload */
	const struct process *counting[COUNTERS_LISTENERS]; /* which listener has which sessions_now */
	struct spool_watch spool;			    /* whose uid and gid are the workers' */
	int wake_fds[2]; /* listener's end, sender's end: kept open here, so that a restart finds them */
	pid_t certificate_pid;	    /* who makes certificates; 0: nobody */
	int64_t certificate_due_ms; /* monotonic; 0: at once */
	int64_t started_ms;	    /* likewise */
	bool stopping, announced, reloading, reload_refused;
	int status;
};

static void on_process(void *arg, struct process *process, enum process_event event);

/* In a forked child: what belongs to the supervisor or to the other processes goes. The lock stays: it frees
 * when the last process of this daemon has gone. self NULL: the child is no worker. */
static void close_others(void *arg, struct process *self)
{
	struct supervisor *s = arg;
	struct retired *retired;
	bool is_listener = self != NULL && strcmp(process_name(self), listener_role.name) == 0;

	/* The loop first, while every descriptor it knows is open; its signals by name, or libevent remembers
	 * them. */
	event_reinit(s->base);
	for (int n = 0; n < SIGNAL_COUNT; n++)
		event_free(s->signals[n]);
	event_base_free(s->base);
	SLIST_FOREACH(retired, &s->retired, next)
		process_close(retired->process);
	if (s->listener.current != NULL && s->listener.current != self)
		process_close(s->listener.current);
	if (s->sender.current != NULL && s->sender.current != self)
		process_close(s->sender.current);
	close(s->wake_fds[is_listener ? 1 : 0]);
	if (self == NULL)
		close(s->wake_fds[1]);
	if (!is_listener)
		for (size_t i = 0; i < s->sockets.count; i++)
			close(s->sockets.items[i].fd);
}

static void start_later(struct slot *slot)
{
	slot->backoff_ms = slot->backoff_ms == 0 ? RESTART_FIRST_MS : slot->backoff_ms * 2;
	if (slot->backoff_ms > RESTART_MAX_MS)
		slot->backoff_ms = RESTART_MAX_MS;
	timer_set(slot->restart, slot->backoff_ms);
}

/* One that no listener has; when so many live, the last one has to do for several. */
static size_t free_count(const struct supervisor *s)
{
	size_t i = 0;

	while (i < COUNTERS_LISTENERS - 1 && s->counting[i] != NULL)
		i++;
	return i;
}

/* What a dead listener had open is closed. */
static void drop_count(struct supervisor *s, const struct process *listener)
{
	for (size_t i = 0; i < COUNTERS_LISTENERS; i++) {
		if (s->counting[i] == listener) {
			atomic_store(&s->counters->sessions_now[i], 0);
			s->counting[i] = NULL;
		}
	}
}

static void start_slot(struct slot *slot)
{
	struct supervisor *s = slot->supervisor;
	bool is_listener = slot->role == &listener_role;
	size_t number = free_count(s);
	int *fds = xcalloc(s->sockets.count, sizeof *fds);
	struct worker_input input = {
	    .config = s->config,
	    .counters = s->counters,
	    .sessions_now = is_listener ? &s->counters->sessions_now[number] : NULL,
	    .peer_fd = s->wake_fds[is_listener ? 0 : 1],
	    .listen_fds = fds,
	    .listen_count = is_listener ? s->sockets.count : 0,
	    .uid = s->spool.uid,
	    .gid = s->spool.gid,
	};

	for (size_t i = 0; i < s->sockets.count; i++)
		fds[i] = s->sockets.items[i].fd;
	evtimer_del(slot->restart);
	slot->ready = false;
	slot->current = process_start(s->base, slot->role, &input, close_others, on_process, s);
	free(fds);
	if (slot->current == NULL) {
		log_event(LOG_LEVEL_ERR, "fork-failed", kv_str("worker", slot->role->name), kv_errno(),
		    kv_str("remedy", "raise TasksMax= of the unit or the user's limit of processes"));
		start_later(slot);
		return;
	}
	atomic_store(slot->pid, (int32_t)process_pid(slot->current));
	if (is_listener)
		s->counting[number] = slot->current;
}

static void on_restart_time(evutil_socket_t fd, short what, void *cookie)
{
	struct slot *slot = cookie;

	(void)fd;
	(void)what;
	if (slot->current == NULL && !slot->supervisor->stopping) {
		count(slot->restarts, 1);
		start_slot(slot);
	}
}

/* It ends with this process, or by itself. */
static void run_certificate(struct supervisor *s)
{
	struct err err = {""};

	close_others(s, NULL);
	if (worker_become("certificate", s->spool.uid, s->spool.gid, &err) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0) {
		log_event(LOG_LEVEL_ERR, "certificate-failed", kv_words("why", err.text));
		exit(CERTIFICATE_FAILED);
	}
	signal(SIGTERM, SIG_DFL);
	exit(certificate_main(s->config, clock_mono_ms() - s->started_ms >= CLOCK_SETTLED_MS));
}

/* Once devices are served: the certificates that we make ourselves, if they are due for a look. */
static void look_at_certificates(struct supervisor *s)
{
	int64_t now = clock_mono_ms();

	if (s->stopping || !s->listener.ready || s->certificate_pid != 0 || now < s->certificate_due_ms ||
	    (!config_makes_certificate(s->config) && !config_has_legacy(s->config)))
		return;
	s->certificate_due_ms = now + CERTIFICATE_SOON_MS;
	s->certificate_pid = fork();
	if (s->certificate_pid == 0)
		run_certificate(s);
	if (s->certificate_pid < 0) {
		log_event(LOG_LEVEL_ERR, "fork-failed", kv_str("worker", "certificate"), kv_errno());
		s->certificate_pid = 0;
	}
}

static void log_death(const char *worker, int status)
{
	const char *how = WIFSIGNALED(status) ? "signal" : "exit";
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

	log_event(LOG_LEVEL_ERR, "worker-died", kv_str("worker", worker), kv_i64(how, number));
}

static void log_end(const struct process *process)
{
	int status = process_status(process);

	if (process_draining(process) && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		log_event(LOG_LEVEL_INFO, "worker-ended", kv_str("worker", process_name(process)));
	else
		log_death(process_name(process), status);
}

static void finish_when_all_ended(struct supervisor *s)
{
	if (s->stopping && s->listener.current == NULL && s->sender.current == NULL &&
	    SLIST_EMPTY(&s->retired))
		event_base_loopexit(s->base, NULL);
}

/* By its own doing: SIGKILL and SIGTERM come from outside. */
static int fault_of(const struct process *process)
{
	int status = process_status(process), number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return number == SIGSEGV || number == SIGBUS || number == SIGABRT || number == SIGFPE ||
		       number == SIGILL || number == SIGSYS
		   ? number
		   : 0;
}

/* A sender that was drained for a reload makes room for the next at once; a death waits, longer each time. */
static void on_slot_ended(struct slot *slot)
{
	struct process *process = slot->current;
	bool drained = process_draining(process);

	if (clock_mono_ms() - process_started_ms(process) > RESTART_FORGIVEN_MS)
		slot->backoff_ms = 0;
	slot->current = NULL;
	slot->ready = false;
	atomic_store(slot->pid, 0);
	if (slot->role == &sender_role)
		atomic_store(&slot->supervisor->counters->sender_fault, fault_of(process));
	process_free(process);
	if (slot->supervisor->stopping)
		return;
	if (drained)
		start_slot(slot);
	else
		start_later(slot);
}

static void drop_retired(struct supervisor *s, struct process *process)
{
	struct retired *retired;

	SLIST_FOREACH(retired, &s->retired, next) {
		if (retired->process == process) {
			SLIST_REMOVE(&s->retired, retired, retired, next);
			free(retired);
			process_free(process);
			return;
		}
	}
}

/* What a listener had made durable, and not yet told of when it died, would wait for the sender's next rescan. */
static void have_sender_look(const struct supervisor *s)
{
	static const char look = HANDOVER_LOOK;

	send(s->wake_fds[0], &look, sizeof look, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* At the start both must stand. After a reload the new listener counts: the new sender may have to wait long for
 * the old one's last transaction, and systemd would call that a failed reload. */
static void announce_ready(struct supervisor *s)
{
	if (!s->listener.ready || (!s->announced && !s->sender.ready))
		return;
	sd_notify(0, "READY=1");
	if (!s->sender.ready)
		return;
	if (!s->announced)
		log_event(LOG_LEVEL_NOTICE, "ready", kv_str("version", MFDRELAY_VERSION),
		    kv_u64("listen", s->sockets.count), kv_u64("devices", s->config->device_count),
		    kv_u64("upstreams", s->config->upstream_count));
	if (s->reloading)
		log_event(LOG_LEVEL_NOTICE, "reloaded", kv_str("file", s->config->file));
	s->announced = true;
	s->reloading = false;
}

static void on_process(void *arg, struct process *process, enum process_event event)
{
	struct supervisor *s = arg;
	struct slot *slot = process == s->listener.current ? &s->listener
			    : process == s->sender.current ? &s->sender
							   : NULL;

	if (event == PROCESS_READY) {
		if (slot != NULL)
			slot->ready = true;
		announce_ready(s);
		look_at_certificates(s);
		return;
	}
	log_end(process);
	if (strcmp(process_name(process), listener_role.name) == 0) {
		drop_count(s, process);
		have_sender_look(s);
	}
	if (slot != NULL)
		on_slot_ended(slot);
	else
		drop_retired(s, process);
	finish_when_all_ended(s);
}

static void retire_listener(struct supervisor *s);

/* As after a reload, but for the listener alone. What ends in another way than certificate_main() has it has made nothing. */
static void on_certificate_ended(struct supervisor *s, int status)
{
	int result = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	s->certificate_pid = 0;
	if (result != CERTIFICATE_MADE && result != CERTIFICATE_GOOD) {
		if (result != CERTIFICATE_FAILED && !s->stopping)
			log_death("certificate", status);
		return;
	}
	/* Counted from the look's beginning: it may have read the time before a leap of the clock. */
	if (s->certificate_due_ms > 0)
		s->certificate_due_ms += CERTIFICATE_NEXT_MS - CERTIFICATE_SOON_MS;
	if (result != CERTIFICATE_MADE || s->stopping)
		return;
	retire_listener(s);
	start_slot(&s->listener);
}

static void reap(struct supervisor *s, pid_t pid, int status)
{
	struct retired *retired;

	if (pid == s->certificate_pid) {
		on_certificate_ended(s, status);
		return;
	}
	if (process_reaped(s->listener.current, pid, status) ||
	    process_reaped(s->sender.current, pid, status))
		return;
	SLIST_FOREACH(retired, &s->retired, next)
		if (process_reaped(retired->process, pid, status))
			return;
}

static void on_child(evutil_socket_t fd, short what, void *cookie)
{
	pid_t pid;
	int status;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		reap(cookie, pid, status);
}

static void stop_retired(struct supervisor *s, unsigned ms)
{
	struct retired *retired;

	SLIST_FOREACH(retired, &s->retired, next)
		process_stop(retired->process, ms);
}

static void stop_workers(struct supervisor *s, unsigned ms)
{
	if (s->listener.current != NULL)
		process_stop(s->listener.current, ms);
	if (s->sender.current != NULL)
		process_stop(s->sender.current, ms);
	stop_retired(s, ms);
}

static void stop_all(struct supervisor *s, unsigned ms)
{
	if (!s->stopping)
		sd_notify(0, "STOPPING=1\nSTATUS=finishing what is in hand");
	s->stopping = true;
	if (s->certificate_pid > 0)
		kill(s->certificate_pid, SIGTERM);
	stop_workers(s, ms);
	finish_when_all_ended(s);
}

/* A second signal ends the waiting. */
static void on_stop(evutil_socket_t fd, short what, void *cookie)
{
	struct supervisor *s = cookie;
	unsigned ms = s->stopping ? 0 : STOP_DEADLINE_MS;

	(void)what;
	log_event(LOG_LEVEL_NOTICE, "stopping", kv_str("signal", fd == SIGINT ? "INT" : "TERM"),
	    kv_u64("deadline_ms", ms));
	stop_all(s, ms);
}

static void log_problems(const struct config_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		log_event(problems->items[i].is_error ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "config",
		    kv_words("problem", problems->items[i].text));
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The new config and its sockets, or -1 with the reason logged and everything as it was. */
static int load_next(struct supervisor *s, struct config **config, struct sockets *sockets)
{
	struct config_problems problems = {NULL, 0, 0};
	struct err err = {""};

	*config = config_load(s->config->file, &problems);
	log_problems(&problems);
	config_problems_free(&problems);
	if (*config == NULL)
		return -1;
	if (!same_text((*config)->user, s->config->user)) {
		err_set(&err, "user cannot change while the daemon runs: stop it, then start it again");
	} else if (strcmp((*config)->spool, s->config->spool) != 0) {
		err_set(&err, "the spool cannot move while the daemon runs: stop it, move %s, start it",
		    s->config->spool);
	} else if (sockets_reopen(sockets, &s->sockets, *config, &err) == 0) {
		return 0;
	}
	log_event(LOG_LEVEL_ERR, "config", kv_words("problem", err.text));
	config_free(*config);
	return -1;
}

static void retire_listener(struct supervisor *s)
{
	struct retired *retired;

	/* One draining generation at most; the one before gets the time of a stop. */
	stop_retired(s, STOP_DEADLINE_MS);
	if (s->listener.current == NULL)
		return;
	retired = xcalloc(1, sizeof *retired);
	retired->process = s->listener.current;
	s->listener.current = NULL;
	SLIST_INSERT_HEAD(&s->retired, retired, next);
	process_retire(retired->process, RELOAD_LISTENER_MS);
}

static void notify_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(
	    0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

/* The new listener starts at once while the old one finishes its sessions; the new sender starts only when
 * the old one has ended, so that the send windows never overlap. */
static void on_reload(evutil_socket_t fd, short what, void *cookie)
{
	struct supervisor *s = cookie;
	struct sockets next_sockets, old_sockets = s->sockets;
	struct config *next;

	(void)fd;
	(void)what;
	if (s->stopping)
		return;
	notify_reloading();
	if (load_next(s, &next, &next_sockets) < 0) {
		log_event(LOG_LEVEL_ERR, "reload-refused", kv_str("file", s->config->file),
		    kv_str("consequence", "the old configuration goes on"));
		sd_notify(0, "READY=1\nSTATUS=the last reload was refused, the old configuration goes on: "
			     "see the log");
		s->reload_refused = true;
		atomic_store(&s->counters->config_refused_ms, clock_wall_ms());
		return;
	}
	s->reload_refused = false;
	log_event(LOG_LEVEL_NOTICE, "reloading", kv_str("file", next->file));
	retire_listener(s);
	config_free(s->config);
	s->config = next;
	s->sockets = next_sockets;
	sockets_replace(&old_sockets, &s->sockets);
	atomic_store(&s->counters->config_loaded_ms, clock_wall_ms());
	s->certificate_due_ms = 0;
	start_slot(&s->listener);
	s->reloading = true;
	s->sender.ready = false;
	if (s->sender.current != NULL)
		process_retire(s->sender.current, RELOAD_SENDER_MS);
	else
		start_slot(&s->sender);
}

static void ping(struct slot *slot)
{
	if (slot->current == NULL || process_ping(slot->current, HANG_TIMEOUT_MS))
		return;
	log_event(LOG_LEVEL_ERR, "worker-hangs", kv_str("worker", slot->role->name),
	    kv_i64("pid", process_pid(slot->current)), kv_u64("timeout_ms", HANG_TIMEOUT_MS));
	process_abort(slot->current);
}

/* Workers that know the old folder only end, and the next ones open the new one. */
static void look_at_spool(struct supervisor *s)
{
	switch (spool_watch_look(&s->spool, s->config->spool)) {
	case SPOOL_WATCH_SAME:
		break;
	case SPOOL_WATCH_REPLACED:
		s->certificate_due_ms = 0; /* its certificates went with the old one */
		stop_workers(s, STOP_DEADLINE_MS);
		break;
	case SPOOL_WATCH_RESTART:
		s->status = 1;
		stop_all(s, STOP_DEADLINE_MS);
		break;
	}
}

static void on_tick(evutil_socket_t fd, short what, void *cookie)
{
	struct supervisor *s = cookie;

	(void)fd;
	(void)what;
	ping(&s->listener);
	ping(&s->sender);
	if (!s->stopping)
		look_at_spool(s);
	look_at_certificates(s);
	if (!s->announced)
		return;
	sd_notifyf(0, "WATCHDOG=1\nSTATUS=%llu messages accepted, %llu delivered, %llu sessions now%s",
	    (unsigned long long)counted(&s->counters->messages_accepted),
	    (unsigned long long)counted(&s->counters->messages_delivered),
	    (unsigned long long)counted_all(s->counters->sessions_now, COUNTERS_LISTENERS),
	    s->reload_refused ? "; the last reload was refused, the old configuration goes on: see the log"
	    : s->reloading    ? "; after the reload the old sender finishes its transactions first"
			      : "");
}

/* Which user the workers run as. */
static int choose_user(struct supervisor *s, struct err *err)
{
	const char *name = s->config->user;

	s->spool.uid = (uid_t)-1;
	s->spool.gid = (gid_t)-1;
	if (geteuid() != 0) {
		struct passwd *self = getpwuid(geteuid());
		if (name == NULL || self == NULL || strcmp(self->pw_name, name) != 0)
			log_event(LOG_LEVEL_NOTICE, "runs-as",
			    kv_str("user", self != NULL ? self->pw_name : ""), kv_u64("uid", geteuid()),
			    kv_str("config_user", name),
			    kv_str("why", "not started as root: everything runs as the user who started it"));
		return 0;
	}
	if (name == NULL) {
		log_event(LOG_LEVEL_WARNING, "runs-as-root",
		    kv_str("remedy", "set user = \"mfdrelay\"; in the config: the workers then drop to it"));
		return 0;
	}
	struct passwd *entry = getpwnam(name);
	if (entry == NULL)
		return err_set(err,
		    "user = \"%s\": no such user; run: useradd --system --shell /usr/sbin/nologin %s", name,
		    name);
	s->spool.uid = entry->pw_uid;
	s->spool.gid = entry->pw_gid;
	return 0;
}

static int set_up_slot(struct supervisor *s, struct slot *slot, const struct worker_role *role,
    _Atomic uint64_t *restarts, _Atomic int32_t *pid)
{
	*slot = (struct slot){.supervisor = s, .role = role, .restarts = restarts, .pid = pid};
	slot->restart = evtimer_new(s->base, on_restart_time, slot);
	return slot->restart != NULL ? 0 : -1;
}

static int set_up_loop(struct supervisor *s, struct err *err)
{
	static const struct {
		int number;
		event_callback_fn fn;
	} signals[SIGNAL_COUNT] = {
	    {SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_reload}, {SIGCHLD, on_child}};
	struct timeval tick = {.tv_sec = TICK_S};
	uint64_t watchdog_us = 0;

	s->base = event_base_new();
	if (s->base == NULL)
		return err_set(err, "libevent has no event loop for this system");
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		s->signals[i] = evsignal_new(s->base, signals[i].number, signals[i].fn, s);
		if (s->signals[i] == NULL || evsignal_add(s->signals[i], NULL) < 0)
			return err_sys(err, "setting up signals");
	}
	if (sd_watchdog_enabled(0, &watchdog_us) > 0 && watchdog_us / 3 < TICK_S * 1000000ULL)
		tick = (struct timeval){.tv_sec = (time_t)(watchdog_us / 3000000),
		    .tv_usec = (suseconds_t)(watchdog_us / 3 % 1000000)};
	s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	if (s->tick == NULL || evtimer_add(s->tick, &tick) < 0 ||
	    set_up_slot(s, &s->listener, &listener_role, &s->counters->listener_restarts,
		&s->counters->listener_pid) < 0 ||
	    set_up_slot(
		s, &s->sender, &sender_role, &s->counters->sender_restarts, &s->counters->sender_pid) < 0)
		return err_sys(err, "setting up timers");
	return 0;
}

/* The order is the argument: the user is known before anything is made, the spool is ours before it is
 * touched, the sockets are bound before anybody drops a right, and no worker runs before all of that stands.
 */
static int set_up(struct supervisor *s, struct err *err)
{
	if (choose_user(s, err) < 0)
		return -1;
	if (spool_watch_begin(&s->spool, s->config->spool, LOCK_WAIT_MS, err) < 0)
		return -1;
	if (sockets_open(&s->sockets, s->config, PORT_WAIT_MS, err) < 0)
		return -1;
	s->counters = counters_new();
	if (s->counters == NULL || channel_pair(s->wake_fds) < 0)
		return err_sys(err, "setting up what the workers share");
	atomic_store(&s->counters->started_ms, clock_wall_ms());
	atomic_store(&s->counters->config_loaded_ms, clock_wall_ms());
	return set_up_loop(s, err);
}

static void tear_down(struct supervisor *s)
{
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (s->signals[i] != NULL)
			event_free(s->signals[i]);
	if (s->tick != NULL)
		event_free(s->tick);
	if (s->listener.restart != NULL)
		event_free(s->listener.restart);
	if (s->sender.restart != NULL)
		event_free(s->sender.restart);
	if (s->base != NULL)
		event_base_free(s->base);
	sockets_close(&s->sockets);
	for (int i = 0; i < 2; i++)
		if (s->wake_fds[i] >= 0)
			close(s->wake_fds[i]);
	spool_watch_end(&s->spool);
	config_free(s->config);
}

int supervisor_run(struct config *config)
{
	struct supervisor s = {
	    .config = config, .spool = {.lock_fd = -1}, .wake_fds = {-1, -1}, .started_ms = clock_mono_ms()};
	struct err err = {""};

	SLIST_INIT(&s.retired);
	log_init("supervisor");
	/* A log that nobody reads any more must not end the daemon. */
	signal(SIGPIPE, SIG_IGN);
	if (set_up(&s, &err) < 0) {
		log_event(LOG_LEVEL_ERR, "start-failed", kv_words("why", err.text));
		sd_notifyf(0, "STATUS=%s", err.text);
		s.status = 1;
	} else {
		start_slot(&s.listener);
		start_slot(&s.sender);
		event_base_dispatch(s.base);
		log_event(LOG_LEVEL_NOTICE, "stopped");
	}
	tear_down(&s);
	return s.status;
}
