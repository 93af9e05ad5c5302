#include "supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "base/log.h"

/* --- capabilities --- */

/* Root without `user` stays root, and keeps only what opens files: the spool may be another user's. The
 * bounding set needs no change: with no_new_privs nothing comes back by exec. */
static const char *drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return "ambient capabilities could not be cleared";
	if (geteuid() == 0)
		data[0].permitted = data[0].effective = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
	return syscall(SYS_capset, &header, data) == 0
		   ? NULL
		   : "capabilities could not be dropped; where the service has a filter of system calls, add "
		     "capset to its SystemCallFilter=";
}

/* --- Landlock --- */

/* The kernel's interface by version; the headers to build with may be older than the kernel to run on. */
#define FS_WRITES                                                                                            \
	((uint64_t)(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                         \
		    LANDLOCK_ACCESS_FS_MAKE_REG))
#define FS_OTHERS                                                                                            \
	((uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                             \
		    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                             \
		    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                            \
		    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM))
#define FS_READS      ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define FS_REFER      (1ULL << 13) /* 2: a rename from folder to folder, which version 1 always refuses */
#define FS_TRUNCATE   (1ULL << 14) /* 3 */
#define FS_IOCTL_DEV  (1ULL << 15) /* 5 */
#define NET_BIND_TCP  (1ULL << 0)  /* 4 */
#define NET_CONNECT   (1ULL << 1)  /* 4 */
#define SCOPE_SOCKETS (1ULL << 0)  /* 6: abstract unix sockets of processes outside */
#define SCOPE_SIGNALS (1ULL << 1)  /* 6: signals to processes outside */

struct ruleset {
	uint64_t fs, net, scoped;
};

static struct ruleset ruleset_for(const struct sandbox *sandbox, long version)
{
	struct ruleset rules = {.fs = FS_WRITES | FS_OTHERS | FS_REFER};

	if (!sandbox->reads)
		rules.fs |= FS_READS;
	if (version >= 3)
		rules.fs |= FS_TRUNCATE;
	if (version >= 4)
		rules.net = NET_BIND_TCP | (sandbox->connects ? 0 : NET_CONNECT);
	if (version >= 5)
		rules.fs |= FS_IOCTL_DEV;
	if (version >= 6)
		rules.scoped = SCOPE_SOCKETS | SCOPE_SIGNALS;
	return rules;
}

/* Older kernels refuse a longer structure only where what they do not know is set. */
static int make_ruleset(const struct ruleset *rules)
{
	size_t size = rules->scoped != 0 ? sizeof *rules
		      : rules->net != 0	 ? offsetof(struct ruleset, scoped)
					 : offsetof(struct ruleset, net);

	return (int)syscall(SYS_landlock_create_ruleset, rules, size, 0);
}

static int restrict_files(const struct sandbox *sandbox, long version)
{
	struct ruleset rules = ruleset_for(sandbox, version);
	struct landlock_path_beneath_attr writes = {
	    .allowed_access = (FS_WRITES | FS_REFER | FS_TRUNCATE) & rules.fs,
	    .parent_fd = sandbox->writes_fd,
	};
	int fd = make_ruleset(&rules);

	if (fd < 0)
		return -1;
	int result = (int)syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &writes, 0);
	if (result == 0)
		result = (int)syscall(SYS_landlock_restrict_self, fd, 0);
	int saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return result;
}

static const char landlock_is_missing[] = "the kernel has none: 5.19 or later, with landlock among its lsm=";
static const char landlock_is_filtered[] =
    "a filter of system calls, the service's or a container's, does not let us: let it have "
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self (SystemCallFilter=, systemd-nspawn "
    "--system-call-filter=)";

/* Returns the version in force; 0 with *why. */
static long enter_landlock(const struct sandbox *sandbox, const char **why)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version < 2)
		*why = version < 0 && errno != ENOSYS && errno != EOPNOTSUPP ? landlock_is_filtered
									     : landlock_is_missing;
	else if (restrict_files(sandbox, version) < 0)
		*why = "the kernel refused the rules";
	else
		return version;
	return 0;
}

/* --- seccomp --- */

/* Nothing here opens, sends or starts anything by itself. */
static const int common_calls[] = {SCMP_SYS(accept4), SCMP_SYS(brk), SCMP_SYS(clock_getres),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(close), SCMP_SYS(close_range),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_wait), SCMP_SYS(eventfd2), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(fdatasync),
    SCMP_SYS(flock), SCMP_SYS(fstat), SCMP_SYS(fstatfs), SCMP_SYS(fsync), SCMP_SYS(ftruncate),
    SCMP_SYS(futex), SCMP_SYS(getdents64), SCMP_SYS(getegid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getpeername), SCMP_SYS(getpid), SCMP_SYS(getrandom), SCMP_SYS(getrlimit), SCMP_SYS(getrusage),
    SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(getuid),
    SCMP_SYS(linkat), SCMP_SYS(lseek), SCMP_SYS(madvise), SCMP_SYS(membarrier), SCMP_SYS(mremap),
    SCMP_SYS(munmap), SCMP_SYS(nanosleep), SCMP_SYS(newfstatat), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(restart_syscall), SCMP_SYS(rseq),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield), SCMP_SYS(set_robust_list), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
    SCMP_SYS(sigaltstack), SCMP_SYS(statfs), SCMP_SYS(statx), SCMP_SYS(sync_file_range), SCMP_SYS(syncfs),
    SCMP_SYS(sysinfo), SCMP_SYS(time), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(uname),
    SCMP_SYS(unlinkat), SCMP_SYS(write), SCMP_SYS(writev)};

