/* Test only, by LD_PRELOAD: time as the test wants it. The daemon's clocks follow the file CLOCK_CONTROL: a struct
 * page, mapped and shared by all that the daemon forks; the test writes it while the daemon runs (harness.py
 * holds the same layout). Time can pass faster, leap ahead, or the wall clock alone be set, and what waits with a
 * limit wakes up when that limit is over by the new time. Wrapped is what the daemon, libevent, libcurl, c-ares and
 * OpenSSL use here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define SLICE_NS  INT64_C(10000000) /* how soon a sleeper notices that the test has changed the time */

/* From the real monotonic moment since_ns on, time stands at begin_ns and passes speed times as fast. */
struct setting {
	int64_t since_ns, begin_ns, speed;
	int64_t wall_ns; /* by how much the wall clock was set beyond that */
};

struct page {
	_Atomic uint32_t current; /* the setting in force; the test writes the other one, then this */
	uint32_t unused;
	struct setting settings[2];
};

static const struct page *page;

__attribute__((constructor)) static void set_up(void)
{
	const char *path = getenv("CLOCK_CONTROL");

	if (path == NULL)
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		abort();
	close(fd);
	page = mapped;
}

/* --- the clocks --- */

static int64_t real_ns(clockid_t which)
{
	struct timespec now;

	syscall(SYS_clock_gettime, which, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* Never backwards: whoever still reads the old setting reads less than the new one begins with. */
static int64_t mono_ns(const struct setting *setting)
{
	int64_t passed_ns = real_ns(CLOCK_MONOTONIC) - setting->since_ns;

	return setting->begin_ns + (passed_ns > 0 ? passed_ns : 0) * setting->speed;
}

static const struct setting *in_force(void)
{
	return &page->settings[atomic_load(&page->current) & 1];
}

/* By how much the daemon's time is ahead of the real one. */
static int64_t ahead_ns(const struct setting *setting)
{
	return mono_ns(setting) - real_ns(CLOCK_MONOTONIC);
}

static int64_t wall_ns(void)
{
	const struct setting *setting = in_force();

	return real_ns(CLOCK_REALTIME) + ahead_ns(setting) + setting->wall_ns;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

int clock_gettime(clockid_t which, struct timespec *now)
{
	if (page == NULL)
		return (int)syscall(SYS_clock_gettime, which, now);
	switch (which) {
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_MONOTONIC_RAW:
		*now = timespec_of(mono_ns(in_force()));
		return 0;
	case CLOCK_BOOTTIME:
		*now = timespec_of(real_ns(which) + ahead_ns(in_force()));
		return 0;
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		*now = timespec_of(wall_ns());
		return 0;
	default:
		return (int)syscall(SYS_clock_gettime, which, now);
	}
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec time;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &time);
	*now = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

/* --- waiting --- */

/* The end of a wait that begins now, by the daemon's time. */
static int64_t end_of(int64_t wait_ns)
{
	return mono_ns(in_force()) + wait_ns;
}

/* The next slice of a wait, in real time; false: its end has come. */
static int next_slice(int64_t end_ns, struct timespec *slice)
{
	const struct setting *setting = in_force();
	int64_t left_ns = end_ns - mono_ns(setting);

	if (left_ns <= 0)
		return 0;
	left_ns = left_ns / setting->speed + 1;
	*slice = timespec_of(left_ns < SLICE_NS ? left_ns : SLICE_NS);
	return 1;
}

static int slice_ms(const struct timespec *slice)
{
	return (int)((slice->tv_nsec + 999999) / 1000000);
}

static int really_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	return (int)syscall(SYS_epoll_wait, fd, events, max, timeout_ms);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	struct timespec slice;
	int n;

	if (page == NULL || timeout_ms <= 0)
		return really_wait(fd, events, max, timeout_ms);
	int64_t end_ns = end_of(timeout_ms * INT64_C(1000000));
	do {
		if (!next_slice(end_ns, &slice))
			return really_wait(fd, events, max, 0);
		n = really_wait(fd, events, max, slice_ms(&slice));
	} while (n == 0);
	return n;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec slice;
	int n;

	if (page == NULL || timeout_ms <= 0)
		return (int)syscall(SYS_poll, fds, count, timeout_ms);
	int64_t end_ns = end_of(timeout_ms * INT64_C(1000000));
	do {
		if (!next_slice(end_ns, &slice))
			return (int)syscall(SYS_poll, fds, count, 0);
		n = (int)syscall(SYS_poll, fds, count, slice_ms(&slice));
	} while (n == 0);
	return n;
}

/* As the function has it: the error is its result. */
static int really_sleep(clockid_t id, int flags, const struct timespec *wait, struct timespec *left)
{
	return syscall(SYS_clock_nanosleep, id, flags, wait, left) < 0 ? errno : 0;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *wait, struct timespec *left)
{
	struct timespec slice;

	if (page == NULL || id != CLOCK_MONOTONIC || flags != 0)
		return really_sleep(id, flags, wait, left);
	int64_t end_ns = end_of(wait->tv_sec * SECOND_NS + wait->tv_nsec);
	while (next_slice(end_ns, &slice)) {
		int error = really_sleep(id, flags, &slice, NULL);
		if (error != 0) {
			int64_t left_ns = end_ns - mono_ns(in_force());
			if (left != NULL)
				*left = timespec_of(left_ns > 0 ? left_ns : 0);
			return error;
		}
	}
	return 0;
}
