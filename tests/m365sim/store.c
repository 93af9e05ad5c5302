#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "text.h"

struct incoming {
	int fd;
	char *path;
	unsigned long long size;
	EVP_MD_CTX *digest;
};

static char *root;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long last_number, last_temporary;

static int look_around(const char *mail)
{
	DIR *dir = opendir(mail);
	struct dirent *entry;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)) != NULL) {
		unsigned long n = strtoul(entry->d_name, NULL, 10);

		if (!strncmp(entry->d_name, "tmp-", 4))
			unlinkat(dirfd(dir), entry->d_name, 0);
		else if (n > last_number)
			last_number = n;
	}
	closedir(dir);
	return 0;
}

int store_open(const char *dir)
{
	char *mail = text_format("%s/mail", dir);
	int result = -1;

	root = text_copy(dir);
	if (mkdir(mail, 0755) == 0 || errno == EEXIST)
		result = look_around(mail);
	free(mail);
	return result;
}

void store_close(void)
{
	free(root);
	root = NULL;
}

static char *temporary(void)
{
	unsigned long n;

	pthread_mutex_lock(&lock);
	n = ++last_temporary;
	pthread_mutex_unlock(&lock);
	return text_format("%s/mail/tmp-%lu", root, n);
}

struct incoming *store_begin(void)
{
	struct incoming *incoming = text_alloc(sizeof(*incoming));

	incoming->path = temporary();
	incoming->fd = open(incoming->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	incoming->digest = EVP_MD_CTX_new();
	if (incoming->fd >= 0 && incoming->digest && EVP_DigestInit_ex(incoming->digest, EVP_sha256(), NULL))
		return incoming;
	store_abort(incoming);
	return NULL;
}

static int write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1;
		bytes += done;
		n -= (size_t)done;
	}
	return 0;
}

int store_write(struct incoming *incoming, const void *bytes, size_t n)
{
	EVP_DigestUpdate(incoming->digest, bytes, n);
	incoming->size += n;
	return write_all(incoming->fd, bytes, n);
}

static void incoming_free(struct incoming *incoming)
{
	if (incoming->fd >= 0)
		close(incoming->fd);
	EVP_MD_CTX_free(incoming->digest);
	free(incoming->path);
	free(incoming);
}

void store_abort(struct incoming *incoming)
{
	if (!incoming)
		return;
	unlink(incoming->path);
	incoming_free(incoming);
}

static void set_sha256(struct incoming *incoming, json_t *envelope)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned n = 0, i;

	EVP_DigestFinal_ex(incoming->digest, digest, &n);
	for (i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	json_object_set_new(envelope, "sha256", json_string(hex));
}

unsigned long store_commit(struct incoming *incoming, json_t *envelope)
{
	char *path, *name;
	unsigned long number;
	int failed;

	set_sha256(incoming, envelope);
	/* Under the lock: numbers are in the order in which the files appear. */
	pthread_mutex_lock(&lock);
	number = last_number + 1;
	json_object_set_new(envelope, "number", json_integer((json_int_t)number));
	json_object_set_new(envelope, "size", json_integer((json_int_t)incoming->size));
	path = text_format("%s/mail/%06lu.eml", root, number);
	name = text_format("mail/%06lu.json", number);
	failed = rename(incoming->path, path) < 0;
	if (!failed) {
		last_number = number;
		failed = store_json(name, envelope) < 0;
	}
	pthread_mutex_unlock(&lock);
	free(path);
	free(name);
	incoming_free(incoming);
	return failed ? 0 : number;
}

int store_file(const char *name, const char *text)
{
	char *path = text_format("%s/%s", root, name),
	     *draft = text_format("%s/mail/tmp-file-%p", root, (void *)&text);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), result = -1;

	if (fd >= 0) {
		result = write_all(fd, text, strlen(text));
		close(fd);
		if (result == 0)
			result = rename(draft, path);
	}
	free(path);
	free(draft);
	return result;
}

int store_json(const char *name, const json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	int result = text ? store_file(name, text) : -1;

	free(text);
	return result;
}
