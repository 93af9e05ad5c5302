/* The file quota: read once by a new sender, replaced again and again, on the syncer's thread. Losing the last second of it costs
 * at most a slow-down by the upstream, so nobody waits for the folder's sync. */
#include "spool/spool_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"
#include "spool/quota.h"

#define NAME	     "quota"
#define TEMP_NAME    "tmp.quota"
#define DAMAGED_NAME "quota.damaged"

int spool_load_quota(struct spool *spool, struct quota *out, struct err *err)
{
	size_t n;
	char *text = fs_read_file(spool->root, NAME, QUOTA_MAX, &n);
	struct err why = {""};

	*out = (struct quota){.count = 0};
	if (text == NULL && errno == ENOENT)
		return 0;
	if (text == NULL && errno != EFBIG)
		return err_sys(err, "%s/" NAME, spool->path);
	int result = text != NULL ? quota_parse((struct str){text, n}, out, &why)
				  : err_set(&why, "larger than any can be");
	free(text);
	if (result == 0)
		return 0;
	err_set(err, "%s/" NAME ": %s", spool->path, why.text);
	/* Where it can't be moved, the next save replaces it. */
	fs_rename(spool->root, NAME, spool->root, DAMAGED_NAME);
	return 1;
}

struct quota_save {
	struct sync_job job; /* first */
	int root;
	char *text;
	size_t n;
	spool_done_fn *fn;
	void *arg;
};

static int write_quota(struct sync_job *job)
{
	struct quota_save *save = (struct quota_save *)job;

	job->fd = fs_create(save->root, TEMP_NAME);
	return job->fd < 0 ? -1 : fs_write_all(job->fd, save->text, save->n);
}

static int name_quota(struct sync_job *job)
{
	struct quota_save *save = (struct quota_save *)job;

	return fs_rename(save->root, TEMP_NAME, save->root, NAME);
}

static void undo_quota(struct sync_job *job)
{
	unlinkat(((struct quota_save *)job)->root, TEMP_NAME, 0);
}

static const struct sync_ops ops = {.write = write_quota, .name = name_quota, .undo = undo_quota};

static void on_saved(struct work_job *work)
{
	struct quota_save *save = (struct quota_save *)work;
	char text[256];
	struct spool_result result = {.error_number = save->job.error};

	if (save->job.error != 0) {
		snprintf(
		    text, sizeof text, NAME ": %s: %s", save->job.failed_step, strerror(save->job.error));
		result.error = text;
	}
	save->fn(save->arg, &result);
	free(save->text);
	free(save);
}

void spool_save_quota(struct spool *spool, const struct quota *quota, spool_done_fn *fn, void *arg)
{
	struct quota_save *save = xcalloc(1, sizeof *save);

	*save = (struct quota_save){
	    .job = {.work.done = on_saved, .ops = &ops, .fd = -1}, .root = spool->root, .fn = fn, .arg = arg};
	save->text = quota_format(quota, &save->n);
	syncer_submit(spool->syncer, &save->job);
}
