/* What becomes of a message that is taken: saving its state, and its end. What is asked for one message is carried
 * out one after the other; the lock is held until the last of it is done. */
#include "spool/spool_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"

#define STUCK_RETRY_S 10

enum operation_kind { OPERATION_SAVE, OPERATION_FAIL };

/* Something asked for that the syncer does. An OPERATION_FAIL goes through it twice: the state is durable before
 * the message moves. */
struct operation {
	struct sync_job job; /* the first member */
	enum operation_kind kind;
	struct spool_message *message;
	char *text; /* of the state */
	size_t text_bytes;
	uint64_t text_hash;
	bool has_temp, message_moved, state_moved; /* for undo */
	spool_done_fn *fn;
	void *arg;
	STAILQ_ENTRY(operation) next;
};

const struct envelope *spool_envelope(const struct spool_message *message)
{
	return &message->envelope;
}

struct state *spool_state(struct spool_message *message)
{
	return &message->state;
}

ssize_t spool_read(const struct spool_message *message, uint64_t offset, void *bytes, size_t n)
{
	if (offset >= message->envelope.content_bytes)
		return 0;
	return message_read_at(message->fd, bytes, n, message->content_offset + offset);
}

void spool_message_free(struct spool_message *message)
{
	if (message->fd >= 0)
		close(message->fd);
	envelope_free(&message->envelope);
	state_free(&message->state);
	free(message);
}

/* --- on the syncer's thread --- */

static int write_state(struct sync_job *job)
{
	struct operation *operation = (struct operation *)job;
	char name[NAME_MAX_BYTES];

	job->fd = fs_create(operation->message->spool->dirs[DIR_STATE],
	    name_of(name, "tmp.", operation->message->envelope.id, ""));
	operation->has_temp = job->fd >= 0;
	return operation->has_temp ? fs_write_all(job->fd, operation->text, operation->text_bytes) : -1;
}

static int name_state(struct sync_job *job)
{
	struct operation *operation = (struct operation *)job;
	int dir = operation->message->spool->dirs[DIR_STATE];
	const char *id = operation->message->envelope.id;
	char name[NAME_MAX_BYTES];

	if (fs_rename(dir, name_of(name, "tmp.", id, ""), dir, id) < 0)
		return -1;
	operation->has_temp = false;
	return 0;
}

static void undo_state(struct sync_job *job)
{
	struct operation *operation = (struct operation *)job;
	char name[NAME_MAX_BYTES];

	if (operation->has_temp)
		unlinkat(operation->message->spool->dirs[DIR_STATE],
		    name_of(name, "tmp.", operation->message->envelope.id, ""), 0);
	operation->has_temp = false;
}

static int move_names(struct sync_job *job)
{
	struct operation *operation = (struct operation *)job;
	const int *dirs = operation->message->spool->dirs;
	const char *id = operation->message->envelope.id;
	char name[NAME_MAX_BYTES];

	if (fs_rename(dirs[DIR_QUEUE], id, dirs[DIR_FAILED], id) < 0)
		return -1;
	operation->message_moved = true;
	/* rename does nothing where a hand has linked one file to both names. */
	if (unlinkat(dirs[DIR_QUEUE], id, 0) < 0 && errno != ENOENT)
		return -1;
	if (fs_rename(dirs[DIR_STATE], id, dirs[DIR_FAILED], name_of(name, "", id, ".state")) < 0)
		return -1;
	operation->state_moved = true;
	unlinkat(dirs[DIR_FAILED], name_of(name, "", id, ".reason"), 0);
	return 0;
}

static void undo_move(struct sync_job *job)
{
	struct operation *operation = (struct operation *)job;
	const int *dirs = operation->message->spool->dirs;
	const char *id = operation->message->envelope.id;
	char name[NAME_MAX_BYTES];
	bool is_back = true;

	if (operation->state_moved)
		is_back =
		    fs_rename(dirs[DIR_FAILED], name_of(name, "", id, ".state"), dirs[DIR_STATE], id) == 0;
	if (operation->message_moved && fs_rename(dirs[DIR_FAILED], id, dirs[DIR_QUEUE], id) < 0)
		is_back = false;
	if (!is_back)
		log_event(LOG_LEVEL_ERR, "spool-move-failed", kv_str("id", id), kv_errno(),
		    kv_str("consequence", "it may be in failed/ though that was not reported as done"));
}

