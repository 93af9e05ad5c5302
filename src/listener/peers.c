#include "listener/peers.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct peer {
	struct in6_addr counted;
	unsigned sessions;
};

struct peers {
	void *tree; /* tsearch(3): balanced, so no choice of addresses makes it slow */
	size_t count;
};

static int compare(const void *a, const void *b)
{
	const struct peer *left = a, *right = b;

	return memcmp(&left->counted, &right->counted, sizeof left->counted);
}

struct peers *peers_new(void)
{
	return xcalloc(1, sizeof(struct peers));
}

void peers_free(struct peers *peers)
{
	if (peers == NULL)
		return;
	tdestroy(peers->tree, free);
	free(peers);
}

struct in6_addr peer_network(const struct in6_addr *address)
{
	struct in6_addr network = *address;

	if (!IN6_IS_ADDR_V4MAPPED(address))
		memset(&network.s6_addr[8], 0, 8);
	return network;
}

struct in6_addr peer_counted(const struct in6_addr *address, bool listed)
{
	return listed ? *address : peer_network(address);
}

static struct peer *find(const struct peers *peers, const struct in6_addr *counted)
{
	struct peer key = {.counted = *counted};
	struct peer *const *found = tfind(&key, &peers->tree, compare);

	return found != NULL ? *found : NULL;
}

static struct peer *add(struct peers *peers, const struct in6_addr *counted)
{
	struct peer *peer = xcalloc(1, sizeof *peer);

	peer->counted = *counted;
	if (tsearch(peer, &peers->tree, compare) == NULL)
		mem_exhausted();
	peers->count++;
	return peer;
}

bool peers_enter(struct peers *peers, const struct in6_addr *counted, unsigned max)
{
	struct peer *peer = find(peers, counted);

	if (peer == NULL)
		peer = add(peers, counted);
	else if (peer->sessions >= max)
		return false;
	peer->sessions++;
	return true;
}

void peers_leave(struct peers *peers, const struct in6_addr *counted)
{
	struct peer *peer = find(peers, counted);

	assert(peer != NULL && peer->sessions > 0);
	if (--peer->sessions > 0)
		return;
	tdelete(peer, &peers->tree, compare);
	free(peer);
	peers->count--;
}

size_t peers_count(const struct peers *peers)
{
	return peers->count;
}
