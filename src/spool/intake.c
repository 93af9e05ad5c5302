/* Taking a message in: the draft, written as it comes, and the commit that makes it durable and gives it its
 * name.
 *
 * The file is made when the buffer is full for the first time. A message that fits the buffer meets the disk
 * only on the syncer's thread: making a file may wait for the journal, and then the loop would too. */
#include "spool/spool_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"

#define BUFFER_BYTES (64u * 1024)
#define LARGE_BYTES  (1024u * 1024)	 /* its sync may take as long as many small messages' together */
#define PROMISE_MAX  ((uint64_t)1 << 40) /* so that no sum of them overflows */
#define BESIDE_BYTES (64u * 1024) /* promised beside the content: for the envelope and the trace header */

struct spool_draft {
	struct sync_job job; /* the first member; its fd is the draft's file */
	struct spool *spool;
	spool_done_fn *fn;
	void *arg;
	char id[SPOOL_ID_MAX + 1];
	char temp[NAME_MAX_BYTES]; /* its name in queue/ until it has its own; "" where it has none */
	bool is_report;
	bool failed;	/* can only be aborted */
	bool has_name;	/* its own: what undo takes away */
	bool exists;	/* a message of that id was there */
	bool has_patch; /* the tail has been written already: tail is to be written over it */
	uint64_t content_bytes;
	uint64_t promised; /* of the announced size, not written yet */
	uint64_t written;  /* to the file; the rest is in buffer */
	size_t tail_offset;
	char tail[ENVELOPE_TAIL_BYTES];
	size_t buffered;
	char buffer[BUFFER_BYTES];
};

static struct spool_draft *of(struct sync_job *job)
{
	return (struct spool_draft *)job;
}

/* --- on either thread --- */

