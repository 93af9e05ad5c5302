/* A message that the sender dies of, by a fault of this program: it would die of it at every start, and no mail would leave any more.
 * What is in hand stands on the page of counters, where the next sender finds it. */
#ifndef MFDRELAY_SENDER_SUSPECT_H
#define MFDRELAY_SENDER_SUSPECT_H

#include <stdbool.h>

struct counters;

#define SUSPECT_DEATHS 3	/* in a row, with the same message in hand */
#define SUSPECT_REASON "the sender has died of it three times: report that, with the log, to who maintains mfdrelay"

/* At the sender's start. Until it has been called the others do nothing. */
void suspect_start(struct counters *counters);

/* Around whatever is done for a message. They do not nest: the inner end is the end. */
void suspect_begin(const char *id);
void suspect_end(void);

/* Whether it is not to be touched any more, but put aside. */
bool suspect_is(const char *id);

/* It has been put aside: where a person asks for it again, it is tried again as often. */
void suspect_forget(void);

#endif
