/* How many messages of each device were taken in the present hour, held against its messages_per_hour. The hour begins with the
 * first message after the last one has ended. Counts are this process's: they begin anew with a reload. */
#ifndef MFDRELAY_LISTENER_STORM_H
#define MFDRELAY_LISTENER_STORM_H

#include <stdbool.h>
#include <stdint.h>

#define STORM_STOP_FACTOR 3	/* so many times the figure until messages are deferred */

struct config;
struct device;
struct storms;

/* config must outlive it. */
struct storms *storms_new(const struct config *config);
void storms_free(struct storms *storms);	/* NULL is fine */

/* A message of device (an entry of config) was taken at now_ms (monotonic). The first one beyond the figure of an hour is logged. */
void storm_count(struct storms *storms, const struct device *device, int64_t now_ms);

/* Whether its next message is to be deferred; *left_ms is then the time until it is not. *first: nobody was told in this hour
 * yet, and it is logged now. */
bool storm_stops(struct storms *storms, const struct device *device, int64_t now_ms, int64_t *left_ms, bool *first);

#endif
