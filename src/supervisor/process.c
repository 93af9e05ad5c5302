#include "supervisor/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "supervisor/channel.h"
#include "supervisor/disk_wait.h"
#include "supervisor/worker.h"

/* For the spool to write what it has begun, on a slow disk too. */
#define KILL_AFTER_DEADLINE_MS 5000

struct process {
	const struct worker_role *role;
	process_fn *fn;
	void *arg;
	pid_t pid;
	int fd;
	int disk_fd; /* for disk_waits() */
	int status;
	bool draining, aborted;
	int64_t deadline_ms; /* monotonic, while draining */
	int64_t started_ms;
	int64_t asked_ms; /* when the ping was sent that is not answered yet; 0: none is */
	int64_t moved_ms; /* then, or when it was last seen to wait for its disk since */
	unsigned ticks;	  /* since moved_ms */
	bool stalled;	  /* that wait has become long, and was said */
	struct event *channel, *kill_timer;
};

static void kill_it(struct process *process, int signal_number)
{
	if (process->pid > 0)
		kill(process->pid, signal_number);
}

static void on_kill_time(evutil_socket_t fd, short what, void *cookie)
{
	struct process *process = cookie;

	(void)fd;
	(void)what;
	log_event(LOG_LEVEL_WARNING, "worker-killed", kv_str("worker", process->role->name),
	    kv_i64("pid", process->pid), kv_str("why", "still there after its deadline"));
	kill_it(process, SIGKILL);
}

static void on_word(evutil_socket_t fd, short what, void *cookie)
{
	struct process *process = cookie;
	struct word word;
	int got;

	(void)what;
	while ((got = channel_receive((int)fd, &word)) > 0) {
		process->asked_ms = 0;
		if (process->stalled)
			log_event(LOG_LEVEL_NOTICE, "worker-goes-on", kv_str("worker", process->role->name),
			    kv_i64("pid", process->pid));
		process->stalled = false;
		if (word.kind == WORD_READY)
			process->fn(process->arg, process, PROCESS_READY);
	}
	/* Its end is learnt from SIGCHLD. */
	if (got < 0)
		event_del(process->channel);
}

static struct process *watch(struct event_base *base, struct process *process)
{
	process->channel = event_new(base, process->fd, EV_READ | EV_PERSIST, on_word, process);
	process->kill_timer = evtimer_new(base, on_kill_time, process);
	if (process->channel == NULL || process->kill_timer == NULL ||
	    event_add(process->channel, NULL) < 0) {
		kill_it(process, SIGKILL);
		process_free(process);
		return NULL;
	}
	return process;
}

static void ask(struct process *process)
{
	process->asked_ms = process->moved_ms = clock_mono_ms();
	process->ticks = 0;
	channel_send(process->fd, WORD_PING, 0);
}

/* In the child: the first ping says that the supervisor has seen it as it is now, with its rights and its /proc files. */
static void wait_for_ping(int fd)
{
	struct pollfd channel = {.fd = fd, .events = POLLIN};

	while (poll(&channel, 1, -1) < 0 && errno == EINTR)
		;
}

struct process *process_start(struct event_base *base, const struct worker_role *role,
    const struct worker_input *input, void (*close_others)(void *arg, struct process *self), process_fn *fn,
    void *arg)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		return NULL;
	struct process *process = xcalloc(1, sizeof *process);
	*process = (struct process){
	    .role = role, .fn = fn, .arg = arg, .fd = fds[0], .disk_fd = -1, .started_ms = clock_mono_ms()};
	process->pid = fork();
	if (process->pid == 0) {
		struct worker_input own = *input;
		own.supervisor_fd = fds[1];
		close(fds[0]);
		close_others(arg, process);
		free(process);
		wait_for_ping(fds[1]);
		exit(worker_main(role, &own));
	}
	close(fds[1]);
	if (process->pid < 0) {
		process_free(process);
		return NULL;
	}
	process->disk_fd = disk_wait_open(process->pid);
	ask(process);
	return watch(base, process);
}

static void drain(struct process *process, enum word_kind word, unsigned ms)
{
	int64_t deadline_ms = clock_mono_ms() + ms;

	channel_send(process->fd, word, ms);
	if (process->draining && process->deadline_ms <= deadline_ms)
		return;
	process->draining = true;
	process->deadline_ms = deadline_ms;
	timer_set(process->kill_timer, (int64_t)ms + KILL_AFTER_DEADLINE_MS);
}

void process_stop(struct process *process, unsigned ms)
{
	drain(process, WORD_STOP, ms);
}

void process_retire(struct process *process, unsigned ms)
{
	drain(process, WORD_RETIRE, ms);
}

/* As long as it waits for its disk its time to answer does not run. */
static void see_disk_wait(struct process *process, int64_t timeout_ms)
{
	int64_t now_ms = clock_mono_ms();

	if (!disk_waits(process->disk_fd))
		return;
	process->moved_ms = now_ms;
	process->ticks = 0;
	if (process->stalled || now_ms - process->asked_ms <= timeout_ms)
		return;
	process->stalled = true;
	log_event(LOG_LEVEL_WARNING, "worker-stalled", kv_str("worker", process->role->name),
	    kv_i64("pid", process->pid), kv_str("why", "it waits for its disk"),
	    kv_str("consequence",
		"it stands still until the disk answers, and is left alone: to end it would "
		"have mail sent twice"),
	    kv_str("remedy", "end what froze the file system, or see to its storage: dmesg tells more"));
}

bool process_ping(struct process *process, int64_t timeout_ms)
{
	on_word(process->fd, EV_READ, process);
	if (process->asked_ms == 0) {
		ask(process);
		return true;
	}
	process->ticks++;
	see_disk_wait(process, timeout_ms);
	/* Two looks at least: when all of us stood still (a suspended machine), the answer needs its time
	 * too. */
	return process->ticks < 2 || clock_mono_ms() - process->moved_ms <= timeout_ms;
}

void process_abort(struct process *process)
{
	kill_it(process, process->aborted ? SIGKILL : SIGABRT);
	process->aborted = true;
}

bool process_reaped(struct process *process, pid_t pid, int status)
{
	if (process == NULL || process->pid != pid)
		return false;
	process->status = status;
	process->pid = 0;
	process->fn(process->arg, process, PROCESS_ENDED);
	return true;
}

pid_t process_pid(const struct process *process)
{
	return process->pid;
}

const char *process_name(const struct process *process)
{
	return process->role->name;
}

int process_status(const struct process *process)
{
	return process->status;
}

bool process_draining(const struct process *process)
{
	return process->draining;
}

int64_t process_started_ms(const struct process *process)
{
	return process->started_ms;
}

void process_close(const struct process *process)
{
	close(process->fd);
	if (process->disk_fd >= 0)
		close(process->disk_fd);
}

void process_free(struct process *process)
{
	if (process == NULL)
		return;
	if (process->channel != NULL)
		event_free(process->channel);
	if (process->kill_timer != NULL)
		event_free(process->kill_timer);
	process_close(process);
	free(process);
}
