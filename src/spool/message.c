/* Bringing a message out: taking it by its lock, saving its state, and its end. What is asked for
 * one message is carried out one after the other; the lock is held until the last of it is done. */
#include "spool/spool_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"

#define STUCK_RETRY_S 10

enum task_kind { TASK_SAVE, TASK_FAIL };

/* Something asked for that the syncer does. A TASK_FAIL goes through it twice: the state is durable before
 * the message moves. */
struct task {
	struct sync_job job; /* the first member */
	enum task_kind kind;
	struct spool_message *message;
	char *text; /* of the state */
	size_t text_bytes;
	uint64_t text_hash;
	bool has_temp, message_moved, state_moved; /* for undo */
	spool_done_fn *fn;
	void *arg;
	STAILQ_ENTRY(task) next;
};

struct spool_message {
	struct spool *spool;
	int fd; /* holds the lock */
	struct envelope envelope;
	struct state state;
	uint64_t content_offset;
	uint64_t state_hash;	   /* of the text that is durable; 0: none known */
	bool has_state;		   /* there is, or may be, a file in state/ */
	STAILQ_HEAD(, task) tasks; /* the first one runs when is_running */
	bool is_running;
	enum { END_NONE, END_RELEASE, END_RETIRE, END_FAIL } end; /* after the last task */
	STAILQ_ENTRY(spool_message) next;			  /* in spool->stuck */
};

/* --- taking --- */

static void free_message(struct spool_message *message)
{
	if (message->fd >= 0)
		close(message->fd);
	envelope_free(&message->envelope);
	state_free(&message->state);
	free(message);
}

/* Open and lock the file, then see that its name still leads to it: it may have gone or moved in between. */
static enum spool_take open_message(struct spool *spool, const char *id, int *fd, struct err *err)
{
	int queue = spool->dirs[DIR_QUEUE];
	struct stat opened, named;

	*fd = openat(queue, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0) {
		err_sys(err, "%s/queue/%s", spool->path, id);
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? SPOOL_GONE : SPOOL_TROUBLE;
	}
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
		err_sys(err, "%s/queue/%s: locking it", spool->path, id);
		return errno == EWOULDBLOCK ? SPOOL_BUSY : SPOOL_TROUBLE;
	}
	if (fstat(*fd, &opened) < 0 || fstatat(queue, id, &named, AT_SYMLINK_NOFOLLOW) < 0) {
		err_sys(err, "%s/queue/%s", spool->path, id);
		return errno == ENOENT ? SPOOL_GONE : SPOOL_TROUBLE;
	}
	if (!S_ISREG(opened.st_mode)) {
		err_set(err, "%s/queue/%s: not a plain file, left alone", spool->path, id);
		return SPOOL_GONE;
	}
	if (opened.st_dev != named.st_dev || opened.st_ino != named.st_ino) {
		err_set(err, "%s/queue/%s: replaced in the meantime", spool->path, id);
		return SPOOL_GONE;
	}
	return SPOOL_TAKEN;
}

/* Synced here, on the loop: it is rare, and the names are synced with the next tidy. */
static void write_reason(struct spool *spool, const char *id, const char *reason)
{
	char name[NAME_MAX_BYTES], line[REASON_MAX];
	int n = snprintf(line, sizeof line, "%s\n", reason);
	int fd = fs_create(spool->dirs[DIR_FAILED], name_of(name, "", id, ".reason"));

	if (fd < 0 || fs_write_all(fd, line, (size_t)n) < 0 || fs_sync(fd) < 0)
		log_event(LOG_LEVEL_ERR, "spool-write-failed", kv_str("name", name), kv_errno());
	if (fd >= 0)
		close(fd);
}

/* The reason first, so that no damaged file is in failed/ without one: a move that is undone by a crash finds
 * the file damaged again. A message that is in failed/ already, whole perhaps, is never replaced. */
static enum spool_take quarantine(struct spool *spool, const char *id, const char *reason, struct err *err)
{
	char name[NAME_MAX_BYTES];
	struct stat st;

