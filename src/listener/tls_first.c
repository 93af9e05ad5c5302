#include "listener/tls_first.h"

#include <stdint.h>
#include <string.h>

#include "base/counters.h"

/* An address as the page has it: in two halves. A listener that reads while another writes may see halves of two addresses: that is
 * an address of nobody, mostly, and else a device that is greeted a little later. */
static void halve(const struct in6_addr *peer, uint64_t halves[2])
{
	memcpy(halves, peer->s6_addr, sizeof peer->s6_addr);
}

bool tls_first_has(const struct counters *counters, const struct in6_addr *peer)
{
	uint64_t halves[2], noted = counted(&counters->tls_first_count);

	halve(peer, halves);
	for (size_t i = 0; i < COUNTERS_TLS_FIRST && i < noted; i++)
		if (counted(&counters->tls_first[i][0]) == halves[0] &&
		    counted(&counters->tls_first[i][1]) == halves[1])
			return true;
	return false;
}

void tls_first_note(struct counters *counters, const struct in6_addr *peer)
{
	uint64_t halves[2];

	if (tls_first_has(counters, peer))
		return;
	halve(peer, halves);
	size_t slot = atomic_fetch_add_explicit(&counters->tls_first_count, 1, memory_order_relaxed) %
		      COUNTERS_TLS_FIRST;
	for (size_t i = 0; i < 2; i++)
		atomic_store_explicit(&counters->tls_first[slot][i], halves[i], memory_order_relaxed);
}
