#include "cli/reload.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/ask.h"
#include "config/config.h"
#include "spool/spool.h"

#define LOOK_AGAIN_MS 100
#define LOOK_TIMES    100

/* What of the status tells one reload from another. */
struct loaded {
	char file[PATH_MAX];
	long long loaded_ms, refused_ms; /* wall clock; refused 0: never */
};

static bool look(const struct config *config, struct loaded *out)
{
	struct err err = {""};
	json_t *status = ask_daemon(config, json_pack("{s:s}", "command", "status"), &err);
	const json_t *loaded = json_object_get(status, "config");
	const char *file = json_string_value(json_object_get(loaded, "file"));

	if (file != NULL)
		*out = (struct loaded){.loaded_ms = json_integer_value(json_object_get(loaded, "loaded_ms")),
		    .refused_ms = json_integer_value(json_object_get(loaded, "refused_ms"))};
	snprintf(out->file, sizeof out->file, "%s", file != NULL ? file : "");
	json_decref(status);
	return out->file[0] != '\0';
}

/* A relative path is one of the daemon's folder, which we do not know. */
static bool is_same_file(const char *a, const char *b)
{
	char real_a[PATH_MAX], real_b[PATH_MAX];

	if (a[0] != '/' || realpath(a, real_a) == NULL || realpath(b, real_b) == NULL)
		return true;
	return strcmp(real_a, real_b) == 0;
}

static int complain(const char *what, const char *remedy)
{
	fprintf(stderr, "mfdrelay: the relay has not reloaded: %s; %s\n", what, remedy);
	return 1;
}

static int wait_for_it(const struct config *config, const struct loaded *before)
{
	for (int i = 0; i < LOOK_TIMES; i++) {
		struct loaded now;
		if (look(config, &now) && now.loaded_ms != before->loaded_ms) {
			printf("the relay has reloaded\n");
			return 0;
		}
		if (now.file[0] != '\0' && now.refused_ms != before->refused_ms)
			return complain("it refuses the config", "why: journalctl -u mfdrelay");
		clock_rest_us(LOOK_AGAIN_MS * 1000);
	}
	return complain("it was told to, and nothing came of it", "see its log: journalctl -u mfdrelay");
}

int reload_daemon(const struct config *config)
{
	struct loaded before;

	if (!spool_is_locked(config->spool)) {
		printf("the relay does not run: it reads this when it starts\n");
		return 0;
	}
	if (!look(config, &before))
		return complain("it does not say what it does", "run: systemctl reload mfdrelay");
	if (!is_same_file(before.file, config->file))
		return complain(before.file, "that is the config it runs with: name it with -c FILE");
	pid_t pid = spool_locked_by(config->spool);
	if (pid <= 0 || kill(pid, SIGHUP) < 0)
		return complain(pid > 0 ? strerror(errno) : "its process is not to be found",
		    "run: systemctl reload mfdrelay");
	return wait_for_it(config, &before);
}
