/* Test only, by LD_PRELOAD: records in RECORD_LOG each call by which the daemon changes what is below RECORD_SPOOL, with its
 * data, and each sync; and the listener's final 250s in the same order. test_power_loss.py makes of it what the
 * disk may hold when the power fails between any two of them.
 *
 * A record is one write at the end of the log, by whichever process: the kernel keeps their order. So that the order never
 * flatters the daemon, a change is recorded when it has been made, a sync when it begins (it covers what was recorded
 * before) and when it has succeeded (from then on it counts), and a 250 before it leaves.
 *
 * With RECORD_NAMED set there are no files without a name, as on a file system without O_TMPFILE. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOG_FD	  200 /* at least: out of the daemon's way */
#define PATH_SIZE 96

enum kind {
	CREATE,
	WRITE,
	TRUNCATE,
	SYNC_BEGIN,
	SYNC_END,
	LINK,
	RENAME,
	UNLINK,
	MKDIR,
	ACKNOWLEDGED,
	SYNC_WHOLE_BEGIN,
	SYNC_WHOLE_END
};

struct record {
	uint32_t kind, thread;
	uint64_t inode;
	uint64_t offset; /* TRUNCATE: the size */
	uint64_t bytes;	 /* of data, which follows */
	char path[PATH_SIZE], to[PATH_SIZE];
};

static const char acknowledged[] = "250 2.0.0 Ok: queued as ";
static const char *spool;
static int log_fd = -1;

int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

__attribute__((constructor)) static void set_up(void)
{
	const char *path = getenv("RECORD_LOG");

	spool = getenv("RECORD_SPOOL");
	if (path == NULL || spool == NULL)
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	log_fd = fcntl(fd, F_DUPFD_CLOEXEC, LOG_FD);
	close(fd);
	if (log_fd < 0)
		abort();
}

/* The path below the spool of dir/name, or of dir itself where name is "", into out; false when it is elsewhere. */
static int below_spool(int dir, const char *name, char *out)
{
	char link[40], path[512] = "", full[1024];
	size_t n = log_fd < 0 ? 0 : strlen(spool);

	if (log_fd < 0)
		return 0;
	if (name[0] != '/' && dir != AT_FDCWD) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
		ssize_t got = readlink(link, path, sizeof path - 1);
		path[got > 0 ? got : 0] = '\0';
	}
	if (name[0] == '/' || name[0] == '\0')
		snprintf(full, sizeof full, "%s", name[0] == '/' ? name : path);
	else
		snprintf(full, sizeof full, "%s/%s", path, name);
	if (strncmp(full, spool, n) != 0 || (full[n] != '\0' && full[n] != '/'))
		return 0;
	snprintf(out, PATH_SIZE, "%.90s", full[n] == '/' ? full + n + 1 : full + n);
	return 1;
}

static void record(struct record *r, enum kind kind, const void *data, size_t n)
{
	struct iovec parts[2] = {{r, sizeof *r}, {(void *)(uintptr_t)data, n}};

	r->kind = kind;
	r->thread = (uint32_t)syscall(SYS_gettid);
	r->bytes = n;
	if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof *r + n))
		abort();
}

static void record_file(int fd, enum kind kind, uint64_t offset, const void *data, size_t n)
{
	struct record r = {.offset = offset};
	struct stat st;
	int saved_errno = errno;

	if (below_spool(fd, "", r.path) && fstat(fd, &st) == 0 &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		r.inode = st.st_ino;
		record(&r, kind, data, n);
	}
	errno = saved_errno;
}

static void record_name(enum kind kind, int dir, const char *name)
{
	struct record r = {.kind = kind};
	int saved_errno = errno;

	if (below_spool(dir, name, r.path))
		record(&r, kind, NULL, 0);
	errno = saved_errno;
}

/* --- 250 --- */

static void look_for_reply(const void *bytes, size_t n)
{
	const char *p = log_fd < 0 ? NULL : memmem(bytes, n, acknowledged, sizeof acknowledged - 1);
	struct record r = {.kind = ACKNOWLEDGED};

	if (p == NULL)
		return;
	p += sizeof acknowledged - 1;
	const char *end = memchr(p, '\r', n - (size_t)(p - (const char *)bytes));
	if (end == NULL)
		abort();
	record(&r, ACKNOWLEDGED, p, (size_t)(end - p));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	for (int i = 0; i < count; i++)
		look_for_reply(parts[i].iov_base, parts[i].iov_len);
	return syscall(SYS_writev, fd, parts, count);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
	look_for_reply(bytes, n);
	return syscall(SYS_sendto, fd, bytes, n, flags, NULL, 0);
}

