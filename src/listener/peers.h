/* How many sessions each peer has open, and what a peer is. */
#ifndef MFDRELAY_LISTENER_PEERS_H
#define MFDRELAY_LISTENER_PEERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct peers;

/* The network of 64 bits of an IPv6 address, in which a host can have any address it likes; an IPv4 address (v4-mapped) itself. */
struct in6_addr peer_network(const struct in6_addr *address);

/* What an address is counted as: itself where the config lists it, for its neighbours in an office's one network must not use up
 * what is its own; else its network, so that a stranger gets no more by having many addresses. */
struct in6_addr peer_counted(const struct in6_addr *address, bool listed);

struct peers *peers_new(void);
void peers_free(struct peers *peers);	/* NULL is fine */

/* Count one session more of counted, a value of peer_counted. Returns false, nothing counted, when it has max
 * already. Each true is matched by one peers_leave. Both take time logarithmic in the number of peers. */
bool peers_enter(struct peers *peers, const struct in6_addr *counted, unsigned max);
void peers_leave(struct peers *peers, const struct in6_addr *counted);

/* Peers with at least one session. */
size_t peers_count(const struct peers *peers);

#endif
