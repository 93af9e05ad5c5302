/* The floor of free space and free inodes: what the spool's own work (states, reports) needs is kept free,
 * and a device hears 452 before the disk is full. Looked at now and then; between looks our own writing is
 * counted. */
#include "spool/spool_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"

#define SAMPLE_MS	200
#define FLOOR_MAX	(64u * 1024 * 1024)
#define INODE_FLOOR_MIN 64

/* What is written into a folder that was removed is lost, and a folder that was moved is nowhere looked for after a
 * restart. */
static int check_place(const struct spool *spool, struct err *err)
{
	char path[4096];
	struct stat ours, there;

	snprintf(path, sizeof path, "%s/%s", spool->path, spool_dir_names[DIR_QUEUE]);
	if (fstat(spool->dirs[DIR_QUEUE], &ours) == 0 && stat(path, &there) == 0 &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		return 0;
	errno = ENOENT;
	return err_set(err, "%s: the spool folder was moved, removed or replaced: put it back", spool->path);
}

static int look(struct spool *spool, struct err *err)
{
	struct space *space = &spool->space;
	int64_t now = clock_mono_ms();
	struct statvfs fs;

	if (space->known && now - space->sampled_ms < SAMPLE_MS)
		return 0;
	space->known = false;
	if (check_place(spool, err) < 0)
		return -1;
	if (fstatvfs(spool->dirs[DIR_QUEUE], &fs) < 0)
		return err_sys(err, "%s: asking for its free space", spool->path);
	uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
	uint64_t files = fs.f_files;
	space->known = true;
	space->sampled_ms = now;
	space->bytes_free = (uint64_t)fs.f_bavail * fs.f_frsize;
	space->bytes_floor = total / 20 < FLOOR_MAX ? total / 20 : FLOOR_MAX;
	if (spool->free_space > 0)
		space->bytes_floor = spool->free_space;
	space->inodes_free = fs.f_favail;
	space->inodes_floor = files / 100 > INODE_FLOOR_MIN ? files / 100 : INODE_FLOOR_MIN;
	if (files == 0)
		space->inodes_floor = 0;
	space->bytes_taken = 0;
	space->inodes_taken = 0;
	return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static bool bytes_fit(const struct spool *spool, uint64_t free_bytes, uint64_t n, struct err *err)
{
	uint64_t floor = spool->space.bytes_floor;

	if (free_bytes >= floor && free_bytes - floor >= n)
		return true;
	errno = ENOSPC;
	err_set(err,
	    "%s: the disk is nearly full: %" PRIu64 " KiB free, %" PRIu64
	    " KiB needed (limits.free_space%s): free some space",
	    spool->path, free_bytes / 1024, (floor + n) / 1024, n > 0 ? " and the message" : "");
	return false;
}

bool spool_has_room(struct spool *spool, uint64_t bytes, struct err *err)
{
	const struct space *space = &spool->space;

	if (look(spool, err) < 0)
		return false;
	uint64_t inodes = less(space->inodes_free, space->inodes_taken);
	if (space->inodes_floor > 0 && inodes <= space->inodes_floor) {
		errno = ENOSPC;
		err_set(err,
		    "%s: the disk is nearly out of inodes: %" PRIu64 " free, the floor is %" PRIu64
		    ": remove some files",
		    spool->path, inodes, space->inodes_floor);
		return false;
	}
	return bytes_fit(
	    spool, less(space->bytes_free, space->bytes_taken + space->bytes_promised), bytes, err);
}

bool space_fits(struct spool *spool, uint64_t promised, uint64_t n, struct err *err)
{
	const struct space *space = &spool->space;
	/* What was promised is there, unless others have filled the disk meanwhile. */
	uint64_t others = n <= promised ? 0 : space->bytes_promised - promised;

	return look(spool, err) == 0 &&
	       bytes_fit(spool, less(space->bytes_free, space->bytes_taken + others), n, err);
}

bool space_take(struct spool *spool, uint64_t n, bool below_floor, struct err *err)
{
	struct space *space = &spool->space;

	if (!below_floor &&
	    (look(spool, err) < 0 || !bytes_fit(spool, less(space->bytes_free, space->bytes_taken), n, err)))
		return false;
	space->bytes_taken += n;
	return true;
}
