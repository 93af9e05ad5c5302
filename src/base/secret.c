#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

int secret_path(char *dst, size_t size, const char *source, struct err *err)
{
	const char *folder;
	int n;

	if (strncmp(source, "file:", 5) == 0 && source[5] == '/') {
		n = snprintf(dst, size, "%s", source + 5);
	} else if (strncmp(source, "credential:", 11) == 0 && source[11] != '\0' &&
		   strchr(source, '/') == NULL) {
		folder = getenv("CREDENTIALS_DIRECTORY");
		if (folder == NULL)
			return err_set(err,
			    "%s: systemd handed over no credentials; add LoadCredential=%s:PATH to the unit, "
			    "or use file:PATH",
			    source, source + 11);
		n = snprintf(dst, size, "%s/%s", folder, source + 11);
	} else {
		return err_set(err, "a secret is given as \"file:/absolute/path\" or \"credential:NAME\"");
	}
	if (n < 0 || (size_t)n >= size)
		return err_set(err, "%.64s...: the path is too long", source);
	return 0;
}

static int check_file(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, "%s: not a plain file", path);
	if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		return err_set(err, "%s: others can read this secret; run: chmod o= %s", path, path);
	if (st.st_size == 0)
		return err_set(err, "%s: the file is empty; put the secret's value in it", path);
	if (st.st_size > SECRET_MAX)
		return err_set(err, "%s: larger than %d bytes, not a secret", path, SECRET_MAX);
	return 0;
}

static int read_all(struct secret *out, int fd, const char *path, struct err *err)
{
	while (out->n <= SECRET_MAX) {
		ssize_t n = read(fd, out->bytes + out->n, SECRET_MAX + 1 - out->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "%s", path);
		if (n == 0)
			break;
		out->n += (size_t)n;
	}
	if (out->n > 0 && out->bytes[out->n - 1] == '\n')
		out->n--;
	if (out->n > 0 && out->bytes[out->n - 1] == '\r')
		out->n--;
	out->bytes[out->n] = '\0';
	if (out->n == 0 || strlen(out->bytes) != out->n || strpbrk(out->bytes, "\r\n") != NULL)
		return err_set(err, "%s: a secret is one line of text; the file holds something else", path);
	return 0;
}

int secret_read(struct secret *out, const char *source, struct err *err)
{
	char path[4096];
	int result = -1;

	*out = (struct secret){NULL, 0};
	if (secret_path(path, sizeof path, source, err) < 0)
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, "%s: cannot be read by this user", path);
	if (check_file(fd, path, err) == 0) {
		out->bytes = xcalloc(1, SECRET_MAX + 2);
		result = read_all(out, fd, path, err);
		if (result < 0)
			secret_free(out);
	}
	close(fd);
	return result;
}

void secret_set(struct secret *out, struct str value)
{
	out->bytes = xcalloc(1, value.n + 1);
	if (value.n > 0)
		memcpy(out->bytes, value.p, value.n);
	out->n = value.n;
}

void secret_free(struct secret *secret)
{
	if (secret->bytes != NULL) {
		explicit_bzero(secret->bytes, secret->n);
		free(secret->bytes);
	}
	*secret = (struct secret){NULL, 0};
}