	if (fstatat(spool->dirs[DIR_FAILED], id, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		err_set(err,
		    "%s/queue/%s is damaged (%.300s), and there is one of that id in failed/: remove one of "
		    "the two",
		    spool->path, id, reason);
		return SPOOL_TROUBLE;
	}
	write_reason(spool, id, reason);
	if (fs_rename_noreplace(spool->dirs[DIR_QUEUE], id, spool->dirs[DIR_FAILED], id) < 0) {
		err_sys(err, "%s/queue/%s is damaged (%.300s), and could not be moved to failed/",
		    spool->path, id, reason);
		return SPOOL_TROUBLE;
	}
	if (fs_rename(spool->dirs[DIR_STATE], id, spool->dirs[DIR_FAILED], name_of(name, "", id, ".state")) <
		0 &&
	    errno != ENOENT)
		log_event(LOG_LEVEL_ERR, "spool-move-failed", kv_str("name", name), kv_errno());
	spool_tidy(spool, DIR_BIT(DIR_QUEUE) | DIR_BIT(DIR_FAILED) | DIR_BIT(DIR_STATE));
	log_event(LOG_LEVEL_ERR, "message-damaged", kv_str("id", id), kv_str("why", reason),
	    kv_str("consequence", "not sent; kept in failed/"));
	err_set(err, "%s", reason);
	return SPOOL_DAMAGED;
}

static enum spool_take read_message(struct spool_message *message, const char *id, struct err *err)
{
	struct err why = {""};
	int result = message_read(message->fd, id, &message->envelope, &message->content_offset, &why);

	if (result == 0)
		result = message_read_state(message->spool, DIR_STATE, "", &message->envelope,
		    &message->state, &message->has_state, &why);
	if (result < 0) {
		err_set(err, "%s/queue/%s: %.400s", message->spool->path, id, why.text);
		return SPOOL_TROUBLE;
	}
	return result == 0 ? SPOOL_TAKEN : quarantine(message->spool, id, why.text, err);
}

enum spool_take spool_take(struct spool *spool, const char *id, struct spool_message **out, struct err *err)
{
	*out = NULL;
	assert(spool->syncer != NULL);
	if (!spool_id_valid(id)) {
		err_set(err, "not a message id");
		return SPOOL_GONE;
	}
	struct spool_message *message = xcalloc(1, sizeof *message);
	message->spool = spool;
	STAILQ_INIT(&message->tasks);
	enum spool_take result = open_message(spool, id, &message->fd, err);
	if (result == SPOOL_TAKEN)
		result = read_message(message, id, err);
	if (result != SPOOL_TAKEN) {
		free_message(message);
		return result;
	}
	*out = message;
	return SPOOL_TAKEN;
}

enum spool_take spool_set_aside(struct spool *spool, const char *id, const char *reason, struct err *err)
{
	int fd = -1;
	enum spool_take result = open_message(spool, id, &fd, err);

	if (result == SPOOL_TAKEN)
		result = quarantine(spool, id, reason, err);
	if (fd >= 0)
		close(fd);
	return result;
}

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

/* --- on the syncer's thread --- */

static int write_state(struct sync_job *job)
{
	struct task *task = (struct task *)job;
	char name[NAME_MAX_BYTES];

	job->fd = fs_create(
	    task->message->spool->dirs[DIR_STATE], name_of(name, "tmp.", task->message->envelope.id, ""));
	task->has_temp = job->fd >= 0;
	return task->has_temp ? fs_write_all(job->fd, task->text, task->text_bytes) : -1;
}

static int name_state(struct sync_job *job)
{
	struct task *task = (struct task *)job;
	int dir = task->message->spool->dirs[DIR_STATE];
	const char *id = task->message->envelope.id;
	char name[NAME_MAX_BYTES];

	if (fs_rename(dir, name_of(name, "tmp.", id, ""), dir, id) < 0)
		return -1;
	task->has_temp = false;
	return 0;
}

static void undo_state(struct sync_job *job)
{
	struct task *task = (struct task *)job;
	char name[NAME_MAX_BYTES];

	if (task->has_temp)
		unlinkat(task->message->spool->dirs[DIR_STATE],
		    name_of(name, "tmp.", task->message->envelope.id, ""), 0);
	task->has_temp = false;
}

static int move_names(struct sync_job *job)
{
	struct task *task = (struct task *)job;
	const int *dirs = task->message->spool->dirs;
	const char *id = task->message->envelope.id;
	char name[NAME_MAX_BYTES];

	if (fs_rename(dirs[DIR_QUEUE], id, dirs[DIR_FAILED], id) < 0)
		return -1;
	task->message_moved = true;
	if (fs_rename(dirs[DIR_STATE], id, dirs[DIR_FAILED], name_of(name, "", id, ".state")) < 0)
		return -1;
	task->state_moved = true;
	unlinkat(dirs[DIR_FAILED], name_of(name, "", id, ".reason"), 0);
	return 0;
}

static void undo_move(struct sync_job *job)
{
	struct task *task = (struct task *)job;
	const int *dirs = task->message->spool->dirs;
	const char *id = task->message->envelope.id;
	char name[NAME_MAX_BYTES];
	bool is_back = true;

	if (task->state_moved)
		is_back =
		    fs_rename(dirs[DIR_FAILED], name_of(name, "", id, ".state"), dirs[DIR_STATE], id) == 0;
	if (task->message_moved && fs_rename(dirs[DIR_FAILED], id, dirs[DIR_QUEUE], id) < 0)
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
	const struct timeval wait = {STUCK_RETRY_S, 0};

	if (!STAILQ_EMPTY(&spool->stuck) && !spool->closing)
		evtimer_add(spool->stuck_timer, &wait);
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
			free_message(message);
		else
			get_stuck(message);
	}
	stuck_later(spool);
}

