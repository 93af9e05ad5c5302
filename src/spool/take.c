/* Taking a message by its lock; one that is found damaged, or is to be put aside, goes to failed/. */
#include "spool/spool_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"

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
	STAILQ_INIT(&message->operations);
	enum spool_take result = open_message(spool, id, &message->fd, err);
	if (result == SPOOL_TAKEN)
		result = read_message(message, id, err);
	if (result != SPOOL_TAKEN) {
		spool_message_free(message);
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
