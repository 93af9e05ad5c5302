#include "cli/open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "config/load.h"
#include "spool/spool.h"

static void print_errors(const struct config_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		if (problems->items[i].is_error)
			fprintf(stderr, "%s\n", problems->items[i].text);
}

/* What to exit with where there is no config. */
static int status_of(const char *file)
{
	return access(file, R_OK) < 0 && errno == EACCES ? EX_NOPERM : EX_CONFIG;
}

static void print_warnings(const struct config_problems *problems, const char *about)
{
	for (size_t i = 0; i < problems->count; i++)
		if (strncmp(problems->items[i].text, about, strlen(about)) == 0)
			fprintf(stderr, "%s\n", problems->items[i].text);
}

struct config *load_or_tell(const char *file, const char *about, int *status)
{
	struct config_problems problems = {NULL, 0, 0};
	struct config *config = config_load(file, &problems);

	if (config == NULL)
		print_errors(&problems);
	else if (about != NULL)
		print_warnings(&problems, about);
	config_problems_free(&problems);
	*status = status_of(file);
	return config;
}

struct config *open_config(const char *file, int *status)
{
	struct config_problems problems = {NULL, 0, 0};
	struct config *config = config_load_lenient(file, &problems);

	if (config == NULL)
		print_errors(&problems);
	if (config != NULL && problems.errors > 0)
		fprintf(stderr,
		    "mfdrelay: %s has errors now: see mfdrelay check. A daemon that runs goes on with what "
		    "it had.\n",
		    file);
	config_problems_free(&problems);
	*status = status_of(file);
	return config;
}

struct spool *open_spool(const struct config *config)
{
	struct err err = {""};
	struct spool *spool = spool_open(config->spool, NULL, config->limits.free_space, &err);

	if (spool == NULL) {
		int saved_errno = errno;
		fprintf(stderr, "mfdrelay: %s\n", err.text);
		errno = saved_errno;
	}
	return spool;
}
