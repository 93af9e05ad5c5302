/* One worker process as the supervisor sees it: started by fork, spoken to, watched, started again. */
#ifndef MFDRELAY_SUPERVISOR_PROCESS_H
#define MFDRELAY_SUPERVISOR_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct event;
struct event_base;
struct process;
struct worker_input;
struct worker_role;

enum process_event {
	PROCESS_READY,		/* start has succeeded */
	PROCESS_ENDED,		/* reaped; process_status() says how. It may be freed or started again from here */
};
typedef void process_fn(void *arg, struct process *process, enum process_event event);

/* Fork role. In the child, close_others(arg) is called first: it must close every descriptor of the supervisor that the worker
 * is not to have, and tear down what the loop of the supervisor left. input is filled but for supervisor_fd, and only read in
 * the child. Returns NULL with errno when the machine has no room for a process. */
struct process *process_start(struct event_base *base, const struct worker_role *role, const struct worker_input *input,
    void (*close_others)(void *arg, struct process *self), process_fn *fn, void *arg);

/* Ask it to finish within ms, then end: because the daemon stops, or because a new one takes its place. A process that is
 * still there 5 s after that is killed. Asked again, the time can only become shorter. */
void process_stop(struct process *process, unsigned ms);
void process_retire(struct process *process, unsigned ms);

/* Look for an answer to the last ping, and ask again. Returns false when the process has not answered for timeout_ms: it hangs.
 * The time in which it waits for its disk (supervisor/disk_wait.h) does not count; when that takes as long it is logged, once. */
bool process_ping(struct process *process, int64_t timeout_ms);

/* It hangs: SIGABRT, which process_status() tells from the SIGKILL of somebody else; SIGKILL where that was asked before and did
 * not end it, as of a process that is stopped. Its end comes as PROCESS_ENDED. */
void process_abort(struct process *process);

/* pid was reaped with that wait status: if it is this one, fn is called and true returned. */
bool process_reaped(struct process *process, pid_t pid, int status);

pid_t process_pid(const struct process *process);
const char *process_name(const struct process *process);
int process_status(const struct process *process);	/* wait status */
bool process_draining(const struct process *process);
int64_t process_started_ms(const struct process *process);	/* monotonic */

/* In a child that is not this process: close what the supervisor has open of it. */
void process_close(const struct process *process);

/* Forget it. NULL is fine. */
void process_free(struct process *process);

#endif
