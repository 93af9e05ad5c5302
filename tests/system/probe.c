/* Loaded into the daemon by a test (LD_PRELOAD): each worker, once it is set up and before its first event, tries what it
 * must and must not be able to do, and writes "probe WORKER ATTEMPT RESULT" lines to stderr. RESULT is "done", or the name of
 * the error. PROBE_FOLDER is a folder of the test with the files `secret` and `spool/`. PROBE_LACKS names what this kernel is
 * to be without: "landlock" or "seccomp". */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct event_base;

static char worker[16];

static void tell(const char *attempt, long result)
{
	dprintf(STDERR_FILENO, "probe %s %s %s\n", worker, attempt,
	    result >= 0 ? "done" : strerrorname_np(errno));
}

static int open_below(const char *name, int flags)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s", getenv("PROBE_FOLDER"), name);
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd;
}

static void *nothing(void *arg)
{
	return arg;
}

static int start_thread(void)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, nothing, NULL);
	return errno == 0 ? pthread_join(thread, NULL) : -1;
}

static int start_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static long run_program(void)
{
	char *arguments[] = {"/bin/true", NULL};

	return execve(arguments[0], arguments, NULL);
}

static long read_other_process(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {&byte, 1};

	return process_vm_readv(getppid(), &here, 1, &there, 1, 0);
}

static long make_executable_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED
		   ? -1
		   : 0;
}

static long become_root(void)
{
	return syscall(SYS_setuid, 0);
}

static bool lacks(const char *what)
{
	const char *named = getenv("PROBE_LACKS");

	return named != NULL && strcmp(named, what) == 0;
}

static void try_files(void)
{
	tell("read-secret", open_below("secret", O_RDONLY));
	tell("read-spool-id", open_below("spool/var/spool-id", O_RDONLY));
	tell("read-by-creating", open_below("spool/var/spool-id", O_RDWR | O_CREAT));
	tell("write-outside", open_below("outside", O_WRONLY | O_CREAT));
	tell("write-secret", open_below("secret", O_WRONLY | O_CREAT));
	tell("write-queue", open_below("spool/queue/probe", O_WRONLY | O_CREAT));
	tell("write-state", open_below("spool/state/probe", O_WRONLY | O_CREAT));
}

static void try_calls(void)
{
	const struct msghdr nothing_to_send = {0};

	tell("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
	tell("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
	tell("socket-packet", socket(AF_PACKET, SOCK_RAW, 0));
	tell("connect", connect(-1, NULL, 0));
	tell("connect-by-sendto", sendto(-1, "", 0, MSG_FASTOPEN, NULL, 0));
	tell("connect-by-sendmsg", sendmsg(-1, &nothing_to_send, MSG_FASTOPEN));
	tell("bind", bind(-1, NULL, 0));
	tell("listen", listen(-1, 1));
	tell("thread", start_thread());
	tell("fork", start_process());
	tell("exec", run_program());
	tell("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	tell("read-process", read_other_process());
	tell("signals-by-descriptor", fcntl(-1, F_SETOWN, getppid()));
	tell("kill-supervisor", syscall(SYS_kill, getppid(), 0));
	tell("executable-memory", make_executable_memory());
	tell("setuid-0", become_root());
}

/* Without seccomp nothing would stop the second lot, and the worker would be another program. */
static void try_all(void)
{
	try_files();
	if (!lacks("seccomp"))
		try_calls();
	tell("chroot", chroot("/"));
}

long syscall(long number, ...)
{
	long values[6];
	long (*real)(long, ...);
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		values[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_landlock_create_ruleset && lacks("landlock")) {
		errno = ENOSYS;
		return -1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	return real(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

int seccomp_load(void *filter)
{
	int (*real)(void *);

	*(void **)&real = dlsym(RTLD_NEXT, "seccomp_load");
	return lacks("seccomp") ? -EINVAL : real(filter);
}

/* Here it says which process it is. */
int prctl(int option, ...)
{
	unsigned long values[4];
	va_list arguments;

	va_start(arguments, option);
	for (int i = 0; i < 4; i++)
		values[i] = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (option == PR_SET_NAME)
		strncpy(worker, (const char *)values[0], sizeof worker - 1);
	return (int)syscall(SYS_prctl, option, values[0], values[1], values[2], values[3]);
}

int event_base_loop(struct event_base *base, int flags)
{
	static bool tried;
	int (*real)(struct event_base *, int);

	*(void **)&real = dlsym(RTLD_NEXT, "event_base_loop");
	if (worker[0] != '\0' && !tried) {
		tried = true;
		try_all();
	}
	return real(base, flags);
}
