/* The disk's limit for the spool's way of making messages durable: one thread, and nothing but the writes and
 * syncs. For each batch size: so many files are written and their write-back is started, they are synced (by one
 * sync for all where the spool does so), each gets its name, and one sync of the folder covers the names. The files
 * have no name or a temporary one until then, as the spool does it on that file system. Prints "unnamed" or
 * "renamed", then for each batch its size, messages a second and MB a second.
 *
 *   disk_limit FOLDER COUNT BYTES */
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "spool/whole_sync.h"

#define BATCH_MAX 50

static const int batches[] = {1, 16, BATCH_MAX};
static int folder;
static size_t bytes;
static bool is_unnamed;
static struct whole_sync *whole; /* NULL: the file system has none that pays */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *name_of(char *name, const char *prefix, long number)
{
	sprintf(name, "%sm%ld", prefix, number);
	return name;
}

static int write_one(long number)
{
	static char chunk[65536];
	char temp[32];
	int fd = is_unnamed ? openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)
			    : fs_create(folder, name_of(temp, "tmp.", number));

	if (fd < 0)
		err(1, "making a file");
	for (size_t left = bytes, n; left > 0; left -= n) {
		n = left < sizeof chunk ? left : sizeof chunk;
		if (fs_write_all(fd, chunk, n) < 0)
			err(1, "write");
	}
	return fd;
}

static void give_name(int fd, long number)
{
	char temp[32], name[32];

	name_of(name, "", number);
	if ((is_unnamed ? fs_link_fd(fd, folder, name)
			: fs_rename_noreplace(folder, name_of(temp, "tmp.", number), folder, name)) < 0)
		err(1, "giving a file its name");
}

static void sync_one(int fd)
{
	if (fs_sync(fd) < 0)
		err(1, "fsync");
}

static void sync_files(const int *fds, int n)
{
	if (whole_sync_pays(whole, (size_t)n) && whole_sync_run(whole) == 0)
		return;
	for (int i = 0; i < n; i++)
		sync_one(fds[i]);
}

static void commit_batch(long first, int n)
{
	int fds[BATCH_MAX];

	for (int i = 0; i < n; i++) {
		fds[i] = write_one(first + i);
		if (n > 1)
			fs_start_writeback(fds[i]);
	}
	sync_files(fds, n);
	for (int i = 0; i < n; i++)
		give_name(fds[i], first + i);
	sync_one(folder);
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
	printf(
	    "%d %.0f %.1f\n", batch, (double)count / seconds, (double)count * (double)bytes / seconds / 1e6);
	fflush(stdout);
	for (long i = 0; i < count; i++)
		unlinkat(folder, name_of(name, "", i), 0);
	sync_one(folder);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: disk_limit FOLDER COUNT BYTES");
	folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		err(1, "%s", argv[1]);
	bytes = (size_t)atol(argv[3]);
	is_unnamed = fs_can_link_unnamed(folder);
	whole = whole_sync_new(&folder, 1);
	puts(is_unnamed ? "unnamed" : "renamed");
	for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
		measure(batches[i], atol(argv[2]));
	whole_sync_free(whole);
	return 0;
}
