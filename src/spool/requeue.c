/* From failed/ back to queue/, asked for by a person. Every step blocks. */
#include "spool/spool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"

/* What refused it may have been mended. Where it perhaps is already it still goes first: it must not come twice. */
static void make_pending(struct state *state)
{
	for (size_t i = 0; i < state->count; i++) {
		struct recipient_state *recipient = &state->recipients[i];
		if (recipient->status == RECIPIENT_DELIVERED)
			continue;
		recipient->status = RECIPIENT_PENDING;
		recipient->attempts = 0;
		recipient->wait_ms = 0;
		recipient->waited_ms = 0;
		recipient->next_ms = 0;
		state_forget_refusals(recipient);
	}
}

/* The new state first: a crash before the move leaves it with a message in failed/, where start-up brings it.
 */
static int write_state(const struct spool *spool, const struct envelope *envelope, struct err *err)
{
	char name[NAME_MAX_BYTES];
	struct state state;
	size_t n;

	int result = message_read_state(spool, DIR_FAILED, ".state", envelope, &state, NULL, err);
	if (result > 0) {
		errno = EBADMSG;
		return -1;
	}
	if (result < 0)
		return -1;
	make_pending(&state);
	char *text = state_format(&state, envelope, &n);
	result = fs_replace_file(
	    spool->dirs[DIR_STATE], name_of(name, "tmp.", envelope->id, ""), envelope->id, text, n);
	if (result < 0)
		err_sys(err, "%s/state/%s: writing it", spool->path, envelope->id);
	free(text);
	state_free(&state);
	return result;
}

static int move_back(const struct spool *spool, const char *id, struct err *err)
{
	int queue = spool->dirs[DIR_QUEUE], failed = spool->dirs[DIR_FAILED];
	char name[NAME_MAX_BYTES];

	if (fs_rename_noreplace(failed, id, queue, id) < 0)
		return err_sys(err, "%s/failed/%s: moving it to queue/", spool->path, id);
	if (fs_sync(queue) < 0 || fs_sync(failed) < 0)
		return err_sys(err, "%s/queue/%s: moved, but syncing the folders to disk", spool->path, id);
	unlinkat(failed, name_of(name, "", id, ".state"), 0);
	unlinkat(failed, name_of(name, "", id, ".reason"), 0);
	return 0;
}

static int requeue_open(const struct spool *spool, int fd, const char *id, struct err *err)
{
	struct envelope envelope;
	struct err why = {""};
	struct stat st;
	uint64_t offset;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(err, "%s/failed/%s: locking it", spool->path, id);
	if (fstatat(spool->dirs[DIR_QUEUE], id, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return err_set(err, "%s: it is in queue/ already", id);
	}
	int result = message_read(fd, id, &envelope, &offset, &why);
	if (result != 0) {
		if (result > 0)
			errno = EBADMSG;
		return err_set(err, "%s/failed/%s can't be sent: %.400s", spool->path, id, why.text);
	}
	result = write_state(spool, &envelope, err);
	if (result == 0)
		result = move_back(spool, id, err);
	int saved_errno = errno;
	envelope_free(&envelope);
	errno = saved_errno;
	return result;
}

int spool_requeue(struct spool *spool, const char *id, struct err *err)
{
	if (!spool_id_valid(id)) {
		errno = ENOENT;
		return err_set(err, "not a message id");
	}
	int fd =
	    openat(spool->dirs[DIR_FAILED], id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return err_set(err,
		    "%s is neither in the queue nor in failed/: it was delivered (see the log) or never was "
		    "here",
		    id);
	if (fd < 0)
		return err_sys(err, "%s/failed/%s", spool->path, id);
	int result = requeue_open(spool, fd, id, err);
	int saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return result;
}
