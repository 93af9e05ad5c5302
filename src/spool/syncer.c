#include "spool/syncer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "spool/whole_sync.h"

struct syncer {
	struct work_pool *pool, *large; /* NULL once the threads have been stopped */
	const int *folders;
	size_t folder_count;
	struct whole_sync *whole;
};

static struct sync_job *of(struct work_job *work)
{
	return (struct sync_job *)work; /* its first member */
}

/* errno says why. undo is called here and nowhere else: once, before the descriptor and with it the lock
 * goes. */
static void fail_job(struct sync_job *job, const char *step)
{
	job->error = errno != 0 ? errno : EIO;
	job->failed_step = step;
	if (job->ops != NULL && job->ops->undo != NULL)
		job->ops->undo(job);
}

static void write_all(struct work_job *const *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sync_job *job = of(jobs[i]);
		if (!job->is_synced && job->ops != NULL && job->ops->write != NULL &&
		    job->ops->write(job) < 0)
			fail_job(job, "writing the file");
	}
}

static bool needs_sync(const struct sync_job *job)
{
	return job->error == 0 && !job->is_synced && job->fd >= 0;
}

/* All of them at once, where there are several, and before a sync of the whole too: that what was written can be given no place on
 * the disk is told to this call or to the file's own sync, and to no other. That the kernel does not have it, or not for us, is no
 * error. */
static void start_writeback(struct work_job *const *jobs, size_t n)
{
	for (size_t i = 0; i < n && n > 1; i++)
		if (needs_sync(of(jobs[i])) && fs_start_writeback(of(jobs[i])->fd) < 0 && errno != ENOSYS &&
		    errno != EPERM)
			fail_job(of(jobs[i]), "writing the file to disk");
}

static void sync_each(struct work_job *const *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (needs_sync(of(jobs[i])) && fs_sync(of(jobs[i])->fd) < 0)
			fail_job(of(jobs[i]), "syncing the file to disk");
}

/* When the sync of all fails, those of each say whose failure it is. */
static void sync_files(struct whole_sync *whole, struct work_job *const *jobs, size_t n)
{
	size_t files = 0;

	start_writeback(jobs, n);
	for (size_t i = 0; i < n; i++)
		files += needs_sync(of(jobs[i]));
	if (!whole_sync_pays(whole, files) || whole_sync_run(whole) < 0)
		sync_each(jobs, n);
}

static void name_all(struct work_job *const *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sync_job *job = of(jobs[i]);
		if (job->error == 0 && job->ops != NULL && job->ops->name != NULL && job->ops->name(job) < 0)
			fail_job(job, "giving the file its name");
	}
}

/* Whether a job that has not failed touches that folder. */
static bool is_touched(struct work_job *const *jobs, size_t n, unsigned folder)
{
	for (size_t i = 0; i < n; i++)
		if (of(jobs[i])->error == 0 && (of(jobs[i])->folders & folder) != 0)
			return true;
	return false;
}

static void sync_folder(struct work_job *const *jobs, size_t n, int fd, unsigned folder)
{
	if (fs_sync(fd) == 0)
		return;
	int error = errno;
	log_event(LOG_LEVEL_ERR, "spool-folder-sync-failed", kv_errno(), kv_u64("jobs", n),
	    kv_str("consequence", "what shared this sync is not acknowledged"),
	    kv_str("remedy", "look at the disk and the kernel's log"));
	for (size_t i = 0; i < n; i++) {
		if (of(jobs[i])->error == 0 && (of(jobs[i])->folders & folder) != 0) {
			errno = error;
			fail_job(of(jobs[i]), "syncing the folder to disk");
		}
	}
}

static void run_batch(struct work_job *const *jobs, size_t n, void *arg)
{
	const struct syncer *syncer = arg;

	write_all(jobs, n);
	sync_files(syncer->whole, jobs, n);
	name_all(jobs, n);
	for (size_t i = 0; i < syncer->folder_count; i++)
		if (is_touched(jobs, n, 1u << i))
			sync_folder(jobs, n, syncer->folders[i], 1u << i);
	for (size_t i = 0; i < n; i++) {
		if (of(jobs[i])->fd >= 0)
			close(of(jobs[i])->fd);
		of(jobs[i])->fd = -1;
	}
}

/* --- large files --- */

static void run_large(struct work_job *const *jobs, size_t n, void *arg)
{
	(void)arg;
	write_all(jobs, n);
	sync_each(jobs, n);
}

static void submit_to_batch(struct syncer *syncer, struct work_job *work)
{
	if (syncer->pool != NULL) {
		work_submit(syncer->pool, work);
		return;
	}
	run_batch(&work, 1, syncer);
	work->done(work);
}

/* Failed or not: the batch closes it. */
static void on_large_synced(struct work_job *work)
{
	struct sync_job *job = of(work);

	job->is_synced = true;
	work->done = job->done;
	submit_to_batch(job->syncer, work);
}

static void submit_large(struct syncer *syncer, struct sync_job *job)
{
	job->syncer = syncer;
	job->done = job->work.done;
	job->work.done = on_large_synced;
	work_submit(syncer->large, &job->work);
}

struct syncer *syncer_new(
    struct event_base *base, const int *folders, size_t folder_count, struct whole_sync *whole)
{
	struct syncer *syncer = xcalloc(1, sizeof *syncer);

	syncer->folders = folders;
	syncer->folder_count = folder_count;
	syncer->whole = whole;
	syncer->pool = work_pool_new(base, "mfd-syncer", 1, SYNCER_BATCH, run_batch, syncer);
	syncer->large = work_pool_new(base, "mfd-sync-large", 1, 1, run_large, NULL);
	return syncer;
}

void syncer_submit(struct syncer *syncer, struct sync_job *job)
{
	job->error = 0;
	job->failed_step = NULL;
	job->is_synced = false;
	if (job->is_large && syncer->pool != NULL)
		submit_large(syncer, job);
	else
		submit_to_batch(syncer, &job->work);
}

void syncer_finish(struct syncer *syncer)
{
	struct work_pool *pool = syncer->pool;

	/* First: its jobs end in the other pool. */
	work_pool_free(syncer->large);
	syncer->large = NULL;
	syncer->pool = NULL;
	work_pool_free(pool);
}

void syncer_free(struct syncer *syncer)
{
	if (syncer == NULL)
		return;
	syncer_finish(syncer);
	free(syncer);
}
