/* Single things done off the loop, one after the other, on a thread that starts with the first of them. */
#ifndef MFDRELAY_BASE_TASK_H
#define MFDRELAY_BASE_TASK_H

#include "base/work.h"

struct event_base;
struct task_pool;

/* The first member of the caller's own struct, which the pool holds from task_submit until done has been called. */
struct task {
	struct work_job job;			/* the pool's own */
	void (*run)(struct task *task);		/* on the thread: may block, log, touch files; nothing of the loop */
	void (*done)(struct task *task);	/* on the loop */
};

struct task_pool *task_pool_new(struct event_base *base);

/* Never blocks, never calls back from inside. Loop's thread only. */
void task_submit(struct task_pool *pool, struct task *task);

/* Finishes what was submitted (blocks until then), and calls each done. NULL is fine. */
void task_pool_free(struct task_pool *pool);

#endif
