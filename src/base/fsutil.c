#include "base/fsutil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"

int fs_start_writeback(int fd)
{
	return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int fs_sync(int fd)
{
	return fsync(fd);
}

int fs_sync_whole(int fd)
{
	return syncfs(fd);
}

/* AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH; /proc/self/fd needs nothing. */
int fs_link_fd(int fd, int dir_fd, const char *name)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW);
}

int fs_rename(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name)
{
	return renameat(old_dir_fd, old_name, new_dir_fd, new_name);
}

int fs_rename_noreplace(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name)
{
	struct stat st;

	if (renameat2(old_dir_fd, old_name, new_dir_fd, new_name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (fstatat(new_dir_fd, new_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno != ENOENT ? -1 : fs_rename(old_dir_fd, old_name, new_dir_fd, new_name);
}

/* What is left after one write: 0 when all is written. */
static int advance(ssize_t written, const char **p, size_t *n)
{
	if (written < 0)
		return errno == EINTR ? 0 : -1;
	if (written == 0) {
		errno = ENOSPC;
		return -1;
	}
	*p += written;
	*n -= (size_t)written;
	return 0;
}

int fs_write_all(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0)
		if (advance(write(fd, p, n), &p, &n) < 0)
			return -1;
	return 0;
}

int fs_pwrite_all(int fd, const void *bytes, size_t n, off_t offset)
{
	const char *p = bytes;

	while (n > 0)
		if (advance(pwrite(fd, p, n, offset + (p - (const char *)bytes)), &p, &n) < 0)
			return -1;
	return 0;
}

static char *read_fd(int fd, size_t max, size_t *n)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size < 0) {
		errno = EINVAL;
		return NULL;
	}
	if ((uint64_t)st.st_size > max) {
		errno = EFBIG;
		return NULL;
	}
	size_t size = (size_t)st.st_size;
	char *bytes = xcalloc(1, size + 1);
	*n = 0;
	while (*n < size) {
		ssize_t got = read(fd, bytes + *n, size - *n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(bytes);
			return NULL;
		}
		if (got == 0)
			break;
		*n += (size_t)got;
	}
	return bytes;
}

char *fs_read_file(int dir_fd, const char *name, size_t max, size_t *n)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return NULL;
	char *bytes = read_fd(fd, max, n);
	int saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return bytes;
}

int fs_create_new(int dir_fd, const char *name)
{
	return openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int fs_create(int dir_fd, const char *name)
{
	int fd = fs_create_new(dir_fd, name);

	if (fd < 0 && errno == EEXIST && unlinkat(dir_fd, name, 0) == 0)
		fd = fs_create_new(dir_fd, name);
	return fd;
}

int fs_replace_file(int dir_fd, const char *temp, const char *name, const void *bytes, size_t n)
{
	int fd = fs_create(dir_fd, temp);

	if (fd < 0)
		return -1;
	int result = fs_write_all(fd, bytes, n);
	if (result == 0)
		result = fs_sync(fd);
	if (result == 0)
		result = fs_rename(dir_fd, temp, dir_fd, name);
	int saved_errno = errno;
	if (result < 0)
		unlinkat(dir_fd, temp, 0);
	close(fd);
	errno = saved_errno;
	return result < 0 ? -1 : fs_sync(dir_fd);
}

/* By a descriptor of its own: one that is duplicated would share its position. */
int fs_each_name(int dir_fd, bool (*fn)(void *arg, const char *name), void *arg)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	if (fd < 0)
		return -1;
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -1;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) &&
		    !fn(arg, entry->d_name))
			break;
	int error = entry == NULL ? errno : 0;
	closedir(dir);
	errno = error;
	return error == 0 ? 0 : -1;
}

int fs_open_ext4_fact(int fd, const char *name)
{
	char path[64], device[256], fact[320];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
	ssize_t n = readlink(path, device, sizeof device - 1);
	if (n <= 0)
		return -1;
	device[n] = '\0';
	const char *base = strrchr(device, '/');
	snprintf(fact, sizeof fact, "/sys/fs/ext4/%.200s/%s", base != NULL ? base + 1 : device, name);
	return open(fact, O_RDONLY | O_CLOEXEC);
}

/* Whether that ext4 writes a journal: sysfs names the task that does. Not so on ext2. */
static bool has_journal(int dir_fd)
{
	int fd = fs_open_ext4_fact(dir_fd, "journal_task");
	char digit = '\0';

	if (fd < 0)
		return false;
	ssize_t n = read(fd, &digit, 1);
	close(fd);
	return n == 1 && digit >= '0' && digit <= '9';
}

/* The name must bring along what was synced before it. btrfs logs nothing at the fsync of a file without
 * links, and at that of the folder the name without the data: the file is empty after a power cut. ext4
 * without a journal leaves the file's count of links at 0, and fsck removes it. So only where it is known to
 * hold. */
static bool keeps_unnamed(int dir_fd)
{
	struct statfs fs;

	if (fstatfs(dir_fd, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
	case EXT4_SUPER_MAGIC:
		return has_journal(dir_fd);
	case XFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
		return true;
	default:
		return false;
	}
}

bool fs_can_link_unnamed(int dir_fd)
{
	char path[32];

	if (!keeps_unnamed(dir_fd))
		return false;
	int fd = openat(dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	bool has_proc = access(path, F_OK) == 0;
	close(fd);
	return has_proc;
}

/* Before 5.8 syncfs answers 0 where data could not be written, before 5.17 where the file system's own sync, of its journal
 * and the disk's cache, has failed. */
static bool syncfs_tells_errors(void)
{
	struct utsname name;
	char *end;

	if (uname(&name) < 0)
		return false;
	unsigned long major_number = strtoul(name.release, &end, 10);
	unsigned long minor_number = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return major_number > 5 || (major_number == 5 && minor_number >= 17);
}

/* Without a journal ext4 empties the disk's cache before it writes the inodes. */
bool fs_can_sync_whole(int dir_fd)
{
	struct statfs fs;

	return syncfs_tells_errors() && fstatfs(dir_fd, &fs) == 0 &&
	       (unsigned long)fs.f_type == EXT4_SUPER_MAGIC && has_journal(dir_fd);
}
