/* The config file, strictly and leniently: whatever it holds there is a config or an error with words, never
 * a crash. */
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "config/load.h"
#include "fuzz.h"

static void check_problems(struct config_problems *problems)
{
	PROMISE(problems->count <= CONFIG_PROBLEMS_MAX);
	for (size_t i = 0; i < problems->count; i++)
		PROMISE(problems->items[i].text[0] != '\0' && problems->items[i].line >= 0);
	config_problems_free(problems);
}

static void check_config(const struct config *config)
{
	const struct in6_addr address = {{{[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 5}}};

	for (size_t i = 0; i < config->route_count; i++)
		for (size_t k = 0; k < config->routes[i].via_count; k++)
			PROMISE(config->routes[i].via[k] < config->upstream_count);
	PROMISE(config_route(config, "mfd", "someone@contoso.com") < (int)config->route_count);
	config_device_by_address(config, &address);
	config_device_by_user(config, "scanner", &address);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct config_problems problems;
	char path[40];
	int fd = memfd_create("config", MFD_CLOEXEC);

	PROMISE(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	struct config *config = config_load(path, &problems);
	PROMISE((config == NULL) == (problems.errors > 0));
	if (config != NULL)
		check_config(config);
	config_free(config);
	check_problems(&problems);
	config_free(config_load_lenient(path, &problems));
	check_problems(&problems);
	close(fd);
	return 0;
}
