/* The non-delivery report: one mail that tells the sender which recipients were given up, why, and what to do. In words for a person,
 * and as RFC 3464 has it for programs. */
#ifndef MFDRELAY_SENDER_REPORT_H
#define MFDRELAY_SENDER_REPORT_H

#include "base/err.h"

struct config;
struct spool;
struct spool_draft;
struct spool_message;

/* Who is to be told of what a message could not reach. Its sender, where mail can come to that address and somebody but the
 * relay has it; else report_to; else NULL, nobody. Of a report that did not get there report_to alone is told, once, and of
 * one to report_to nobody. Borrowed. */
const char *report_recipient(const struct config *config, struct spool_message *message);

/* Begin the report on the recipients that stand as RECIPIENT_FAILED, with its content, ready for spool_commit. Its id is derived
 * from the message's and the number of reports so far. Returns NULL with err. */
struct spool_draft *report_begin(const struct config *config, struct spool *spool, struct spool_message *message,
    const char *recipient, struct err *err);

#endif
