#include "listener/storm.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"

#define HOUR_MS (3600 * 1000LL)

struct storm {
	int64_t begun_ms;
	uint64_t messages; /* 0: no hour has begun */
	bool stopped;	   /* and that was said */
};

struct storms {
	const struct config *config;
	struct storm *of_device; /* in the order of config->devices */
};

struct storms *storms_new(const struct config *config)
{
	struct storms *storms = xcalloc(1, sizeof *storms);

	storms->config = config;
	storms->of_device = xcalloc(config->device_count + 1, sizeof *storms->of_device);
	return storms;
}

void storms_free(struct storms *storms)
{
	if (storms == NULL)
		return;
	free(storms->of_device);
	free(storms);
}

static struct storm *storm_of(struct storms *storms, const struct device *device, int64_t now_ms)
{
	struct storm *storm = &storms->of_device[device - storms->config->devices];

	if (storm->messages > 0 && now_ms - storm->begun_ms >= HOUR_MS)
		*storm = (struct storm){0};
	return storm;
}

static void log_storm(const struct device *device, uint64_t messages, const char *consequence)
{
	log_event(LOG_LEVEL_WARNING, "storm", kv_str("device", device->name), kv_u64("messages", messages),
	    kv_u64("messages_per_hour", device->messages_per_hour), kv_str("consequence", consequence),
	    kv_str("remedy", "find out why it sends so many, or raise devices.messages_per_hour"));
}

void storm_count(struct storms *storms, const struct device *device, int64_t now_ms)
{
	struct storm *storm = storm_of(storms, device, now_ms);

	if (device->messages_per_hour == 0)
		return;
	if (storm->messages++ == 0)
		storm->begun_ms = now_ms;
	if (storm->messages == (uint64_t)device->messages_per_hour + 1)
		log_storm(device, storm->messages, "none yet; three times as many in an hour are deferred");
}

bool storm_stops(
    struct storms *storms, const struct device *device, int64_t now_ms, int64_t *left_ms, bool *first)
{
	struct storm *storm = storm_of(storms, device, now_ms);

	if (device->messages_per_hour == 0 ||
	    storm->messages < (uint64_t)device->messages_per_hour * STORM_STOP_FACTOR)
		return false;
	*left_ms = storm->begun_ms + HOUR_MS - now_ms;
	*first = !storm->stopped;
	if (*first)
		log_storm(device, storm->messages, "deferred until the hour is over");
	storm->stopped = true;
	return true;
}
