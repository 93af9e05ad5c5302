/* What the files of a message say: its envelope, its state, its content. */
#include "spool/spool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"

#define FIRST_READ 4096 /* times a power of four: ENVELOPE_MAX */

ssize_t message_read_at(int fd, void *bytes, size_t n, uint64_t offset)
{
	ssize_t got;

	do
		got = pread(fd, bytes, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got;
}

ssize_t message_read_all(int fd, char *bytes, size_t n, uint64_t offset)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = message_read_at(fd, bytes + have, n - have, offset + have);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

/* Returns as message_read; *size is the envelope's. */
static int read_envelope(int fd, uint64_t file_bytes, struct envelope *out, size_t *size, struct err *err)
{
	struct err why = {"it is cut off"};
	char first[FIRST_READ], *bytes = first, *more = NULL;
	int result = 1;

	for (size_t n = FIRST_READ; result == 1 && n <= ENVELOPE_MAX; n *= 4) {
		if (n > FIRST_READ)
			bytes = more = xrealloc(more, n);
		ssize_t got = message_read_all(fd, bytes, n < file_bytes ? n : (size_t)file_bytes, 0);
		if (got < 0) {
			err_sys(err, "reading it");
			free(more);
			return -1;
		}
		result = envelope_parse((struct str){bytes, (size_t)got}, out, size, &why);
		if ((size_t)got < n)
			break;
	}
	free(more);
	if (result == 0)
		return 0;
	err_set(err, "its envelope is damaged: %s", why.text);
	return 1;
}

int message_read(int fd, const char *id, struct envelope *out, uint64_t *offset, struct err *err)
{
	struct stat st;
	size_t size;

	*out = (struct envelope){.id = ""};
	if (fstat(fd, &st) < 0)
		return err_sys(err, "looking at it");
	int result = read_envelope(fd, (uint64_t)st.st_size, out, &size, err);
	if (result != 0)
		return result;
	*offset = size;
	uint64_t found = (uint64_t)st.st_size - size;
	if (strcmp(out->id, id) != 0)
		err_set(err, "its envelope is that of %s", out->id);
	else if (found != out->content_bytes)
		err_set(err, "its content has %llu bytes, its envelope says %llu", (unsigned long long)found,
		    (unsigned long long)out->content_bytes);
	else
		return 0;
	envelope_free(out);
	return 1;
}

int message_read_state(const struct spool *spool, enum spool_dir dir, const char *suffix,
    const struct envelope *envelope, struct state *out, bool *exists, struct err *err)
{
	char name[NAME_MAX_BYTES];
	char *text = NULL;
	struct stat st;
	size_t n;

	*out = (struct state){.reports = 0};
	errno = ENOENT;
	/* Rows 7, 10, 13: what the death of a sender has left in state/ is the newer one, unless it is
	 * queue/'s own. */
	name_of(name, "", envelope->id, "");
	if (dir == DIR_FAILED && fstatat(spool->dirs[DIR_QUEUE], name, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno == ENOENT)
		text = fs_read_file(spool->dirs[DIR_STATE], name, STATE_MAX, &n);
	else
		errno = ENOENT;
	if (text == NULL && errno == ENOENT)
		text = fs_read_file(spool->dirs[dir], name_of(name, "", envelope->id, suffix), STATE_MAX, &n);
	bool is_there = text != NULL || errno != ENOENT;
	if (exists != NULL)
		*exists = is_there;
	if (!is_there) {
		state_init(out, envelope->recipient_count);
		return 0;
	}
	if (text == NULL) {
		err_sys(err, "%s/%s/%s", spool->path, spool_dir_names[dir], name);
		return errno == EFBIG || errno == EINVAL || errno == ELOOP ? 1 : -1;
	}
	struct err why = {""};
	int result = state_parse((struct str){text, n}, envelope, out, &why);
	if (result < 0)
		err_set(err, "%s/%s/%s: %s", spool->path, spool_dir_names[dir], name, why.text);
	free(text);
	return result < 0 ? 1 : 0;
}
