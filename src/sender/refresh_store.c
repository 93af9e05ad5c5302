#include "sender/refresh_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/mem.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int open_var(const char *spool, struct err *err)
{
	char *path = xasprintf("%s/var", spool);
	int fd = open(path, FOLDER_FLAGS);

	if (fd < 0 && errno == ENOENT)
		err_set(err,
		    "%s is not there, as the daemon has never run: start it, which makes the spool, and sign "
		    "in "
		    "then: systemctl start mfdrelay",
		    path);
	else if (fd < 0)
		err_sys(err, "%s: run this as root or as the daemon's user", path);
	free(path);
	return fd;
}

static int read_at(int var, const char *name, struct secret *out, int64_t *stored_s)
{
	struct stat st;
	size_t n;
	char *bytes = fs_read_file(var, name, SECRET_MAX, &n);

	*out = (struct secret){bytes, bytes != NULL ? n : 0};
	if (bytes == NULL || fstatat(var, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	*stored_s = st.st_mtim.tv_sec;
	if (n == 0 || strlen(bytes) != n) {
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

int refresh_read(
    struct secret *out, int64_t *stored_s, const char *spool, const char *upstream, struct err *err)
{
	char *name = xasprintf("sign-in.%s", upstream);
	int var = open_var(spool, err), result = -1;

	*out = (struct secret){NULL, 0};
	if (var >= 0) {
		result = read_at(var, name, out, stored_s);
		if (result < 0 && errno == ENOENT)
			err_set(err, "nobody has signed in for upstream %s yet; run: mfdrelay login %s",
			    upstream, upstream);
		else if (result < 0)
			err_sys(err, "%s/var/%s; run: mfdrelay login %s", spool, name, upstream);
		close(var);
	}
	if (result < 0)
		secret_free(out);
	free(name);
	return result;
}

static bool is_same(const struct secret *a, const struct secret *b)
{
	return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

/* Under the lock. */
static int replace(int var, const char *name, const struct secret *old, const struct secret *token)
{
	char *temp = xasprintf("tmp.%s", name);
	struct secret now = {NULL, 0};
	int64_t stored_s;
	int result = 0;

	if (old == NULL || read_at(var, name, &now, &stored_s) < 0 || is_same(&now, old))
		result = fs_replace_file(var, temp, name, token->bytes, token->n);
	secret_free(&now);
	free(temp);
	return result;
}

int refresh_check(const char *spool, const char *upstream, struct err *err)
{
	char *temp = xasprintf("tmp.sign-in.%s.check", upstream);
	int var = open_var(spool, err), fd = -1;

	if (var >= 0) {
		fd = fs_create(var, temp);
		if (fd < 0)
			err_sys(
			    err, "%s/var can't be written: run this as root or as the daemon's user", spool);
		else
			unlinkat(var, temp, 0);
		close(var);
	}
	if (fd >= 0)
		close(fd);
	free(temp);
	return fd >= 0 ? 0 : -1;
}

int refresh_write(const char *spool, const char *upstream, const struct secret *old,
    const struct secret *token, struct err *err)
{
	char *name = xasprintf("sign-in.%s", upstream);
	int var = open_var(spool, err), result = -1;

	/* The lock lies on the folder, and goes with the descriptor. */
	if (var >= 0) {
		while ((result = flock(var, LOCK_EX)) < 0 && errno == EINTR)
			;
		if (result == 0)
			result = replace(var, name, old, token);
		if (result < 0)
			err_sys(err, "%s/var/%s", spool, name);
		close(var);
	}
	free(name);
	return result;
}
