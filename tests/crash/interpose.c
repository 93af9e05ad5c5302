/* Test only, by LD_PRELOAD: counts the calls by which one process changes the spool, or those for memory, and at
 * the Nth kills the process or fails the call, and if so told each later one. It writes nothing but its control
 * file, CRASH_CONTROL: a struct control, mapped and shared by all that the daemon forks, so that a count goes on
 * over a restart and each strike comes once. The test arms it while the daemon runs (interposed.py holds the same
 * layout). Of calls on files only those below CRASH_SPOOL count, and all only in the process whose first thread
 * has the name control->comm; its threads share the count. With CRASH_NAMED in its environment it finds no file
 * system that has O_TMPFILE, with CRASH_REPLACING none that renames without replacing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NAMES	  128
#define NAME_SIZE 96

enum call {
	WRITE,
	PWRITE,
	FSYNC,
	LINKAT,
	RENAMEAT,
	RENAMEAT2,
	UNLINKAT,
	OPENAT,
	READ,
	PREAD,
	SYNCFS,
	FLOCK,
	MALLOC,
	CLOSE,
	CALLS
};
enum action {
	COUNT,
	KILL,
	KILL_AFTER,
	FAIL_EIO,
	FAIL_ENOSPC,
	OFF,
	FAIL_EDQUOT,
	FAIL_EROFS,
	FAULT,
	FAIL_EBADF,
	FAIL_ENOMEM
};

struct control {
	char comm[16];
	uint32_t calls;		 /* bits of enum call: which are counted */
	_Atomic uint32_t action; /* written last by the test */
	uint32_t at;		 /* from 1 */
	_Atomic uint32_t count;
	_Atomic uint32_t struck;
	uint32_t lasting;  /* at that call and at all later ones */
	int64_t struck_ns; /* CLOCK_REALTIME */
	char names[NAMES][NAME_SIZE];
};

static const char *const call_names[CALLS] = {"write", "pwrite", "fsync", "linkat", "renameat", "renameat2",
    "unlinkat", "openat", "read", "pread", "syncfs", "flock", "malloc", "close"};

static struct control *control;
static const char *spool;

int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
/* glibc's own, for those who put others in their place. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

__attribute__((constructor)) static void set_up(void)
{
	const char *path = getenv("CRASH_CONTROL");

	spool = getenv("CRASH_SPOOL");
	if (path == NULL || spool == NULL)
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	void *page =
	    fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		abort();
	syscall(SYS_close, fd);
	control = page;
}

/* The path of dir/name below the spool, into out; false when it is elsewhere. dir's own path when name is "".
 */
static int below_spool(int dir, const char *name, char *out, size_t size)
{
	char link[40], path[512] = "";
	size_t n = strlen(spool);

	if (name[0] != '/' && dir != AT_FDCWD) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
		ssize_t got = readlink(link, path, sizeof path - 1);
		path[got > 0 ? got : 0] = '\0';
	}
	if (strncmp(name[0] == '/' ? name : path, spool, n) != 0)
		return 0;
	const char *rest = (name[0] == '/' ? name : path) + n;
	if (rest[0] != '\0' && rest[0] != '/')
		return 0;
	if (name[0] == '/' || name[0] == '\0')
		snprintf(out, size, "%.60s", rest[0] == '/' ? rest + 1 : rest);
	else
		snprintf(out, size, "%.20s/%.50s", rest[0] == '/' ? rest + 1 : rest, name);
	return 1;
}

static int is_watched_process(void)
{
	char comm[20] = "";
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : syscall(SYS_read, fd, comm, sizeof comm - 1);

	if (fd >= 0)
		syscall(SYS_close, fd);
	if (n > 0 && comm[n - 1] == '\n')
		comm[n - 1] = '\0';
	return strncmp(comm, control->comm, sizeof control->comm) == 0;
}

static void note_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	control->struck_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	atomic_store(&control->struck, 1);
}

static void die(int number)
{
	syscall(SYS_kill, getpid(), number);
	for (;;)
		pause();
}

/* Whether calls of that kind are counted now. */
static int is_armed(enum call call)
{
	return control != NULL && atomic_load(&control->action) != OFF &&
	       (control->calls & (1u << call)) != 0;
}

/* Counts one. Returns what is to happen at it: COUNT for nothing. Does not return when it kills. */
static enum action count_one(enum call call, const char *what)
{
	enum action action = (enum action)atomic_load(&control->action);
	uint32_t n = atomic_fetch_add(&control->count, 1) + 1;

	if (n <= NAMES)
		snprintf(control->names[n - 1], NAME_SIZE, "%s %s", call_names[call], what);
	if (n < control->at || (n > control->at && !control->lasting) || action == COUNT)
		return COUNT;
	if (action != KILL_AFTER)
		note_time();
	if (action == KILL || action == FAULT)
		die(action == KILL ? SIGKILL : SIGABRT);
	return action;
}

/* What is to happen at this call on dir/name. */
static enum action strike(enum call call, int dir, const char *name)
{
	char path[NAME_SIZE - 12];
	int saved_errno = errno;
	enum action action = COUNT;

