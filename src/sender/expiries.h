/* The ends of credentials, and of the certificates that devices are shown, that are near (config/expiry.h), for the log and for
 * status. */
#ifndef MFDRELAY_SENDER_EXPIRIES_H
#define MFDRELAY_SENDER_EXPIRIES_H

#include <jansson.h>

struct config;

/* One line for each, the more urgent the nearer. */
void expiries_log(const struct config *config);

/* [{"upstream":.., "key":.., "what":.., "at":.., "days":.., "text":..}, ..], those that are near, upstream null
 * for what devices are shown; what is less than 7 days away or
 * over is a sentence of alarms too. */
json_t *expiries_json(const struct config *config, json_t *alarms);

#endif