/* --- data --- */

ssize_t write(int fd, const void *bytes, size_t n)
{
	ssize_t written = syscall(SYS_write, fd, bytes, n);

	if (written > 0)
		record_file(fd, WRITE, (uint64_t)(lseek(fd, 0, SEEK_CUR) - written), bytes, (size_t)written);
	return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
	ssize_t written = syscall(SYS_pwrite64, fd, bytes, n, (off64_t)offset);

	if (written > 0)
		record_file(fd, WRITE, (uint64_t)offset, bytes, (size_t)written);
	return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
	return pwrite(fd, bytes, n, offset);
}

int ftruncate(int fd, off_t size)
{
	int result = (int)syscall(SYS_ftruncate, fd, size);

	if (result == 0)
		record_file(fd, TRUNCATE, (uint64_t)size, NULL, 0);
	return result;
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, (off_t)size);
}

static int sync_call(int fd, long number)
{
	record_file(fd, SYNC_BEGIN, 0, NULL, 0);
	int result = (int)syscall(number, fd);
	if (result == 0)
		record_file(fd, SYNC_END, 0, NULL, 0);
	return result;
}

int fsync(int fd)
{
	return sync_call(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_call(fd, SYS_fdatasync);
}

int syncfs(int fd)
{
	record_file(fd, SYNC_WHOLE_BEGIN, 0, NULL, 0);
	int result = (int)syscall(SYS_syncfs, fd);
	if (result == 0)
		record_file(fd, SYNC_WHOLE_END, 0, NULL, 0);
	return result;
}

/* --- names --- */

int mkdirat(int dir, const char *name, mode_t mode)
{
	int result = (int)syscall(SYS_mkdirat, dir, name, mode);

	if (result == 0)
		record_name(MKDIR, dir, name);
	return result;
}

int linkat(int old_dir, const char *old_name, int new_dir, const char *new_name, int flags)
{
	struct record r = {.kind = LINK};
	struct stat st;
	int result = (int)syscall(SYS_linkat, old_dir, old_name, new_dir, new_name, flags);
	int saved_errno = errno;

	if (result == 0 && below_spool(new_dir, new_name, r.path) &&
	    fstatat(new_dir, new_name, &st, 0) == 0) {
		r.inode = st.st_ino;
		record(&r, LINK, NULL, 0);
	}
	errno = saved_errno;
	return result;
}

int renameat2(int old_dir, const char *old_name, int new_dir, const char *new_name, unsigned flags)
{
	struct record r = {.kind = RENAME};
	int result = (int)syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, flags);
	int saved_errno = errno;

	if (result == 0 && below_spool(old_dir, old_name, r.path) && below_spool(new_dir, new_name, r.to))
		record(&r, RENAME, NULL, 0);
	errno = saved_errno;
	return result;
}

int renameat(int old_dir, const char *old_name, int new_dir, const char *new_name)
{
	return renameat2(old_dir, old_name, new_dir, new_name, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
	int result = (int)syscall(SYS_unlinkat, dir, name, flags);

	if (result == 0)
		record_name(UNLINK, dir, name);
	return result;
}

static int open_call(int dir, const char *name, int flags, unsigned mode)
{
	struct record r = {.kind = CREATE};
	struct stat st;
	int is_unnamed = (flags & O_TMPFILE) == O_TMPFILE;

	if (is_unnamed && getenv("RECORD_NAMED") != NULL) {
		errno = EOPNOTSUPP;
		return -1;
	}
	int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
	if (fd < 0 || (!is_unnamed && (flags & O_CREAT) == 0))
		return fd;
	int saved_errno = errno;
	if (below_spool(dir, is_unnamed ? "" : name, r.path) && fstat(fd, &st) == 0) {
		r.inode = st.st_ino;
		if (is_unnamed)
			r.path[0] = '\0';
		record(&r, CREATE, NULL, 0);
	}
	errno = saved_errno;
	return fd;
}

int openat(int dir, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list list;

	va_start(list, flags);
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(list, unsigned);
	va_end(list);
	return open_call(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list list;

	va_start(list, flags);
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(list, unsigned);
	va_end(list);
	return open_call(dir, path, flags, mode);
}

/* What a fortified openat without a mode becomes. */
int __openat_2(int dir, const char *path, int flags)
{
	return open_call(dir, path, flags, 0);
}

int __openat64_2(int dir, const char *path, int flags)
{
	return open_call(dir, path, flags, 0);
}