static const struct sync_ops save_ops = {.write = write_state, .name = name_state, .undo = undo_state};
static const struct sync_ops move_ops = {.name = move_names, .undo = undo_move};

/* --- its end --- */

static int remove_files(const struct spool_message *message)
{
	const int *dirs = message->spool->dirs;
	const char *id = message->envelope.id;

	if (unlinkat(dirs[DIR_QUEUE], id, 0) < 0 && errno != ENOENT)
		return -1;
	/* A state without a message is removed at start-up. */
	if (message->has_state && unlinkat(dirs[DIR_STATE], id, 0) < 0 && errno != ENOENT)
		log_event(LOG_LEVEL_WARNING, "spool-remove-failed", kv_str("id", id), kv_str("name", "state"),
		    kv_errno());
	spool_tidy(message->spool, DIR_BIT(DIR_QUEUE) | (message->has_state ? DIR_BIT(DIR_STATE) : 0));
	return 0;
}

static void stuck_later(struct spool *spool)
{
	if (!STAILQ_EMPTY(&spool->stuck) && !spool->closing)
		timer_set(spool->stuck_timer, STUCK_RETRY_S * 1000);
}

static void get_stuck(struct spool_message *message)
{
	STAILQ_INSERT_TAIL(&message->spool->stuck, message, next);
	message->spool->stuck_count++;
}

static struct spool_message *next_stuck(struct spool *spool, struct message_list *list)
{
	struct spool_message *message = STAILQ_FIRST(list);

	if (message != NULL) {
		STAILQ_REMOVE_HEAD(list, next);
		spool->stuck_count--;
	}
	return message;
}

void spool_retry_stuck(struct spool *spool)
{
	struct message_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct spool_message *message;

	STAILQ_CONCAT(&waiting, &spool->stuck);
	while ((message = next_stuck(spool, &waiting)) != NULL) {
		if (!message->is_running && remove_files(message) == 0)
			spool_message_free(message);
		else
			get_stuck(message);
	}
	stuck_later(spool);
}

void spool_drop_stuck(struct spool *spool)
{
	struct spool_message *message;

	while ((message = next_stuck(spool, &spool->stuck)) != NULL)
		spool_message_free(message);
}

bool spool_can_retire(const struct spool *spool, struct err *err)
{
	if (spool->stuck_count < SPOOL_STUCK_MAX)
		return true;
	err_set(err,
	    "%zu delivered messages cannot be removed from %s/queue: nothing more is sent until they can be; "
	    "look "
	    "at the disk, the kernel's log, and ours for spool-remove-failed",
	    spool->stuck_count, spool->path);
	return false;
}

static void on_end_saved(void *arg, const struct spool_result *result)
{
	const struct spool_message *message = arg;

	if (result->error != NULL)
		log_event(LOG_LEVEL_ERR, "spool-trouble", kv_str("id", message->envelope.id),
		    kv_str("doing", "writing that it is delivered"), kv_str("why", result->error),
		    kv_str("consequence", "it would be sent again after a restart"));
}

/* The lock is kept while the file is there: a rescan must not find it free and send it once more. That the next
 * sender does not do so either is what its state is for. */
static void retire_now(struct spool_message *message)
{
	struct spool *spool = message->spool;
	struct err err = {""};

	if (remove_files(message) == 0) {
		spool_message_free(message);
		return;
	}
	log_event(LOG_LEVEL_ERR, "spool-remove-failed", kv_str("id", message->envelope.id), kv_errno(),
	    kv_str("consequence", "delivered, but its file stays in the queue"),
	    kv_str("remedy", "make the spool writable; removing it is tried again"));
	get_stuck(message);
	stuck_later(spool);
	if (!spool_can_retire(spool, &err))
		log_event(LOG_LEVEL_ERR, "spool-stuck", kv_str("why", err.text));
	message->end = END_NONE;
	spool_save(message, on_end_saved, message);
}

