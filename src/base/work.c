#include "base/work.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/mem.h"

STAILQ_HEAD(job_list, work_job);

struct work_pool {
	work_run_fn *run;
	void *arg;
	size_t max_batch;
	size_t pending; /* loop's thread only */
	int wake_fd;	/* eventfd: a batch is done */
	struct event *wake;
	pthread_t *threads;
	size_t thread_count;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t submitted;
	struct job_list waiting;
	struct job_list finished;
	bool stopping;
};

/* Returns 0 when the pool stops and nothing waits. */
static size_t take_batch(struct work_pool *pool, struct work_job **batch)
{
	size_t n = 0;

	pthread_mutex_lock(&pool->lock);
	while (STAILQ_EMPTY(&pool->waiting) && !pool->stopping)
		pthread_cond_wait(&pool->submitted, &pool->lock);
	while (n < pool->max_batch && !STAILQ_EMPTY(&pool->waiting)) {
		batch[n++] = STAILQ_FIRST(&pool->waiting);
		STAILQ_REMOVE_HEAD(&pool->waiting, next);
	}
	pthread_mutex_unlock(&pool->lock);
	return n;
}

static void give_back(struct work_pool *pool, struct work_job *const *batch, size_t n)
{
	uint64_t one = 1;

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < n; i++)
		STAILQ_INSERT_TAIL(&pool->finished, batch[i], next);
	pthread_mutex_unlock(&pool->lock);
	/* An eventfd takes 2^64-2 before it would block: this write cannot fail but by EINTR. */
	while (write(pool->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static void *thread_main(void *cookie)
{
	struct work_pool *pool = cookie;
	struct work_job **batch = xcalloc(pool->max_batch, sizeof *batch);
	size_t n;

	while ((n = take_batch(pool, batch)) > 0) {
		pool->run(batch, n, pool->arg);
		give_back(pool, batch, n);
	}
	free(batch);
	return NULL;
}

static void call_done(struct work_pool *pool)
{
	struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct work_job *job;

	pthread_mutex_lock(&pool->lock);
	STAILQ_CONCAT(&finished, &pool->finished);
	pthread_mutex_unlock(&pool->lock);
	while ((job = STAILQ_FIRST(&finished)) != NULL) {
		STAILQ_REMOVE_HEAD(&finished, next);
		pool->pending--;
		job->done(job);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *cookie)
{
	uint64_t count;

	(void)what;
	if (read((int)fd, &count, sizeof count) < 0)
		return;
	call_done(cookie);
}

/* Signals belong to the loop's thread. */
static void start_threads(struct work_pool *pool, const char *name, size_t threads)
{
	sigset_t all, old;

	pool->threads = xcalloc(threads, sizeof *pool->threads);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; i < threads; i++) {
		int error = pthread_create(&pool->threads[i], NULL, thread_main, pool);
		if (error != 0) {
			errno = error;
			log_event(LOG_LEVEL_ERR, "thread-failed", kv_str("name", name), kv_errno(),
			    kv_str("remedy", "raise TasksMax= of the unit or the limit of processes"));
			_exit(71);
		}
		pthread_setname_np(pool->threads[i], name);
		pool->thread_count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct work_pool *work_pool_new(
    struct event_base *base, const char *name, size_t threads, size_t max_batch, work_run_fn *run, void *arg)
{
	struct work_pool *pool = xcalloc(1, sizeof *pool);

	pool->run = run;
	pool->arg = arg;
	pool->max_batch = max_batch;
	STAILQ_INIT(&pool->waiting);
	STAILQ_INIT(&pool->finished);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->submitted, NULL);
	pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool->wake = event_new(base, pool->wake_fd, EV_READ | EV_PERSIST, on_wake, pool);
	if (pool->wake_fd < 0 || pool->wake == NULL || event_add(pool->wake, NULL) < 0) {
		log_event(LOG_LEVEL_ERR, "eventfd-failed", kv_errno());
		_exit(71);
	}
	start_threads(pool, name, threads);
	return pool;
}

void work_submit(struct work_pool *pool, struct work_job *job)
{
	pool->pending++;
	pthread_mutex_lock(&pool->lock);
	STAILQ_INSERT_TAIL(&pool->waiting, job, next);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_signal(&pool->submitted);
}

size_t work_pending(const struct work_pool *pool)
{
	return pool->pending;
}

void work_pool_free(struct work_pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_broadcast(&pool->submitted);
	for (size_t i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	call_done(pool);
	event_free(pool->wake);
	close(pool->wake_fd);
	pthread_cond_destroy(&pool->submitted);
	pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool);
}
