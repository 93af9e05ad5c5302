/* A ration for each peer that has lately taken one. Bounded: where there are too many,
 * the one that has least to pay for is forgotten, and begins anew. */
#ifndef MFDRELAY_LISTENER_RATES_H
#define MFDRELAY_LISTENER_RATES_H

#include <netinet/in.h>

struct ration;
struct rates;

struct rates *rates_new(void);		/* 32 KiB */
void rates_free(struct rates *rates);	/* NULL is fine */

/* The ration of counted, a value of peer_counted (listener/peers.h). Borrowed until the next call. */
struct ration *rates_of(struct rates *rates, const struct in6_addr *counted);

#endif