void spool_drop_stuck(struct spool *spool)
{
	struct spool_message *message;

	while ((message = next_stuck(spool, &spool->stuck)) != NULL)
		free_message(message);
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
		free_message(message);
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
	struct task *task = STAILQ_FIRST(&message->tasks);

	if (message->is_running)
		return;
	if (task != NULL) {
		message->is_running = true;
		syncer_submit(message->spool->syncer, &task->job);
	} else if (message->end == END_RETIRE) {
		retire_now(message);
	} else if (message->end != END_NONE) {
		free_message(message);
	}
}

static void start_move(struct task *task)
{
	task->message->state_hash = task->text_hash;
	task->job.ops = &move_ops;
	task->job.folders = DIR_BIT(DIR_FAILED) | DIR_BIT(DIR_QUEUE) | DIR_BIT(DIR_STATE);
}

static void go_on(struct spool_message *message)
{
	message->is_running = false;
	run_next(message); /* frees the message when it was released */
}

static void on_task_done(struct work_job *work)
{
	struct task *task = (struct task *)work;
	struct spool_message *message = task->message;
	char id[SPOOL_ID_MAX + 1], text[256];

	if (task->job.error == 0 && task->kind == TASK_FAIL && task->job.ops == &save_ops) {
		start_move(task);
		syncer_submit(message->spool->syncer, &task->job);
		return;
	}
	str_copy(id, sizeof id, str_of(message->envelope.id));
	message->state_hash = task->job.error == 0 ? task->text_hash : 0;
	enum spool_dir dir = task->job.ops == &save_ops ? DIR_STATE : DIR_QUEUE;
	const struct spool_result result = {.error = spool_job_error(&task->job, dir, id, text, sizeof text),
	    .error_number = task->job.error};
	STAILQ_REMOVE_HEAD(&message->tasks, next);
	/* The answers come in the order of the calls; the last one comes when a released message has been
	 * freed. */
	bool is_last = STAILQ_EMPTY(&message->tasks);
	if (is_last)
		go_on(message);
	task->fn(task->arg, &result);
	if (!is_last)
		go_on(message);
	free(task->text);
	free(task);
}

static uint64_t hash_of(const char *bytes, size_t n)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
	return hash != 0 ? hash : 1;
}

static struct task *new_task(struct spool_message *message, enum task_kind kind, spool_done_fn *fn, void *arg)
{
	struct task *task = xcalloc(1, sizeof *task);

	assert(message->end == END_NONE);
	task->job.work.done = on_task_done;
	task->job.ops = &save_ops;
	task->job.fd = -1;
	task->job.folders = DIR_BIT(DIR_STATE);
	task->kind = kind;
	task->message = message;
	message->has_state = true;
	task->text = state_format(&message->state, &message->envelope, &task->text_bytes);
	task->text_hash = hash_of(task->text, task->text_bytes);
	task->fn = fn;
	task->arg = arg;
	return task;
}

void spool_save(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	struct task *task = new_task(message, TASK_SAVE, fn, arg);

	STAILQ_INSERT_TAIL(&message->tasks, task, next);
	run_next(message);
}

void spool_fail(struct spool_message *message, spool_done_fn *fn, void *arg)
{
	struct task *task = new_task(message, TASK_FAIL, fn, arg);

	/* Nothing new to say: no new file is needed, which a full disk would not give. */
	if (STAILQ_EMPTY(&message->tasks) && task->text_hash == message->state_hash)
		start_move(task);
	STAILQ_INSERT_TAIL(&message->tasks, task, next);
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
