/* The peers that were refused because no entry of devices holds their address, newest first: what `mfdrelay unknown` shows. Kept
 * over restarts in var/unknown of the spool, as JSON; what was last told may be missing there after a crash. */
#ifndef MFDRELAY_SENDER_UNKNOWN_H
#define MFDRELAY_SENDER_UNKNOWN_H

#include <jansson.h>
#include <stdint.h>
#include "base/err.h"

#define UNKNOWN_MAX 256	/* of more, those that were seen last stay */

struct event_base;
struct handover_stranger;
struct spool;
struct unknown;

/* Read the file; one that is damaged is logged and left out. spool must outlive it. Starts a thread: after the sandbox. */
struct unknown *unknown_new(struct event_base *base, const struct spool *spool);

/* The listener has told of one. It is not believed that the texts end, or can be printed. */
void unknown_learn(struct unknown *unknown, const struct handover_stranger *stranger, int64_t wall_ms);

/* [ {"address":.., "helo":.., "sender":.., "recipient":.., "count":.., "first_ms":.., "last_ms":..}, .. ], newest first; wall clock.
 * The caller frees it. */
json_t *unknown_json(const struct unknown *unknown);

/* The same from the file, without a sender: empty where there is none. NULL with err when it cannot be read or is damaged. */
json_t *unknown_read(const struct spool *spool, struct err *err);

/* Writes what is not written yet. NULL is fine. */
void unknown_free(struct unknown *unknown);

#endif
