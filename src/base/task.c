#include "base/task.h"

#include <stdlib.h>

#include "base/mem.h"

#define BATCH 8

struct task_pool {
	struct event_base *base;
	struct work_pool *work; /* NULL: nothing has been submitted yet */
};

static void run(struct work_job *const *jobs, size_t n, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < n; i++) {
		struct task *task = (struct task *)(void *)jobs[i];
		task->run(task);
	}
}

static void on_done(struct work_job *job)
{
	struct task *task = (struct task *)(void *)job;

	task->done(task);
}

struct task_pool *task_pool_new(struct event_base *base)
{
	struct task_pool *pool = xcalloc(1, sizeof *pool);

	pool->base = base;
	return pool;
}

void task_submit(struct task_pool *pool, struct task *task)
{
	if (pool->work == NULL)
		pool->work = work_pool_new(pool->base, "task", 1, BATCH, run, NULL);
	task->job.done = on_done;
	work_submit(pool->work, &task->job);
}

void task_pool_free(struct task_pool *pool)
{
	if (pool == NULL)
		return;
	work_pool_free(pool->work);
	free(pool);
}
