#include "listener/auth.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/mem.h"
#include "base/work.h"
#include "config/config.h"
#include "smtp/sasl.h"

#define AUTH_THREADS 2

struct auth {
	const struct config *config;
	struct work_pool *pool;
	const char *stand_in; /* the hash that an unknown user's password is held against */
};

struct auth_check {
	struct work_job job;
	auth_fn *fn; /* NULL: cancelled */
	void *arg;
	const struct device *device; /* NULL: unknown user */
	const char *hash;
	char *password;
	bool matches;
	int error; /* errno: there is no telling; 0: there is */
};

static void compare(struct auth_check *check)
{
	struct crypt_data data;
	size_t n = strlen(check->hash);
	const char *made;

	memset(&data, 0, sizeof data);
	errno = 0;
	made = crypt_rn(check->password, check->hash, &data, (int)sizeof data);
	if (made == NULL)
		check->error = errno != 0 ? errno : EINVAL;
	else
		check->matches = strlen(made) == n && CRYPTO_memcmp(made, check->hash, n) == 0;
	OPENSSL_cleanse(&data, sizeof data);
}

static void check_batch(struct work_job *const *jobs, size_t n, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		compare((struct auth_check *)jobs[i]);
}

static void on_checked(struct work_job *job)
{
	struct auth_check *check = (struct auth_check *)job;

	if (check->fn != NULL)
		check->fn(check->arg, check->matches ? check->device : NULL, check->error);
	OPENSSL_cleanse(check->password, strlen(check->password));
	free(check->password);
	free(check);
}

static const struct device *first_with_user(const struct config *config)
{
	for (size_t i = 0; i < config->device_count; i++) {
		if (config->devices[i].user != NULL)
			return &config->devices[i];
	}
	return NULL;
}

struct auth *auth_new(struct event_base *base, const struct config *config)
{
	const struct device *first = first_with_user(config);
	struct auth *auth;

	if (first == NULL)
		return NULL;
	auth = xcalloc(1, sizeof *auth);
	auth->config = config;
	/* One of the admin's own: it costs what the others cost, whatever method they were made with. */
	auth->stand_in = first->password_hash;
	auth->pool = work_pool_new(base, "passwords", AUTH_THREADS, 1, check_batch, NULL);
	return auth;
}

struct auth_check *auth_check(
    struct auth *auth, const struct sasl_login *login, const struct in6_addr *peer, auth_fn *fn, void *arg)
{
	struct auth_check *check = xcalloc(1, sizeof *check);

	check->job.done = on_checked;
	check->fn = fn;
	check->arg = arg;
	check->device = config_device_by_user(auth->config, login->user, peer);
	check->hash = check->device != NULL ? check->device->password_hash : auth->stand_in;
	check->password = xstrdup(login->password);
	work_submit(auth->pool, &check->job);
	return check;
}

void auth_cancel(struct auth_check *check)
{
	if (check != NULL)
		check->fn = NULL;
}

void auth_free(struct auth *auth)
{
	if (auth == NULL)
		return;
	work_pool_free(auth->pool);
	free(auth);
}
