#include "spool/whole_sync.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"

#define NODES_MAX  8
#define COUNTS_MAX 8192 /* of one node; the kernel shows at most a page */

struct whole_sync {
	int folder;
	uint64_t page_bytes;
	int counts
	    [NODES_MAX]; /* the memory's counts, a file for each node; /proc/meminfo is hidden from services */
	size_t nodes;
};

static bool open_counts(struct whole_sync *whole)
{
	char path[64];
	int fd;

	for (unsigned node = 0; node < NODES_MAX; node++) {
		snprintf(path, sizeof path, "/sys/devices/system/node/node%u/vmstat", node);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break;
		whole->counts[whole->nodes++] = fd;
	}
	/* A machine with more nodes than are looked at has more to write than is known. */
	return whole->nodes > 0 && whole->nodes < NODES_MAX;
}

struct whole_sync *whole_sync_new(int folder)
{
	struct whole_sync *whole;

	if (!fs_can_sync_whole(folder))
		return NULL;
	whole = xcalloc(1, sizeof *whole);
	whole->folder = folder;
	whole->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	if (open_counts(whole))
		return whole;
	whole_sync_free(whole);
	return NULL;
}

/* The pages that the line of that name, "\nname ", counts; a great many when it is not there. */
static uint64_t count_of(const char *counts, const char *line)
{
	const char *found = strstr(counts, line);

	return found != NULL ? strtoull(found + strlen(line), NULL, 10) : UINT32_MAX;
}

static uint64_t pending_pages(int fd)
{
	char counts[COUNTS_MAX];
	ssize_t n = pread(fd, counts, sizeof counts - 1, 0);

	if (n <= 0)
		return UINT32_MAX;
	counts[n] = '\0';
	return count_of(counts, "\nnr_dirty ") + count_of(counts, "\nnr_writeback ");
}

bool whole_sync_pays(const struct whole_sync *whole, size_t files)
{
	uint64_t pages = 0;

	if (whole == NULL || files < WHOLE_SYNC_FILES_MIN)
		return false;
	for (size_t i = 0; i < whole->nodes; i++)
		pages += pending_pages(whole->counts[i]);
	return pages <= WHOLE_SYNC_PENDING_MAX / whole->page_bytes;
}

int whole_sync_run(const struct whole_sync *whole)
{
	return fs_sync_whole(whole->folder);
}

void whole_sync_free(struct whole_sync *whole)
{
	if (whole == NULL)
		return;
	for (size_t i = 0; i < whole->nodes; i++)
		close(whole->counts[i]);
	free(whole);
}
