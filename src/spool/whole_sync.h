/* One sync of the whole file system in place of one of each file of a batch. As durable, and much cheaper: each sync of a
 * file that follows the first makes the disk empty its cache once more. But it also writes what others have written there,
 * so it is taken only while that is little. */
#ifndef MFDRELAY_SPOOL_WHOLE_SYNC_H
#define MFDRELAY_SPOOL_WHOLE_SYNC_H

#include <stdbool.h>
#include <stddef.h>

struct whole_sync;

#define WHOLE_SYNC_FILES_MIN   3		/* fewer are synced one by one: two syncs cost what this one does */
#define WHOLE_SYNC_BACKLOG_MAX (16 << 20)	/* bytes: a fifth of a second for a disk, two for a slow memory card */
#define WHOLE_SYNC_SLOW_MS     2000		/* others wrote more than it seemed: devices wait half a minute, no longer */
#define WHOLE_SYNC_REST_MS     60000		/* behind such a one */

/* For files in these folders, n of them and at least one, which are borrowed. Opens what says how much is to be written, so it
 * comes before the sandbox. NULL where it cannot be had: it takes one file system for all of them, ext4 with a journal, Linux
 * 5.17 or later, and /sys. */
struct whole_sync *whole_sync_new(const int *folders, size_t n);

/* Whether to take it for so many files: they are enough, there is little else to write, the last one was not slow, and none
 * has failed. NULL: false. Reads a file of the kernel's. This and whole_sync_run: any thread, one at a time. */
bool whole_sync_pays(const struct whole_sync *whole, size_t files);

/* 0: all that had been written to the file system when it was called is on stable storage. -1 with errno: something of it,
 * of whatever file, is not; sync each to know which, now and from then on. It blocks. Not to be called for NULL. A file
 * system that has turned read-only or was shut down may answer 0: there no name can be given afterwards, and no folder
 * synced. */
int whole_sync_run(struct whole_sync *whole);

/* NULL is fine. */
void whole_sync_free(struct whole_sync *whole);

#endif
