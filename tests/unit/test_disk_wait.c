#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "supervisor/disk_wait.h"

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Within some seconds; a process takes a moment to get there. */
static bool comes_to_wait(int fd)
{
	for (int i = 0; i < 500; i++) {
		if (disk_waits(fd))
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return false;
}

/* As one in wait of its disk, whoever has called vfork sleeps in state D, until its child has gone. */
static void one_in_uninterruptible_sleep_waits(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	print_message("ThreadSanitizer makes fork of vfork\n");
	skip();
#endif
	int child_pid[2];
	pid_t child = 0;

	assert_int_equal(pipe(child_pid), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NAME, "a) S (b) S 1", 0, 0, 0);
		if (vfork() == 0) { /* NOLINT: nothing else sleeps so by itself */
			pid_t self = getpid();
			if (write(child_pid[1], &self, sizeof self) == sizeof self)
				pause();
			_exit(0);
		}
		pause();
	}
	assert_int_equal(read(child_pid[0], &child, sizeof child), sizeof child);
	int fd = disk_wait_open(pid);
	assert_true(fd >= 0);
	assert_true(comes_to_wait(fd));
	assert_int_equal(kill(child, SIGKILL), 0);
	for (int i = 0; i < 500 && disk_waits(fd); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_false(disk_waits(fd));
	end(pid);
	close(fd);
	close(child_pid[0]);
	close(child_pid[1]);
}

static void no_other_does(void **state)
{
	(void)state;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_NAME, "a) D (b) D 1", 0, 0, 0);
		for (;;)
			pause();
	}
	int fd = disk_wait_open(pid);
	assert_true(fd >= 0);
	for (int i = 0; i < 20; i++) {
		assert_false(disk_waits(fd));
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_false(disk_waits(fd));
	end(pid);
	assert_false(disk_waits(fd));
	assert_int_equal(disk_wait_open(pid), -1);
	close(fd);
	assert_false(disk_waits(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_in_uninterruptible_sleep_waits),
	    cmocka_unit_test(no_other_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
