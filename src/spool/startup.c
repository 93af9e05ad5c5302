/* What the supervisor does before any worker runs: the lock, the folders, and what a crash has left (the
 * table on top of spool.c). */
#include "spool/spool_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"

#define LOCK_POLL_MS 50
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* --- the folder and its lock --- */

/* What an admin can do about errno. */
static const char *remedy(void)
{
	switch (errno) {
	case ENOENT:
		return "; make the folder it is to be in first";
	case EROFS:
		return "; under systemd, name it in ReadWritePaths= (systemctl edit mfdrelay), else mount "
		       "its disk "
		       "for writing";
	case EACCES:
	case EPERM:
		return "; the spool must belong to the user that the daemon is started as: chown it, or make "
		       "it with "
		       "install -d -m 0700 -o USER";
	case ENOSPC:
		return "; make room on its disk";
	default:
		return "";
	}
}

static bool is_ours(const char *name)
{
	static const char *const names[] = {".", "..", "lock", "control", "quota", "lost+found"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool is_empty(int root)
{
	const struct dirent *entry;
	bool empty = true;
	int fd = openat(root, ".", FOLDER_FLAGS);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (empty && (entry = readdir(dir)) != NULL)
		empty = is_ours(entry->d_name);
	closedir(dir);
	return empty;
}

/* Whether it is a spool, or could become one: it holds queue/, or nothing that somebody put there. A wrong
 * path in the config must not change the mode or the owner of /tmp. */
static bool is_spool(int root)
{
	struct stat st;

	return is_empty(root) ||
	       (fstatat(root, "queue", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

static int close_to_others(int root, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(root, &st) < 0)
		return err_sys(err, "%s", path);
	if ((st.st_mode & 077) == 0)
		return 0;
	if (!is_spool(root))
		return err_set(err,
		    "%s: others may enter this folder and it holds other files; give the spool a folder of "
		    "its own",
		    path);
	if (fchmod(root, 0700) < 0)
		return err_set(err, "%s: others may enter this folder, and it cannot be closed to them: %s%s",
		    path, strerror(errno), remedy());
	log_event(LOG_LEVEL_WARNING, "spool-mode-changed", kv_str("path", path),
	    kv_str("why", "others could enter it; it is 0700 now"));
	return 0;
}

/* Else the whole spool would be gone after a power cut. */
static int sync_parent(int root)
{
	int parent = openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0)
		return -1;
	int result = fs_sync(parent);
	close(parent);
	return result;
}

static int open_root(const char *path, struct err *err)
{
	bool is_new = mkdir(path, 0700) == 0;

	if (!is_new && errno != EEXIST)
		return err_set(
		    err, "%s: the spool folder cannot be made: %s%s", path, strerror(errno), remedy());
	/* A link to another disk is the admin's right. */
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(
		    err, "%s: the spool folder cannot be opened: %s%s", path, strerror(errno), remedy());
	if (is_new && sync_parent(root) < 0)
		err_sys(err, "%s: syncing its name to disk", path);
	else if (close_to_others(root, path, err) == 0)
		return root;
	close(root);
	return -1;
}

/* Who wrote his number into the lock file last; 0: it does not say. */
static long holder_of(int root)
{
	size_t n;
	char *text = fs_read_file(root, "lock", 32, &n);
	long pid = text != NULL ? strtol(text, NULL, 10) : 0;

	free(text);
	return pid > 0 ? pid : 0;
}

static int refuse(int root, const char *path, struct err *err)
{
	long pid = holder_of(root);
	char process[40] = "";

	if (pid > 0)
		snprintf(process, sizeof process, " (process %ld)", pid);
	err_set(err,
	    "%s: another mfdrelay uses this spool%s; stop it first, or give this one a spool of its own",
	    path, process);
	errno = EWOULDBLOCK;
	return -1;
}

static int wait_for_lock(int root, int fd, const char *path, unsigned wait_ms, struct err *err)
{
	int64_t deadline = clock_mono_ms() + wait_ms;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, "%s/lock", path);
		if (clock_mono_ms() >= deadline)
			return refuse(root, path, err);
		clock_rest_us(LOCK_POLL_MS * 1000);
	}
	return 0;
}

static int take_lock(int root, const char *path, unsigned wait_ms, struct err *err)
{
	char pid[16];
	int fd = openat(root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	struct stat st;

	if (fd < 0)
		return err_set(err, "%s/lock: it cannot be opened: %s%s", path, strerror(errno), remedy());
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		close(fd);
		return err_set(err, "%s/lock: not a plain file with one name; remove it", path);
	}
	int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
	if (wait_for_lock(root, fd, path, wait_ms, err) == 0) {
		/* For people; a full disk does not matter. */
		if (ftruncate(fd, 0) < 0 || fs_pwrite_all(fd, pid, (size_t)n, 0) < 0)
			log_event(LOG_LEVEL_WARNING, "spool-lock-unnamed", kv_errno());
		return fd;
	}
	close(fd);
	return -1;
}

int spool_lock(const char *path, unsigned wait_ms, struct err *err)
{
	int root = open_root(path, err);

	if (root < 0)
		return -1;
	int fd = take_lock(root, path, wait_ms, err);
	int saved_errno = errno;
	close(root);
	errno = saved_errno;
	return fd;
}

bool spool_is_locked(const char *path)
{
	char *file = xasprintf("%s/lock", path);
	int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	free(file);
	if (fd >= 0)
		close(fd);
	return locked;
}

/* The file is the workers': what it says is not believed of any other process. */
static bool is_mfdrelay(long pid)
{
	static const char ours[] = "mfdrelay\n";
	char path[40], name[32];

	snprintf(path, sizeof path, "/proc/%ld/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, name, sizeof name) : -1;
	if (fd >= 0)
		close(fd);
	return n == sizeof ours - 1 && memcmp(name, ours, sizeof ours - 1) == 0;
}

pid_t spool_locked_by(const char *path)
{
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long pid = root >= 0 ? holder_of(root) : 0;

	if (root >= 0)
		close(root);
	return pid > 0 && is_mfdrelay(pid) ? (pid_t)pid : 0;
}

bool spool_is_at(const char *path, int lock_fd)
{
	struct stat ours, there;
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return false;
	bool same = fstat(lock_fd, &ours) == 0 && fstatat(root, "lock", &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
	close(root);
	return same;
}

/* --- owners --- */

struct owner {
	int dir;
	uid_t uid;
	gid_t gid;
	bool failed;
};

/* A file with a second name may be somebody's outside the spool. */
static bool own_file(void *arg, const char *name)
{
	struct owner *owner = arg;
	struct stat st;
	int fd = openat(owner->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return true;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid != owner->uid &&
	    fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH) < 0)
		owner->failed = true;
	close(fd);
	return true;
}

static bool owner_set(const struct owner *owner)
{
	return owner->uid != (uid_t)-1 && geteuid() == 0;
}

/* The folder last: it is the mark that its files are done. They change when `user` of the config does. */
static int own_folder(struct owner *owner)
{
	struct stat st;

	if (!owner_set(owner))
		return 0;
	if (fstat(owner->dir, &st) < 0)
		return -1;
	if (st.st_uid == owner->uid && st.st_gid == owner->gid)
		return 0;
	if (fs_each_name(owner->dir, own_file, owner) < 0 || owner->failed)
		return -1;
	return fchown(owner->dir, owner->uid, owner->gid);
}

/* Files that root makes anew in folders that are done. */
static int own_one(struct owner *owner, const char *name)
{
	if (owner_set(owner))
		own_file(owner, name);
	return owner->failed ? -1 : 0;
}

static int own_all(int root, const char *path, const int *dirs, uid_t uid, gid_t gid, struct err *err)
{
	struct owner owner = {root, uid, gid, false};

	if (own_one(&owner, "lock") < 0)
		return err_sys(err, "%s/lock: giving it to the workers' user", path);
	for (int dir = 0; dir < DIR_COUNT; dir++) {
		owner.dir = dirs[dir];
		if (own_folder(&owner) < 0 || (dir == DIR_VAR && own_one(&owner, "spool-id") < 0))
			return err_sys(
			    err, "%s/%s: giving it to the workers' user", path, spool_dir_names[dir]);
	}
	owner.dir = root;
	if (own_folder(&owner) < 0)
		return err_sys(err, "%s: giving it to the workers' user", path);
	return 0;
}

/* Whether the folder would get another owner. */
static bool is_disowned(int root, uid_t uid)
{
	struct stat st;

	return uid != (uid_t)-1 && geteuid() == 0 && fstat(root, &st) == 0 && st.st_uid != uid;
}

/* --- what a crash has left --- */

struct repair {
	const int *dirs;
	enum spool_dir dir; /* whose names are gone through */
	unsigned changed;   /* bits of folders */
	unsigned removed, moved;
};

static bool has(const struct repair *repair, enum spool_dir dir, const char *id)
{
	struct stat st;

	return fstatat(repair->dirs[dir], id, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static void remove_name(struct repair *repair, const char *name)
{
	if (unlinkat(repair->dirs[repair->dir], name, 0) < 0)
		return;
	repair->removed++;
	repair->changed |= DIR_BIT(repair->dir);
}

static void repair_state(struct repair *repair, const char *id)
{
	char name[NAME_MAX_BYTES];

	if (has(repair, DIR_QUEUE, id))
		return;
	if (!has(repair, DIR_FAILED, id)) {
		remove_name(repair, id);
		return;
	}
	if (fs_rename(
		repair->dirs[DIR_STATE], id, repair->dirs[DIR_FAILED], name_of(name, "", id, ".state")) < 0)
		return;
	repair->moved++;
	repair->changed |= DIR_BIT(DIR_STATE) | DIR_BIT(DIR_FAILED);
}

/* name is an id with that suffix; the id goes to id. */
static bool split(const char *name, const char *suffix, char id[SPOOL_ID_MAX + 1])
{
	size_t n = strlen(name), tail = strlen(suffix);

	return n > tail && strcmp(name + n - tail, suffix) == 0 &&
	       str_copy(id, SPOOL_ID_MAX + 1, (struct str){name, n - tail}) && spool_id_valid(id);
}

/* A file that was being written, or what says why of a message that somebody removed. */
static bool is_left_over(const struct repair *repair, const char *name)
{
	char id[SPOOL_ID_MAX + 1];

	if (strncmp(name, "tmp.", 4) == 0 && spool_id_valid(name + 4))
		return true;
	return repair->dir == DIR_FAILED && (split(name, ".state", id) || split(name, ".reason", id)) &&
	       !has(repair, DIR_FAILED, id);
}

static bool repair_name(void *arg, const char *name)
{
	struct repair *repair = arg;

	if (is_left_over(repair, name))
		remove_name(repair, name);
	else if (repair->dir == DIR_STATE && spool_id_valid(name))
		repair_state(repair, name);
	return true;
}

static int repair_all(const int *dirs, const char *path, struct err *err)
{
	static const enum spool_dir order[] = {DIR_STATE, DIR_FAILED, DIR_QUEUE};
	struct repair repair = {.dirs = dirs};

	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		repair.dir = order[i];
		if (fs_each_name(dirs[repair.dir], repair_name, &repair) < 0)
			return err_sys(err, "%s/%s: reading the folder", path, spool_dir_names[repair.dir]);
	}
	for (int dir = 0; dir < DIR_COUNT; dir++)
		if ((repair.changed & DIR_BIT(dir)) != 0 && fs_sync(dirs[dir]) < 0)
			return err_sys(err, "%s/%s: syncing the folder to disk", path, spool_dir_names[dir]);
	if (repair.changed != 0)
		log_event(LOG_LEVEL_NOTICE, "spool-repaired", kv_u64("removed", repair.removed),
		    kv_u64("moved", repair.moved));
	return 0;
}

/* --- folders --- */

static int make_tag(int var, const char *path, struct err *err)
{
	unsigned char noise[2];
	char text[8];

	if (id_read_tag(var, text) == 0)
		return 0;
	if (getrandom(noise, sizeof noise, 0) != (ssize_t)sizeof noise)
		return err_sys(err, "asking for random bytes");
	snprintf(text, sizeof text, "%02x%02x\n", noise[0], noise[1]);
	if (fs_replace_file(var, "tmp.spool-id", "spool-id", text, 5) < 0)
		return err_sys(err, "%s/var/spool-id: writing it", path);
	return 0;
}

static bool lacks_locks(void)
{
	return errno == EBADF || errno == ENOLCK || errno == EOPNOTSUPP;
}

/* A message is opened for reading and locked by whoever takes it. NFS makes a lock for writing of that, which needs a
 * descriptor for writing (flock(2)): all that is accepted there would lie for ever. */
static int try_lock(int var, const char *path, struct err *err)
{
	int fd = openat(var, "spool-id", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return err_sys(err, "%s/var/spool-id", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno != EWOULDBLOCK)
		result = lacks_locks()
			     ? err_set(err,
				   "%s: its file system has not the locks that messages need (NFS has "
				   "not): put the spool on a local disk",
				   path)
			     : err_sys(err, "%s/var/spool-id: locking it", path);
	close(fd);
	return result;
}

static int open_folder(int root, const char *path, const char *name, struct err *err)
{
	struct stat st;

	if (mkdirat(root, name, 0700) < 0 && errno != EEXIST)
		return err_set(
		    err, "%s/%s: the folder cannot be made: %s%s", path, name, strerror(errno), remedy());
	int fd = openat(root, name, FOLDER_FLAGS);
	if (fd < 0)
		return err_sys(err, "%s/%s: opening the folder", path, name);
	if (fstat(fd, &st) == 0 && ((st.st_mode & 077) == 0 || fchmod(fd, 0700) == 0))
		return fd;
	close(fd);
	return err_sys(err, "%s/%s: closing the folder to others", path, name);
}

static int prepare_root(int root, const char *path, int *dirs, uid_t uid, gid_t gid, struct err *err)
{
	if (is_disowned(root, uid) && !is_spool(root))
		return err_set(
		    err, "%s: this folder holds other files; give the spool a folder of its own", path);
	for (int dir = 0; dir < DIR_COUNT; dir++) {
		dirs[dir] = open_folder(root, path, spool_dir_names[dir], err);
		if (dirs[dir] < 0)
			return -1;
	}
	if (make_tag(dirs[DIR_VAR], path, err) < 0 || try_lock(dirs[DIR_VAR], path, err) < 0 ||
	    own_all(root, path, dirs, uid, gid, err) < 0 || repair_all(dirs, path, err) < 0)
		return -1;
	/* The new folders' names. */
	return fs_sync(root) < 0 ? err_sys(err, "%s: syncing the folder to disk", path) : 0;
}

int spool_prepare(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	int dirs[DIR_COUNT] = {-1, -1, -1, -1};
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_sys(err, "%s: opening the spool folder", path);
	int result = prepare_root(root, path, dirs, uid, gid, err);
	for (int dir = 0; dir < DIR_COUNT; dir++)
		if (dirs[dir] >= 0)
			close(dirs[dir]);
	close(root);
	return result;
}
