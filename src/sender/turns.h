/* Whose turn it is among the roads: that whose last message was begun longest ago. So a window that several upstreams of a mailbox
 * share, and that opens for one message at a time, is nobody's alone. */
#ifndef MFDRELAY_SENDER_TURNS_H
#define MFDRELAY_SENDER_TURNS_H

#include <stddef.h>

struct turns;

/* Roads 0 to count - 1, in that order for a start. */
struct turns *turns_new(size_t count);

/* The road at a place: 0 has the first turn. */
unsigned turns_at(const struct turns *turns, size_t place);

/* The road has begun a message: its turn is the last, and those behind it move up by a place. */
void turns_used(struct turns *turns, unsigned road);

void turns_free(struct turns *turns);	/* NULL is fine */

#endif
