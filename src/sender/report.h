/* The non-delivery report: one mail that tells the sender which recipients were given up, why, and what to do. */
#ifndef MFDRELAY_SENDER_REPORT_H
#define MFDRELAY_SENDER_REPORT_H

#include "base/err.h"

struct config;
struct spool;
struct spool_draft;
struct spool_message;

/* Who is to be told of what a message could not reach: its sender where that is an address with a route, else report_to, else
 * NULL: nobody (reports themselves are never reported on). Borrowed. */
const char *report_recipient(const struct config *config, const struct spool_message *message);

/* Begin the report on the recipients that stand as RECIPIENT_FAILED, with its content, ready for spool_commit. Its id is derived
 * from the message's and the number of reports so far. Returns NULL with err. */
struct spool_draft *report_begin(const struct config *config, struct spool *spool, struct spool_message *message,
    const char *recipient, struct err *err);

#endif
