#include "supervisor/spool_watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "spool/spool.h"

int spool_watch_begin(struct spool_watch *watch, const char *path, unsigned wait_ms, struct err *err)
{
	int fd = spool_lock(path, wait_ms, err);

	if (fd < 0)
		return -1;
	if (spool_prepare(path, watch->uid, watch->gid, err) < 0) {
		close(fd);
		return -1;
	}
	spool_watch_end(watch);
	watch->lock_fd = fd;
	watch->remedy = NULL;
	return 0;
}

/* A folder on the file system of the old one: an empty mount point is none. */
static bool has_another(const struct spool_watch *watch, const char *path)
{
	struct stat ours, there;

	return fstat(watch->lock_fd, &ours) == 0 && stat(path, &there) == 0 && S_ISDIR(there.st_mode) &&
	       ours.st_dev == there.st_dev;
}

/* ReadWritePaths= of a unit binds the folder that was there at the start: one made later is, to this process and all that it
 * starts, a part of the read-only rest. */
static bool is_read_only(const char *path)
{
	struct statvfs there;

	return statvfs(path, &there) == 0 && (there.f_flag & ST_RDONLY) != 0;
}

/* While it is gone the listener refuses: what is written to a folder without a name is lost. */
static enum spool_watch_result say_gone(
    struct spool_watch *watch, const char *path, const char *why, const char *remedy)
{
	if (watch->remedy != remedy)
		log_event(LOG_LEVEL_ERR, "spool-gone", kv_str("path", path), kv_str("why", why),
		    kv_str("consequence", "new mail is refused"), kv_str("remedy", remedy));
	watch->remedy = remedy;
	return SPOOL_WATCH_SAME;
}

/* To the service manager's next daemon the new folder is bound. */
static enum spool_watch_result give_way(struct spool_watch *watch, const char *path)
{
	static const char why[] =
	    "a new folder stands in its place, which is read-only to this process: only the old one was "
	    "bound by ReadWritePaths= when it started";

	if (getenv("NOTIFY_SOCKET") == NULL)
		return say_gone(watch, path, why, "restart mfdrelay");
	log_event(LOG_LEVEL_ERR, "spool-gone", kv_str("path", path), kv_str("why", why),
	    kv_str(
		"consequence", "the daemon ends with status 1, for the service manager to start it again"));
	return SPOOL_WATCH_RESTART;
}

enum spool_watch_result spool_watch_look(struct spool_watch *watch, const char *path)
{
	struct err err = {"the folder was moved or removed"};

	if (spool_is_at(path, watch->lock_fd)) {
		if (watch->remedy != NULL)
			log_event(LOG_LEVEL_NOTICE, "spool-back", kv_str("path", path));
		watch->remedy = NULL;
		return SPOOL_WATCH_SAME;
	}
	bool another = has_another(watch, path);
	if (another && spool_watch_begin(watch, path, 0, &err) == 0) {
		log_event(LOG_LEVEL_WARNING, "spool-replaced", kv_str("path", path),
		    kv_str("consequence", "what was in the old folder is not sent, unless it is put back"));
		return SPOOL_WATCH_REPLACED;
	}
	if (another && is_read_only(path))
		return give_way(watch, path);
	return say_gone(watch, path, err.text, "put the folder back, or make a new one in its place");
}

void spool_watch_end(struct spool_watch *watch)
{
	if (watch->lock_fd >= 0)
		close(watch->lock_fd);
	watch->lock_fd = -1;
}
