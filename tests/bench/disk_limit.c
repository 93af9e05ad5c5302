/* The disk's limit for the spool's way of making messages durable: one thread, and nothing but the writes and syncs. For each
 * batch size: so many unnamed files are written and their write-back is started, each is synced, each gets its name, and one
 * sync of the folder covers the names. Prints batch, messages a second and MB a second.
 *
 *   disk_limit FOLDER COUNT BYTES [BATCH...]      (batches of 1, 16 and 50) */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX 64
#define CHUNK	  65536

static int folder;
static size_t bytes;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int write_unnamed(void)
{
	static char chunk[CHUNK];
	int fd = openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0)
		err(1, "O_TMPFILE");
	memset(chunk, 'x', sizeof chunk);
	for (size_t left = bytes; left > 0;) {
		size_t n = left < sizeof chunk ? left : sizeof chunk;
		if (write(fd, chunk, n) != (ssize_t)n)
			err(1, "write");
		left -= n;
	}
	return fd;
}

static void give_name(int fd, long number)
{
	char name[32], path[40];

	snprintf(name, sizeof name, "m%ld", number);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) < 0)
		err(1, "linkat");
}

static void commit_batch(long first, int n)
{
	int fds[BATCH_MAX];

	for (int i = 0; i < n; i++) {
		fds[i] = write_unnamed();
		if (n > 1)
			sync_file_range(fds[i], 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	for (int i = 0; i < n; i++)
		if (fsync(fds[i]) < 0)
			err(1, "fsync");
	for (int i = 0; i < n; i++)
		give_name(fds[i], first + i);
	if (fsync(folder) < 0)
		err(1, "fsync");
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static void measure(int batch, long count)
{
	char name[32];
	double begun = now_s();

	for (long i = 0; i < count; i += batch)
		commit_batch(i, count - i < batch ? (int)(count - i) : batch);
	double seconds = now_s() - begun;
	printf("%d %.0f %.1f\n", batch, (double)count / seconds, (double)count * (double)bytes / seconds / 1e6);
	fflush(stdout);
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof name, "m%ld", i);
		unlinkat(folder, name, 0);
	}
	fsync(folder);
}

int main(int argc, char **argv)
{
	static const int usual[] = {1, 16, 50};

	if (argc < 4)
		errx(2, "usage: disk_limit FOLDER COUNT BYTES [BATCH...]");
	folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		err(1, "%s", argv[1]);
	long count = atol(argv[2]);
	bytes = (size_t)atol(argv[3]);
	for (int i = 4; i < argc; i++) {
		int batch = atoi(argv[i]);
		if (batch < 1 || batch > BATCH_MAX)
			errx(2, "a batch has 1 to %d messages", BATCH_MAX);
		measure(batch, count);
	}
	for (size_t i = 0; argc == 4 && i < sizeof usual / sizeof *usual; i++)
		measure(usual[i], count);
	return 0;
}
