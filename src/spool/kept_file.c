#include "spool/kept_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/work.h"
#include "spool/spool.h"

#define NAME_SIZE 64
#define FOLDER	  "var/" /* as the log has it */

struct kept_file {
	struct work_job job; /* first */
	struct work_pool *pool;
	const struct spool *spool;
	char name[NAME_SIZE], temp[NAME_SIZE], path[NAME_SIZE];
	kept_file_fn *fn;
	void *arg;
	char *bytes; /* what is being written; NULL: nothing is */
	size_t n;
	bool changed; /* since that was made */
};

static bool take_lines(char *text, const char *heading, bool (*take)(void *arg, char *line), void *arg)
{
	bool fine = strncmp(text, heading, strlen(heading)) == 0;
	char *rest = NULL;

	if (!fine)
		return false;
	for (char *line = strtok_r(text + strlen(heading), "\n", &rest); line != NULL && fine;
	     line = strtok_r(NULL, "\n", &rest))
		fine = take(arg, line);
	return fine;
}

void kept_file_read_lines(const struct spool *spool, const char *name, size_t max, const char *heading,
    bool (*take)(void *arg, char *line), void *arg, const char *consequence)
{
	char path[NAME_SIZE];
	size_t n;

	snprintf(path, sizeof path, FOLDER "%s", name);
	char *text = fs_read_file(spool_var_fd(spool), name, max, &n);
	if (text == NULL && errno != ENOENT)
		log_event(LOG_LEVEL_WARNING, "file-unreadable", kv_str("file", path), kv_errno(),
		    kv_str("consequence", consequence));
	else if (text != NULL && !take_lines(text, heading, take, arg))
		log_event(LOG_LEVEL_WARNING, "file-damaged", kv_str("file", path),
		    kv_str("consequence", consequence));
	free(text);
}

static void run(struct work_job *const *jobs, size_t n, void *arg)
{
	const struct kept_file *file = arg;

	(void)jobs;
	(void)n;
	if (fs_replace_file(spool_var_fd(file->spool), file->temp, file->name, file->bytes, file->n) < 0)
		log_event(LOG_LEVEL_WARNING, "file-not-written", kv_str("file", file->path), kv_errno(),
		    kv_str("remedy", "look at the disk that the spool is on"));
}

static void begin(struct kept_file *file)
{
	file->changed = false;
	file->bytes = file->fn(file->arg, &file->n);
	work_submit(file->pool, &file->job);
}

static void on_written(struct work_job *job)
{
	struct kept_file *file = (struct kept_file *)job;

	free(file->bytes);
	file->bytes = NULL;
	if (file->changed)
		begin(file);
}

struct kept_file *kept_file_new(
    struct event_base *base, const struct spool *spool, const char *name, kept_file_fn *fn, void *arg)
{
	struct kept_file *file = xcalloc(1, sizeof *file);

	*file = (struct kept_file){.job.done = on_written, .spool = spool, .fn = fn, .arg = arg};
	snprintf(file->name, sizeof file->name, "%s", name);
	snprintf(file->temp, sizeof file->temp, "tmp.%s", name);
	snprintf(file->path, sizeof file->path, FOLDER "%s", name);
	file->pool = work_pool_new(base, "kept-file", 1, 1, run, file);
	return file;
}

void kept_file_changed(struct kept_file *file)
{
	if (file->bytes != NULL)
		file->changed = true;
	else
		begin(file);
}

void kept_file_free(struct kept_file *file)
{
	if (file == NULL)
		return;
	bool again = file->changed;
	file->changed = false;
	/* Calls back, which must begin nothing in a pool that is at its end. */
	work_pool_free(file->pool);
	if (again) {
		file->bytes = file->fn(file->arg, &file->n);
		run(NULL, 0, file);
		free(file->bytes);
	}
	free(file);
}
