#include "arc_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "options.h"
#include "text.h"

#define KEYS_MAX 16
#define KEY_N	 64

struct key {
	char name[TEXT_GUID]; /* "": none */
	char text[KEY_N + 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct key keys[KEYS_MAX];
static unsigned next;

static char *path_of(const struct options *options, const char *name)
{
	return text_format("%s/azcmagent/tokens/%s.key", options->dir, name);
}

static void make_folders(const struct options *options)
{
	char *above = text_format("%s/azcmagent", options->dir), *folder = text_format("%s/tokens", above);

	mkdir(above, 0755);
	mkdir(folder, 0750);
	free(folder);
	free(above);
}

static int write_key(const struct options *options, const struct key *key)
{
	char *path = path_of(options, key->name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	bool good = fd >= 0 && write(fd, key->text, KEY_N) == KEY_N;

	if (fd >= 0)
		close(fd);
	free(path);
	return good ? 0 : -1;
}

/* Under the lock. */
static void forget(const struct options *options, struct key *key)
{
	char *path = path_of(options, key->name);

	if (key->name[0])
		unlink(path);
	free(path);
	memset(key, 0, sizeof(*key));
}

char *arc_key_new(const struct options *options)
{
	struct key key;
	char *path = NULL;

	make_folders(options);
	text_guid(key.name);
	text_random_hex(key.text, KEY_N);
	pthread_mutex_lock(&lock);
	if (write_key(options, &key) == 0) {
		forget(options, &keys[next]);
		keys[next] = key;
		next = (next + 1) % KEYS_MAX;
		path = text_format("/var/opt/azcmagent/tokens/%s.key", key.name);
	}
	pthread_mutex_unlock(&lock);
	return path;
}

bool arc_key_use(const struct options *options, const char *key)
{
	bool found = false;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < KEYS_MAX && !found; i++) {
		found = strlen(key) == KEY_N && CRYPTO_memcmp(keys[i].text, key, KEY_N) == 0;
		if (found)
			forget(options, &keys[i]);
	}
	pthread_mutex_unlock(&lock);
	return found;
}