/* --- one thing after the other --- */

static void run_next(struct spool_message *message)
{
	struct operation *operation = STAILQ_FIRST(&message->operations);

	if (message->is_running)
		return;
	if (operation != NULL) {
		message->is_running = true;
		syncer_submit(message->spool->syncer, &operation->job);
	} else if (message->end == END_RETIRE) {
		retire_now(message);
	} else if (message->end != END_NONE) {
		spool_message_free(message);
	}
}

static void start_move(struct operation *operation)
{
	operation->message->state_hash = operation->text_hash;
	operation->job.ops = &move_ops;
	operation->job.folders = DIR_BIT(DIR_FAILED) | DIR_BIT(DIR_QUEUE) | DIR_BIT(DIR_STATE);
}

static void go_on(struct spool_message *message)
{
	message->is_running = false;
	run_next(message); /* frees the message when it was released */
}

static void on_operation_done(struct work_job *work)
{
	struct operation *operation = (struct operation *)work;
	struct spool_message *message = operation->message;
	char id[SPOOL_ID_MAX + 1], text[256];

	if (operation->job.error == 0 && operation->kind == OPERATION_FAIL &&
	    operation->job.ops == &save_ops) {
		start_move(operation);
		syncer_submit(message->spool->syncer, &operation->job);
		return;
	}
	str_copy(id, sizeof id, str_of(message->envelope.id));
	message->state_hash = operation->job.error == 0 ? operation->text_hash : 0;
	enum spool_dir dir = operation->job.ops == &save_ops ? DIR_STATE : DIR_QUEUE;
	const struct spool_result result = {
	    .error = spool_job_error(&operation->job, dir, id, text, sizeof text),
	    .error_number = operation->job.error};
	STAILQ_REMOVE_HEAD(&message->operations, next);
	/* The answers come in the order of the calls; the last one comes when a released message has been
	 * freed. */
	bool is_last = STAILQ_EMPTY(&message->operations);
	if (is_last)
		go_on(message);
	operation->fn(operation->arg, &result);
	if (!is_last)
		go_on(message);
	free(operation->text);
	free(operation);
}

static uint64_t hash_of(const char *bytes, size_t n)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
	return hash != 0 ? hash : 1;
}

static struct operation *new_operation(
    struct spool_message *message, enum operation_kind kind, spool_done_fn *fn, void *arg)
{
	struct operation *operation = xcalloc(1, sizeof *operation);

	assert(message->end == END_NONE);
	operation->job.work.done = on_operation_done;
	operation->job.ops = &save_ops;
	operation->job.fd = -1;
	operation->job.folders = DIR_BIT(DIR_STATE);
	operation->kind = kind;
	operation->message = message;
	message->has_state = true;
	operation->text = state_format(&message->state, &message->envelope, &operation->text_bytes);
	operation->text_hash = hash_of(operation->text, operation->text_bytes);
	operation->fn = fn;
	operation->arg = arg;
	return operation;
}

void spool_save(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	struct operation *operation = new_operation(message, OPERATION_SAVE, fn, arg);

	STAILQ_INSERT_TAIL(&message->operations, operation, next);
	run_next(message);
}

void spool_fail(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	struct operation *operation = new_operation(message, OPERATION_FAIL, fn, arg);

	/* Nothing new to say: no new file is needed, which a full disk would not give. */
	if (STAILQ_EMPTY(&message->operations) && operation->text_hash == message->state_hash)
		start_move(operation);
	STAILQ_INSERT_TAIL(&message->operations, operation, next);
	message->end = END_FAIL;
	run_next(message);
}

void spool_release(struct spool_message *message)
{
	assert(message->end == END_NONE);
	message->end = END_RELEASE;
	run_next(message);
}

void spool_retire(struct spool_message *message)
{
	assert(message->end == END_NONE);
	message->end = END_RETIRE;
	run_next(message);
}
