/* Work off the event loop: a queue, a few threads, and the answers brought back to the loop. It carries what
 * may block: the spool's syncs and the password hashes. */
#ifndef MFDRELAY_BASE_WORK_H
#define MFDRELAY_BASE_WORK_H

#include <stddef.h>
#include <sys/queue.h>

struct event_base;
struct work_pool;

/* Embedded in the caller's job, which stays the caller's: the pool holds it from work_submit until done has
 * been called. Jobs cannot be cancelled. */
struct work_job {
	void (*done)(struct work_job *job);	/* on the loop's thread, after the batch's run has returned */
	STAILQ_ENTRY(work_job) next;		/* the pool's own */
};

/* Does n jobs (1 to max_batch) on a worker thread; they are in the order of their submission. It may log,
 * touch the jobs and the file system, and nothing of the loop. */
typedef void work_run_fn(struct work_job *const *jobs, size_t n, void *arg);

/* Start a pool of threads (1 or more) on base's loop. A thread that is free takes all that waits, up to
 * max_batch: while one batch is under way the next one gathers. name (a literal, at most 15 bytes) names the
 * threads. Starts threads: call it after fork and after privileges are dropped. */
struct work_pool *work_pool_new(struct event_base *base, const char *name, size_t threads, size_t max_batch,
    work_run_fn *run, void *arg);

/* Queue job; never blocks, never calls back from inside. Loop's thread only. */
void work_submit(struct work_pool *pool, struct work_job *job);

/* Jobs submitted whose done has not been called yet. */
size_t work_pending(const struct work_pool *pool);

/* Finish all that was submitted (blocks until then), call each done, stop the threads, free. NULL is fine. */
void work_pool_free(struct work_pool *pool);

#endif
