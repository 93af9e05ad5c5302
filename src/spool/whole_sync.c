#include "spool/whole_sync.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/log.h"
#include "base/mem.h"

struct whole_sync {
	int folder;
	int backlog; /* of sysfs: the blocks that are written to files and have no place on the disk yet */
	uint64_t blocks_max;
	int64_t rests_until_ms; /* monotonic */
	bool has_failed;
};

/* One of them may have a file system mounted on it. */
static bool are_on_one_file_system(const int *folders, size_t n)
{
	struct stat first, other;

	if (fstat(folders[0], &first) < 0)
		return false;
	for (size_t i = 1; i < n; i++)
		if (fstat(folders[i], &other) < 0 || first.st_dev != other.st_dev)
			return false;
	return true;
}

struct whole_sync *whole_sync_new(const int *folders, size_t n)
{
	struct statvfs fs;
	int folder = folders[0], backlog;

	if (!are_on_one_file_system(folders, n) || !fs_can_sync_whole(folder) || fstatvfs(folder, &fs) < 0 ||
	    fs.f_frsize == 0)
		return NULL;
	backlog = fs_open_ext4_fact(folder, "delayed_allocation_blocks");
	if (backlog < 0)
		return NULL;
	struct whole_sync *whole = xcalloc(1, sizeof *whole);
	*whole = (struct whole_sync){
	    .folder = folder, .backlog = backlog, .blocks_max = WHOLE_SYNC_BACKLOG_MAX / fs.f_frsize};
	return whole;
}

static bool backlog_is_small(const struct whole_sync *whole)
{
	char text[32], *end;
	ssize_t n = pread(whole->backlog, text, sizeof text - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return strtoull(text, &end, 10) <= whole->blocks_max && end != text;
}

bool whole_sync_pays(const struct whole_sync *whole, size_t files)
{
	return whole != NULL && !whole->has_failed && files >= WHOLE_SYNC_FILES_MIN &&
	       clock_mono_ms() >= whole->rests_until_ms && backlog_is_small(whole);
}

/* syncfs tells an error once. It may be of a file that is not to be synced yet: the next one would be silent about it, the
 * file's own sync is not. */
int whole_sync_run(struct whole_sync *whole)
{
	int64_t begun_ms = clock_mono_ms();
	int result = fs_sync_whole(whole->folder);
	int64_t ended_ms = clock_mono_ms();

	if (ended_ms - begun_ms > WHOLE_SYNC_SLOW_MS)
		whole->rests_until_ms = ended_ms + WHOLE_SYNC_REST_MS;
	if (result < 0) {
		whole->has_failed = true;
		log_event(LOG_LEVEL_WARNING, "spool-whole-sync-failed", kv_errno(),
		    kv_str("consequence", "from now on each message is synced by itself, which takes longer"),
		    kv_str("remedy", "look at the disk and the kernel's log, then restart mfdrelay"));
	}
	return result;
}

void whole_sync_free(struct whole_sync *whole)
{
	if (whole == NULL)
		return;
	close(whole->backlog);
	free(whole);
}