static int open_file(struct spool_draft *draft)
{
	int queue = draft->spool->dirs[DIR_QUEUE];

	if (draft->spool->can_link_unnamed)
		return openat(queue, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	/* That of a report may have been left behind. That of a message is new, unless another generation of workers has made
	 * the same id: its draft must live. */
	name_of(draft->temp, "tmp.", draft->id, "");
	int fd = draft->is_report ? fs_create(queue, draft->temp) : fs_create_new(queue, draft->temp);
	if (fd < 0)
		draft->temp[0] = '\0';
	return fd;
}

/* The lock comes before the name: so nobody takes it between its name and the batch's sync. */
static int open_locked(struct spool_draft *draft)
{
	if (draft->job.fd >= 0)
		return 0;
	draft->job.fd = open_file(draft);
	return draft->job.fd >= 0 ? flock(draft->job.fd, LOCK_EX | LOCK_NB) : -1;
}

/* --- on the syncer's thread --- */

static int write_rest(struct sync_job *job)
{
	struct spool_draft *draft = of(job);

	if (open_locked(draft) < 0 || fs_write_all(job->fd, draft->buffer, draft->buffered) < 0)
		return -1;
	if (!draft->has_patch)
		return 0;
	return fs_pwrite_all(job->fd, draft->tail, sizeof draft->tail, (off_t)draft->tail_offset);
}

static int give_name(struct sync_job *job)
{
	struct spool_draft *draft = of(job);
	int queue = draft->spool->dirs[DIR_QUEUE];
	int result;

	if (draft->temp[0] == '\0')
		result = fs_link_fd(job->fd, queue, draft->id);
	else
		result = fs_rename_noreplace(queue, draft->temp, queue, draft->id);
	if (result == 0) {
		draft->has_name = true;
		draft->temp[0] = '\0';
		return 0;
	}
	draft->exists = errno == EEXIST;
	/* A report that is there already has all its data on disk; its name, given before a crash perhaps, is
	 * synced now. */
	return draft->exists && draft->is_report ? 0 : -1;
}

static void remove_name(const struct spool_draft *draft, const char *name)
{
	if (name[0] == '\0' || unlinkat(draft->spool->dirs[DIR_QUEUE], name, 0) == 0 || errno == ENOENT)
		return;
	log_event(LOG_LEVEL_ERR, "spool-remove-failed", kv_str("id", draft->id), kv_str("name", name),
	    kv_errno(), kv_str("consequence", "a message that was refused may be sent"));
}

static void undo(struct sync_job *job)
{
	const struct spool_draft *draft = of(job);

	remove_name(draft, draft->temp);
	if (draft->has_name)
		remove_name(draft, draft->id);
}

static const struct sync_ops commit_ops = {.write = write_rest, .name = give_name, .undo = undo};

/* --- on the loop --- */

/* n bytes of what was announced need no promise any more. */
static void redeem(struct spool_draft *draft, uint64_t n)
{
	uint64_t redeemed = draft->promised < n ? draft->promised : n;

	draft->promised -= redeemed;
	draft->spool->space.bytes_promised -= redeemed;
}

static void free_draft(struct spool_draft *draft)
{
	redeem(draft, draft->promised);
	if (draft->job.fd >= 0)
		close(draft->job.fd);
	free(draft);
}

static void on_done(struct work_job *work)
{
	struct spool_draft *draft = (struct spool_draft *)work;
	char text[256];
	const char *error = spool_job_error(&draft->job, DIR_QUEUE, draft->id, text, sizeof text);
	/* A report that was there counts only when its name is durable. */
	const struct spool_result result = {.error = error,
	    .error_number = draft->job.error,
	    .exists = draft->exists && (error == NULL || !draft->is_report)};

	/* The report of before stands; the name of this one's draft goes. */
	if (result.error == NULL)
		remove_name(draft, draft->temp);
	draft->fn(draft->arg, &result);
	free_draft(draft);
}

static int flush(struct spool_draft *draft, struct err *err)
{
	redeem(draft, draft->buffered);
	if (!space_take(draft->spool, draft->buffered, draft->is_report, err))
		return -1;
	if (open_locked(draft) < 0 || fs_write_all(draft->job.fd, draft->buffer, draft->buffered) < 0)
		return err_sys(err, "%s/queue: writing %s", draft->spool->path, draft->id);
	draft->written += draft->buffered;
	draft->buffered = 0;
	return 0;
}

static int add(struct spool_draft *draft, const char *bytes, size_t n, struct err *err)
{
	assert(!draft->failed);
	while (n > 0) {
		if (draft->buffered == BUFFER_BYTES && flush(draft, err) < 0) {
			draft->failed = true;
			return -1;
		}
		size_t part = BUFFER_BYTES - draft->buffered < n ? BUFFER_BYTES - draft->buffered : n;
		memcpy(draft->buffer + draft->buffered, bytes, part);
		draft->buffered += part;
		bytes += part;
		n -= part;
	}
	return 0;
}

static int add_envelope(struct spool_draft *draft, const struct envelope *envelope, struct err *err)
{
	size_t n;
	char *text = envelope_format(envelope, &n, &draft->tail_offset);
	int result = add(draft, text, n, err);
	int saved_errno = errno;

	free(text);
	errno = saved_errno;
	return result;
}

struct spool_draft *spool_begin(
    struct spool *spool, struct envelope *envelope, const char *id, struct err *err)
{
	/* All but the buffer is zeroed. */
	struct spool_draft *draft = xrealloc(NULL, sizeof *draft);
	memset(draft, 0, offsetof(struct spool_draft, buffer));

	assert(spool->syncer != NULL);
	if (id == NULL) {
		id_new(&spool->ids, envelope->id);
	} else {
		assert(spool_id_valid(id));
		str_copy(envelope->id, sizeof envelope->id, str_of(id));
	}
	str_copy(draft->id, sizeof draft->id, str_of(envelope->id));
	draft->spool = spool;
	draft->is_report = envelope->is_report;
	draft->job.fd = -1;
	if (envelope->content_bytes > 0)
		draft->promised =
		    (envelope->content_bytes < PROMISE_MAX ? envelope->content_bytes : PROMISE_MAX) +
		    BESIDE_BYTES;
	spool->space.bytes_promised += draft->promised;
	spool->space.inodes_taken++;
	if (add_envelope(draft, envelope, err) == 0)
		return draft;
	int saved_errno = errno;
	spool_abort(draft);
	errno = saved_errno;
	return NULL;
}

int spool_append(struct spool_draft *draft, const void *bytes, size_t n, struct err *err)
{
	if (!draft->is_report && !space_fits(draft->spool, draft->promised, draft->buffered + n, err)) {
		draft->failed = true;
		return -1;
	}
	draft->content_bytes += n;
	return add(draft, bytes, n, err);
}

void spool_commit(struct spool_draft *draft, bool has_8bit, spool_done_fn *fn, void *arg)
{
	assert(!draft->failed);
	draft->fn = fn;
	draft->arg = arg;
	draft->job.work.done = on_done;
	draft->job.ops = &commit_ops;
	draft->job.is_large = draft->written >= LARGE_BYTES;
	draft->job.folders = DIR_BIT(DIR_QUEUE);
	envelope_format_tail(draft->tail, has_8bit, draft->content_bytes);
	draft->has_patch = draft->tail_offset < draft->written;
	if (!draft->has_patch)
		memcpy(
		    draft->buffer + (draft->tail_offset - draft->written), draft->tail, sizeof draft->tail);
	redeem(draft, draft->promised);
	space_take(draft->spool, draft->buffered, true, NULL);
	syncer_submit(draft->spool->syncer, &draft->job);
}

void spool_abort(struct spool_draft *draft)
{
	if (draft == NULL)
		return;
	remove_name(draft, draft->temp);
	free_draft(draft);
}