static const int reading_calls[] = {SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
    SCMP_SYS(getcwd), SCMP_SYS(lstat), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(stat), SCMP_SYS(unlink)};

/* No bind and no listen: what it listens on it has already. */
static const int connecting_calls[] = {
    SCMP_SYS(connect), SCMP_SYS(pipe2), SCMP_SYS(sendmmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto)};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t n)
{
	int result = 0;

	for (size_t i = 0; i < n && result == 0; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return result;
}

static int allow_where(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

/* What a descriptor is, and locks, which modules of PKCS#11 take. Not F_SETOWN and F_SETSIG: by those the kernel sends signals
 * to any process of the user. */
static int allow_fcntl(scmp_filter_ctx filter)
{
	static const int commands[] = {
	    F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW};
	int result = 0;

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		result |= allow_where(filter, SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, (uint64_t)commands[i]));
	return result;
}

/* Memory that is not executable, threads but no processes, signals to itself (abort), its own thread's name. */
static int allow_bounded(scmp_filter_ctx filter)
{
	const uint64_t thread = CLONE_THREAD, exec = PROT_EXEC;
	int result = allow_fcntl(filter);

	result |= allow_where(filter, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	result |= allow_where(filter, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, exec, 0));
	result |= allow_where(filter, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
	/* Its flags are behind a pointer; told that there is none, libc takes clone. */
	result |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	result |= allow_where(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()));
	result |= allow_where(filter, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	result |= allow_where(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	result |= allow_where(filter, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, FIONBIO));
	/* Of itself, and only to look. */
	struct scmp_arg_cmp own_limit[] = {
	    SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0) /* no new limit */};
	result |= seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, own_limit);
	return result;
}

static int allow_files(scmp_filter_ctx filter, const struct sandbox *sandbox)
{
	const uint64_t create = O_CREAT, unnamed = O_TMPFILE, only_write = O_WRONLY, access = O_ACCMODE;

	if (sandbox->reads)
		return allow_all(filter, reading_calls, sizeof reading_calls / sizeof reading_calls[0]);
	return allow_where(filter, SCMP_SYS(openat),
		   SCMP_A2(SCMP_CMP_MASKED_EQ, create | access, create | only_write)) |
	       allow_where(filter, SCMP_SYS(openat),
		   SCMP_A2(SCMP_CMP_MASKED_EQ, unnamed | access, unnamed | only_write));
}

static int allow_network(scmp_filter_ctx filter, const struct sandbox *sandbox)
{
	const uint64_t fast_open = MSG_FASTOPEN; /* connects by sending, which nothing else here would see */

	if (!sandbox->connects)
		return allow_where(filter, SCMP_SYS(sendto), SCMP_A3(SCMP_CMP_MASKED_EQ, fast_open, 0)) |
		       allow_where(filter, SCMP_SYS(sendmsg), SCMP_A2(SCMP_CMP_MASKED_EQ, fast_open, 0));
	return allow_where(filter, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET)) |
	       allow_where(filter, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET6)) |
	       allow_where(filter, SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX)) |
	       allow_all(filter, connecting_calls, sizeof connecting_calls / sizeof connecting_calls[0]);
}

/* Returns NULL, or why not. The lists have the calls of 64-bit systems: 32-bit ones make others in the place of dozens of them
 * (mmap2, futex_time64, clock_gettime64), and no worker would start. */
static const char *enter_seccomp(const struct sandbox *sandbox)
{
	int result = -1;

	if (sizeof(long) < 8)
		return "the filter is made for 64-bit systems, and this is a 32-bit one";
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (filter != NULL &&
	    allow_all(filter, common_calls, sizeof common_calls / sizeof common_calls[0]) == 0 &&
	    allow_bounded(filter) == 0 && allow_files(filter, sandbox) == 0 &&
	    allow_network(filter, sandbox) == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result == 0
		   ? NULL
		   : "the kernel has none, or a filter of system calls, the service's or a container's, does "
		     "not let us (add seccomp to SystemCallFilter=, or to --system-call-filter=)";
}

/* --- all of it --- */

static void warn(const char *what, const char *why, const char *consequence)
{
	log_event(LOG_LEVEL_WARNING, "sandbox-incomplete", kv_str("without", what), kv_str("why", why),
	    kv_str("consequence", consequence));
}

/* seccomp last: it takes away what the others need. */
void sandbox_enter(const struct sandbox *sandbox)
{
	const char *why = drop_capabilities();

	if (why != NULL)
		warn("capabilities", why, "this process keeps the rights it was started with");
	long landlock = enter_landlock(sandbox, &why);
	if (landlock == 0)
		warn("landlock", why, "file modes alone say which files this process can change");
	const char *no_seccomp = enter_seccomp(sandbox);
	if (no_seccomp != NULL)
		warn("seccomp", no_seccomp, "this process can make any system call that its user may");
	log_event(LOG_LEVEL_INFO, "sandbox", kv_i64("landlock", landlock),
	    kv_str("seccomp", no_seccomp == NULL ? "on" : "off"));
}
