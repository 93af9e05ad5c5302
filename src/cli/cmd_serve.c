#include <stdio.h>
#include <sysexits.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/load.h"
#include "supervisor/supervisor.h"

static const char usage[] =
    "usage: mfdrelay serve [-c FILE] [--debug]\n"
    "\n"
    "Run the relay in the foreground until SIGTERM; log to stderr. SIGHUP reads the config again.\n"
    "  -c FILE   the config (default " CONFIG_DEFAULT_FILE ")\n"
    "  --debug   log each connection and each step of the dialogues too\n";

static struct config *load(const char *file)
{
	struct config_problems problems = {NULL, 0, 0};
	struct config *config = config_load(file, &problems);

	for (size_t i = 0; i < problems.count; i++)
		log_event(problems.items[i].is_error ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING, "config",
		    kv_words("problem", problems.items[i].text));
	config_problems_free(&problems);
	return config;
}

int cmd_serve(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "cd", usage, &options);

	if (status >= 0)
		return status;
	log_init("supervisor");
	if (options.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	struct config *config = load(options.file);
	return config != NULL ? supervisor_run(config) : EX_CONFIG;
}
