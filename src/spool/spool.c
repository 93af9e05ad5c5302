/* The spool: opening and closing it, and what its parts share. The parts: startup.c (lock, folders, repair),
 * id.c, space.c (the floor), intake.c (drafts), take.c (taking), message.c (saving, ending), message_read.c (what the
 * files say), requeue.c, look.c (from outside), quota_file.c, kept_file.c (var/), syncer.c (group commit),
 * whole_sync.c, envelope.c, state.c and quota.c (the texts).
 *
 * Promise: what spool_commit has reported as done is on stable storage, data and name, and stays there until
 * it is retired or moved to failed/. Its owner is whoever holds flock(LOCK_EX) on its file: the draft, from
 * before it has its name until the batch's sync has answered, then whoever takes it.
 *
 * The files of a message: qt is queue/tmp.<id>, Q queue/<id>, st state/tmp.<id>, S state/<id>, F failed/<id>,
 * FS failed/<id>.state, FR failed/<id>.reason. Where a file can be written without a name (ext4 with a
 * journal, xfs, tmpfs) there is never a qt: what has got no name is removed by the kernel. Every combination
 * that can exist, what leads to it, and what start-up does when a crash has left it:
 *
 *    files        means                                            made by         start-up
 *  0 none         not accepted; or retired                         begin, retire   nothing
 *  1 qt           being taken in                                   append, commit  removes qt
 *  2 qt Q (S)     a report made once more after a crash:           commit          removes qt
 *                 that of before stands
 *  3 Q            waiting, no failure yet. Acknowledged, unless    commit          nothing: it is sent
 *                 the crash came before the folder's sync: then
 *                 the device sends it again
 *  4 Q S          waiting; S says what each recipient got. All of  save, retire    nothing: it is sent,
 *                 them: delivered, and Q could not be removed                      or removed by the sender
 *  5 Q st (S)     a save under way; the old S holds                save            removes st
 *  6 S            delivered, S not removed yet                     retire          removes S
 *  7 F S          given up, S not moved yet                        fail, requeue   moves S to FS
 *  8 F FS         given up                                         fail            nothing
 *  9 F st (...)   on the way back; FS, FR, both or neither         requeue         removes st
 * 10 F FS S (FR)  the same; S is the newer one                     requeue         moves S over FS
 * 11 Q S FS (FR)  back, FS not removed yet                         requeue         removes FS and FR
 * 12 Q FR (S)     found damaged, not moved yet                     take, requeue   removes FR; found again
 * 13 F FR S       damaged, S not moved yet                         take, requeue   moves S to FS
 * 14 F FR (FS)    damaged: looked at, never sent; or put aside     take, set_aside nothing
 * 15 F            damaged, and the disk too full to say why; or    take, a hand    nothing
 *                 FS removed, to send it to all again
 * 16 FS FR        F was removed                                    a hand          removes them
 * 17 Q F (...)    a copy was put back: Q is sent, and replaces F   a hand          nothing
 *                 when it is given up
 *
 * Each step from row to row is one link, rename or unlink. A rename from folder to folder is one change to the
 * file system (ext4, xfs and btrfs keep it so): when a sync for another message takes one of the folders to disk
 * in between, the old name has not gone unless the new one has come. A sync stands between two steps that must
 * not be seen the other way round after a power cut: S before F (fail), S before Q (requeue), Q before FS goes
 * (requeue). After a retire, Q may come back with or without S and is sent again: the window of promise 4. (Where Q
 * cannot be removed, S is written for it to be removed later; if S cannot be written either, Q is sent again.) A
 * worker that dies alone leaves the same rows; its temporary files go at the daemon's next start, or when the
 * same message is saved again. All other names are left alone. */
#include "spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/timer.h"
#include "spool/spool_private.h"
#include "spool/whole_sync.h"

#define TIDY_MS 200

const char *const spool_dir_names[DIR_COUNT] = {"failed", "queue", "state", "var"};

const char *name_of(char *out, const char *prefix, const char *id, const char *suffix)
{
	struct text text = text_in(out, NAME_MAX_BYTES);

	text_join(&text, prefix, id, suffix, NULL);
	return out;
}

const char *spool_job_error(
    const struct sync_job *job, enum spool_dir dir, const char *id, char *text, size_t size)
{
	if (job->error == 0)
		return NULL;
	snprintf(
	    text, size, "%s/%s: %s: %s", spool_dir_names[dir], id, job->failed_step, strerror(job->error));
	return text;
}

/* --- folder syncs that nobody waits for --- */

static void start_tidy(struct spool *spool)
{
	spool->tidy_running = true;
	spool->tidy_started_ms = clock_mono_ms();
	spool->tidy.folders = spool->tidy_folders;
	spool->tidy_folders = 0;
	syncer_submit(spool->syncer, &spool->tidy);
}

static void schedule_tidy(struct spool *spool)
{
	int64_t wait_ms = spool->tidy_started_ms + TIDY_MS - clock_mono_ms();

	if (spool->tidy_folders == 0 || spool->tidy_running)
		return;
	if (spool->closing)
		start_tidy(spool);
	else if (!evtimer_pending(spool->tidy_timer, NULL))
		timer_set(spool->tidy_timer, wait_ms);
}

