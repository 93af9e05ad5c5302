#include "sender/signer.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/task.h"
#include "config/config.h"
#include "net/key.h"
#include "sender/assertion.h"

/* A provider's key, which stays loaded. */
struct loaded {
	const struct app_credential *credential;
	struct key_pair pair; /* empty: err says why */
	struct err err;
	SLIST_ENTRY(loaded) next;
};

struct signer {
	struct task_pool *tasks;
	SLIST_HEAD(, loaded) loaded;
};

struct signing {
	struct task task;
	const struct app_credential *credential;
	const struct loaded *loaded; /* NULL: the key is in a file */
	char *audience, *client_id;
	int64_t now_s;
	signer_fn *fn; /* NULL: cancelled */
	void *arg;
	struct secret assertion; /* empty: err says why */
	struct err err;
};

static void run(struct task *task)
{
	struct signing *signing = (struct signing *)(void *)task;
	struct key_pair own = {.key = NULL};
	struct assertion what = {.pair = &own,
	    .alg = signing->credential->assertion_alg,
	    .audience = signing->audience,
	    .client_id = signing->client_id,
	    .now_s = signing->now_s};

	if (signing->loaded != NULL && signing->loaded->pair.key == NULL) {
		signing->err = signing->loaded->err;
		return;
	}
	if (signing->loaded != NULL)
		what.pair = &signing->loaded->pair;
	else if (key_pair_load(
		     &own, signing->credential->certificate, signing->credential->key, &signing->err) < 0)
		return;
	assertion_make(&signing->assertion, &what, &signing->err);
	key_pair_free(&own);
}

static void on_signed(struct task *task)
{
	struct signing *signing = (struct signing *)(void *)task;
	bool made = signing->assertion.bytes != NULL;

	if (signing->fn != NULL)
		signing->fn(signing->arg, made ? &signing->assertion : NULL, made ? NULL : signing->err.text);
	secret_free(&signing->assertion);
	free(signing->audience);
	free(signing->client_id);
	free(signing);
}

struct signer *signer_new(struct task_pool *tasks)
{
	struct signer *signer = xcalloc(1, sizeof *signer);

	signer->tasks = tasks;
	SLIST_INIT(&signer->loaded);
	return signer;
}

void signer_load(struct signer *signer, const struct app_credential *credential)
{
	struct loaded *loaded;

	if (credential->key == NULL || !key_is_uri(credential->key))
		return;
	loaded = xcalloc(1, sizeof *loaded);
	loaded->credential = credential;
	key_pair_load(&loaded->pair, credential->certificate, credential->key, &loaded->err);
	SLIST_INSERT_HEAD(&signer->loaded, loaded, next);
}

static const struct loaded *find_loaded(const struct signer *signer, const struct app_credential *credential)
{
	const struct loaded *loaded;

	SLIST_FOREACH(loaded, &signer->loaded, next)
		if (loaded->credential == credential)
			return loaded;
	return NULL;
}

struct signing *signer_sign(struct signer *signer, const struct app_credential *credential,
    const char *audience, const char *client_id, signer_fn *fn, void *arg)
{
	struct signing *signing = xcalloc(1, sizeof *signing);

	signing->task.run = run;
	signing->task.done = on_signed;
	signing->credential = credential;
	signing->loaded = find_loaded(signer, credential);
	signing->audience = xstrdup(audience);
	signing->client_id = xstrdup(client_id);
	signing->now_s = clock_wall_ms() / 1000;
	signing->fn = fn;
	signing->arg = arg;
	task_submit(signer->tasks, &signing->task);
	return signing;
}

void signing_cancel(struct signing *signing)
{
	if (signing != NULL)
		signing->fn = NULL;
}

void signer_free(struct signer *signer)
{
	struct loaded *loaded;

	if (signer == NULL)
		return;
	while ((loaded = SLIST_FIRST(&signer->loaded)) != NULL) {
		SLIST_REMOVE_HEAD(&signer->loaded, next);
		key_pair_free(&loaded->pair);
		free(loaded);
	}
	free(signer);
}
