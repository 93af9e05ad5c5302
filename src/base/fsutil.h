/* The only calls of fsync, syncfs, linkat and rename in the program, so that a test can fail or record each of them and
 * a reader finds every durable step here. They block, so event loops leave them to threads, but for two: the sender's where a
 * person has asked for a message again, or one is put aside; the supervisor's where the spool has been replaced. */
#ifndef MFDRELAY_BASE_FSUTIL_H
#define MFDRELAY_BASE_FSUTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* All return 0, or -1 with errno. */
int fs_start_writeback(int fd);			/* begins to write the file's data, waits for nothing; may tell of an error that no sync tells again */
int fs_sync(int fd);				/* fsync of a file or folder; after a failure never again on the same file */
int fs_sync_whole(int fd);			/* syncfs: all that has been written to the file system fd is on */
int fs_link_fd(int fd, int dir_fd, const char *name);	/* give an O_TMPFILE file its name; EEXIST when it is taken */
int fs_rename(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name);
int fs_rename_noreplace(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name);	/* EEXIST when taken.
						   Where the file system has no such rename it is looked for first */

/* Write all n bytes at the file's position, or at offset. A short write without errno becomes ENOSPC. */
int fs_write_all(int fd, const void *bytes, size_t n);
int fs_pwrite_all(int fd, const void *bytes, size_t n, off_t offset);

/* Read a whole small file, at most max bytes, NUL appended. Returns malloc'ed bytes with *n set, or NULL with
 * errno (EFBIG when larger). */
char *fs_read_file(int dir_fd, const char *name, size_t max, size_t *n);

/* Replace the file name by one of n bytes, mode 0600, durably: it is written as temp, synced, renamed, and the folder is
 * synced. Returns 0; -1 with errno, name as it was unless only the folder's sync has failed. Blocks. */
int fs_replace_file(int dir_fd, const char *temp, const char *name, const void *bytes, size_t n);

/* Make the file name, mode 0600, for writing. Where there is one of that name, fs_create_new fails with EEXIST, and fs_create
 * removes it first, as left behind. They return its descriptor, or -1 with errno. */
int fs_create_new(int dir_fd, const char *name);
int fs_create(int dir_fd, const char *name);

/* Call fn for each name of a folder, in no order, but those that begin with '.' and those known not to be plain files.
 * fn may remove the file it is called for. Stops when fn returns false. Returns 0, or -1 with errno. */
int fs_each_name(int dir_fd, bool (*fn)(void *arg, const char *name), void *arg);

/* Whether a file can be written and synced without a name in that folder and then be given one, and is whole after a
 * power cut once both were synced. */
bool fs_can_link_unnamed(int dir_fd);

/* Whether fs_sync_whole there covers data, sizes and the disk's cache, as an fsync of each file does, and tells of errors:
 * ext4 with a journal, from Linux 5.17 on. */
bool fs_can_sync_whole(int dir_fd);

/* Open what ext4 tells of itself: a file of /sys/fs/ext4/<device> (Documentation/ABI/testing/sysfs-fs-ext4), for reading.
 * Returns its descriptor; -1 where fd is not on ext4, or sysfs not to be seen. */
int fs_open_ext4_fact(int fd, const char *name);

#endif