static void on_tidy_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct spool *spool = cookie;

	(void)fd;
	(void)what;
	if (!spool->tidy_running && spool->tidy_folders != 0)
		start_tidy(spool);
}

/* A failure has been logged by the syncer, and what was removed may come back after a power cut: sent twice,
 * not lost. */
static void on_tidy_done(struct work_job *work)
{
	struct spool *spool = (struct spool *)((char *)work - offsetof(struct spool, tidy));

	spool->tidy_running = false;
	schedule_tidy(spool);
}

void spool_tidy(struct spool *spool, unsigned folders)
{
	spool->tidy_folders |= folders;
	schedule_tidy(spool);
}

static void on_stuck_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	spool_retry_stuck(cookie);
}

/* --- opening --- */

static const char *cause_not_open(void)
{
	return errno == ENOENT			   ? "it is made when the daemon starts"
	       : errno == EACCES || errno == EPERM ? "only root and the daemon's user may look into it"
						   : "look at its disk";
}

static int open_folders(struct spool *spool, struct err *err)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

	spool->root = open(spool->path, flags);
	if (spool->root < 0)
		return err_set(err, "%s: the spool cannot be opened: %s (%s)", spool->path, strerror(errno),
		    cause_not_open());
	for (int dir = 0; dir < DIR_COUNT; dir++) {
		spool->dirs[dir] = openat(spool->root, spool_dir_names[dir], flags | O_NOFOLLOW);
		if (spool->dirs[dir] < 0)
			return err_set(err, "%s/%s: the folder cannot be opened: %s (%s)", spool->path,
			    spool_dir_names[dir], strerror(errno), cause_not_open());
	}
	return 0;
}

static int read_tag(struct spool *spool, struct err *err)
{
	if (id_read_tag(spool->dirs[DIR_VAR], spool->ids.tag) == 0)
		return 0;
	if (errno == EBADMSG)
		return err_set(
		    err, "%s/var/spool-id: not four hexadecimal digits; start the daemon again", spool->path);
	return err_sys(err, "%s/var/spool-id", spool->path);
}

static int prepare(struct spool *spool, struct err *err)
{
	/* Where the syncer's jobs have their files. */
	const int folders[] = {spool->dirs[DIR_QUEUE], spool->dirs[DIR_STATE], spool->root};

	if (read_tag(spool, err) < 0)
		return -1;
	spool->whole_sync = whole_sync_new(folders, sizeof folders / sizeof folders[0]);
	spool->can_link_unnamed = fs_can_link_unnamed(spool->dirs[DIR_QUEUE]);
	spool->tidy.work.done = on_tidy_done;
	spool->tidy.fd = -1;
	spool->tidy_started_ms = -TIDY_MS;
	spool->tidy_timer = evtimer_new(spool->base, on_tidy_timer, spool);
	spool->stuck_timer = evtimer_new(spool->base, on_stuck_timer, spool);
	if (spool->tidy_timer == NULL || spool->stuck_timer == NULL)
		return err_set(err, "%s: no timer from the event loop", spool->path);
	return 0;
}

struct spool *spool_open(const char *path, struct event_base *base, uint64_t free_space, struct err *err)
{
	struct spool *spool = xcalloc(1, sizeof *spool);

	spool->path = xstrdup(path);
	spool->base = base;
	spool->free_space = free_space;
	STAILQ_INIT(&spool->stuck);
	spool->root = -1;
	for (int dir = 0; dir < DIR_COUNT; dir++)
		spool->dirs[dir] = -1;
	if (open_folders(spool, err) == 0 && (base == NULL || prepare(spool, err) == 0))
		return spool;
	int saved_errno = errno;
	spool_close(spool);
	errno = saved_errno;
	return NULL;
}

int spool_var_fd(const struct spool *spool)
{
	return spool->dirs[DIR_VAR];
}

int spool_intake_fd(const struct spool *spool)
{
	return spool->dirs[DIR_QUEUE];
}

void spool_start(struct spool *spool)
{
	spool->syncer = syncer_new(spool->base, spool->dirs, DIR_VAR, spool->whole_sync);
}

void spool_flush(struct spool *spool)
{
	if (spool->syncer == NULL || spool->closing)
		return;
	spool->closing = true;
	schedule_tidy(spool);
	syncer_finish(spool->syncer);
}

void spool_close(struct spool *spool)
{
	if (spool == NULL)
		return;
	spool_flush(spool);
	spool_retry_stuck(spool);
	spool_drop_stuck(spool);
	syncer_free(spool->syncer);
	whole_sync_free(spool->whole_sync);
	if (spool->tidy_timer != NULL)
		event_free(spool->tidy_timer);
	if (spool->stuck_timer != NULL)
		event_free(spool->stuck_timer);
	for (int dir = 0; dir < DIR_COUNT; dir++)
		if (spool->dirs[dir] >= 0)
			close(spool->dirs[dir]);
	if (spool->root >= 0)
		close(spool->root);
	free(spool->path);
	free(spool);
}
