/* Group commit, off the loop: one thread takes what has gathered and carries a whole batch through each step, so that
 * one sync of a folder serves all names of a batch, and where it pays one of the file system all its data. Large files are
 * written and synced on a thread of their own before they join a batch, so that small ones do not wait for them. It knows
 * nothing of messages: what a step does is the job's. */
#ifndef MFDRELAY_SPOOL_SYNCER_H
#define MFDRELAY_SPOOL_SYNCER_H

#include <stdbool.h>
#include <stddef.h>
#include "base/work.h"

struct event_base;
struct sync_job;
struct syncer;
struct whole_sync;

/* The steps of a job, on the syncer's thread; each may be NULL. They return 0, or -1 with errno. */
struct sync_ops {
	int (*write)(struct sync_job *job);	/* bring the data to job->fd, which it may open */
	int (*name)(struct sync_job *job);	/* the data is synced: give and move names */
	void (*undo)(struct sync_job *job);	/* a step has failed, any of them: take back what this job has done */
};

/* Embedded in the caller's job, which stays the caller's and is the syncer's from syncer_submit until work.done. */
struct sync_job {
	struct work_job work;		/* the caller sets work.done, which is called on the loop */
	const struct sync_ops *ops;
	int fd;				/* synced between write and name; closed at the very end, whatever the result; -1: none */
	bool is_large;			/* its data takes long to sync: others do not wait for it */
	unsigned folders;		/* bits of the folders whose names are touched: synced after name */
	/* the syncer's own */
	struct syncer *syncer;
	bool is_synced;			/* a large one: written and synced, or failed */
	void (*done)(struct work_job *work);
	/* the result */
	int error;			/* 0, or the errno of the step that failed */
	const char *failed_step;	/* in words */
};

#define SYNCER_BATCH 64

/* folders (borrowed) are descriptors; they are synced in that order. whole (borrowed) is for the files of large batches;
 * NULL: each file has a sync of its own. Starts the threads. */
struct syncer *syncer_new(
    struct event_base *base, const int *folders, size_t folder_count, struct whole_sync *whole);

/* Success means: data and names are on stable storage. A failed sync fails that file alone and is not tried again on it;
 * a failed sync of a folder fails all jobs of the batch that touch it. */
void syncer_submit(struct syncer *syncer, struct sync_job *job);

/* Finish what was submitted, calling each done, and stop the threads. What is submitted from then on is carried out at
 * once, done called from inside syncer_submit. */
void syncer_finish(struct syncer *syncer);

/* Finish, and free. NULL is fine. */
void syncer_free(struct syncer *syncer);

#endif