	if (is_armed(call) && below_spool(dir, name, path, sizeof path) && is_watched_process())
		action = count_one(call, path);
	errno = saved_errno;
	return action;
}

static int error_of(enum action action)
{
	switch (action) {
	case FAIL_EIO:
		return EIO;
	case FAIL_ENOSPC:
		return ENOSPC;
	case FAIL_EDQUOT:
		return EDQUOT;
	case FAIL_EROFS:
		return EROFS;
	case FAIL_EBADF:
		return EBADF;
	default:
		return 0;
	}
}

/* The call itself is a system call of ours: no look-up of the next library's. */
#define STRIKE_AROUND(call, dir, name, result)                                                               \
	do {                                                                                                 \
		enum action action_ = strike(call, dir, name);                                               \
		if (error_of(action_) != 0) {                                                                \
			errno = error_of(action_);                                                           \
			return -1;                                                                           \
		}                                                                                            \
		long result_ = (result);                                                                     \
		if (action_ == KILL_AFTER) {                                                                 \
			note_time();                                                                         \
			die(SIGKILL);                                                                        \
		}                                                                                            \
		return (int)result_;                                                                         \
	} while (0)

static int data_call(enum call call, int fd, long number, uintptr_t bytes, size_t n, off64_t offset)
{
	STRIKE_AROUND(call, fd, "", syscall(number, fd, bytes, n, offset));
}

ssize_t write(int fd, const void *bytes, size_t n)
{
	return data_call(WRITE, fd, SYS_write, (uintptr_t)bytes, n, 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
	return data_call(PWRITE, fd, SYS_pwrite64, (uintptr_t)bytes, n, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
	return data_call(PWRITE, fd, SYS_pwrite64, (uintptr_t)bytes, n, offset);
}

ssize_t read(int fd, void *bytes, size_t n)
{
	return data_call(READ, fd, SYS_read, (uintptr_t)bytes, n, 0);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t offset)
{
	return data_call(PREAD, fd, SYS_pread64, (uintptr_t)bytes, n, offset);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t offset)
{
	return data_call(PREAD, fd, SYS_pread64, (uintptr_t)bytes, n, offset);
}

int fsync(int fd)
{
	STRIKE_AROUND(FSYNC, fd, "", syscall(SYS_fsync, fd));
}

int syncfs(int fd)
{
	STRIKE_AROUND(SYNCFS, fd, "", syscall(SYS_syncfs, fd));
}

int flock(int fd, int how)
{
	STRIKE_AROUND(FLOCK, fd, "", syscall(SYS_flock, fd, how));
}

/* It is closed whatever is answered (close(2)). */
int close(int fd)
{
	enum action action = strike(CLOSE, fd, "");
	int result = (int)syscall(SYS_close, fd);

	if (error_of(action) == 0)
		return result;
	errno = error_of(action);
	return -1;
}

int linkat(int old_dir, const char *old_name, int new_dir, const char *new_name, int flags)
{
	STRIKE_AROUND(
	    LINKAT, new_dir, new_name, syscall(SYS_linkat, old_dir, old_name, new_dir, new_name, flags));
}

int renameat(int old_dir, const char *old_name, int new_dir, const char *new_name)
{
	STRIKE_AROUND(
	    RENAMEAT, new_dir, new_name, syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, 0));
}

int renameat2(int old_dir, const char *old_name, int new_dir, const char *new_name, unsigned flags)
{
	if (flags != 0 && getenv("CRASH_REPLACING") != NULL) {
		errno = EINVAL;
		return -1;
	}
	STRIKE_AROUND(RENAMEAT2, new_dir, new_name,
	    syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, flags));
}

int unlinkat(int dir, const char *name, int flags)
{
	STRIKE_AROUND(UNLINKAT, dir, name, syscall(SYS_unlinkat, dir, name, flags));
}

static int open_call(int dir, const char *path, int flags, unsigned mode)
{
	/* As on a file system without unnamed files. */
	if ((flags & O_TMPFILE) == O_TMPFILE && getenv("CRASH_NAMED") != NULL) {
		errno = EOPNOTSUPP;
		return -1;
	}
	STRIKE_AROUND(OPENAT, dir, path, syscall(SYS_openat, dir, path, flags, mode));
}

static int has_mode(int flags)
{
	return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

int openat(int dir, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list list;

	va_start(list, flags);
	if (has_mode(flags))
		mode = va_arg(list, unsigned);
	va_end(list);
	return open_call(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list list;

	va_start(list, flags);
	if (has_mode(flags))
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

static int is_refused(size_t size)
{
	char what[24];
	int saved_errno = errno, refused = 0;

	if (is_armed(MALLOC) && is_watched_process()) {
		snprintf(what, sizeof what, "%zu", size);
		refused = count_one(MALLOC, what) == FAIL_ENOMEM;
	}
	errno = refused ? ENOMEM : saved_errno;
	return refused;
}

void *malloc(size_t size)
{
	return is_refused(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_refused(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return size > 0 && is_refused(size) ? NULL : __libc_realloc(old, size);
}
