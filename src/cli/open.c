#include "cli/open.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "config/load.h"
#include "spool/spool.h"

struct config *open_config(const char *file, int *status)
{
	struct config_problems problems = {NULL, 0, 0};
	struct config *config = config_load_lenient(file, &problems);

	for (size_t i = 0; config == NULL && i < problems.count; i++)
		if (problems.items[i].is_error)
			fprintf(stderr, "%s\n", problems.items[i].text);
	if (config != NULL && problems.errors > 0)
		fprintf(stderr,
		    "mfdrelay: %s has errors now: see mfdrelay check. A daemon that runs goes on with what "
		    "it had.\n",
		    file);
	config_problems_free(&problems);
	*status = access(file, R_OK) < 0 && errno == EACCES ? EX_NOPERM : EX_CONFIG;
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
