/* How many sessions each address has open; of IPv6, each network of 64 bits. */
#ifndef MFDRELAY_LISTENER_PEERS_H
#define MFDRELAY_LISTENER_PEERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct peers;

/* What an address counts as: itself; of IPv6 its network of 64 bits, in which a host can have any address it likes. */
struct in6_addr peer_network(const struct in6_addr *address);

struct peers *peers_new(void);
void peers_free(struct peers *peers);	/* NULL is fine */

/* Count one session more of address (IPv4 as v4-mapped). Returns false, nothing counted, when it has max
 * already. Each true is matched by one peers_leave. Both take time logarithmic in the number of addresses. */
bool peers_enter(struct peers *peers, const struct in6_addr *address, unsigned max);
void peers_leave(struct peers *peers, const struct in6_addr *address);

/* Addresses with at least one session. */
size_t peers_count(const struct peers *peers);

#endif
