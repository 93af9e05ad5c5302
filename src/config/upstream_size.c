#include "config/upstream_size.h"

#include <stddef.h>

#include "base/counters.h"
#include "config/config.h"

static uint64_t fnv1a(uint64_t hash, const char *text)
{
	/* The NUL too: it parts the fields. */
	do {
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	} while (*text++ != '\0');
	return hash;
}

uint64_t upstream_size_key(const struct upstream_config *upstream)
{
	uint64_t hash = fnv1a(UINT64_C(0xcbf29ce484222325), upstream->name);

	hash = fnv1a(hash, upstream->host != NULL ? upstream->host : "");
	hash = (hash ^ upstream->port) * UINT64_C(0x100000001b3);
	return hash != 0 ? hash : 1;
}

/* 0: nothing is known. */
static uint64_t learned(const struct upstream_config *upstream, const struct counters *counters)
{
	uint64_t key = upstream_size_key(upstream);

	for (size_t i = 0; i < COUNTERS_UPSTREAMS; i++) {
		uint64_t bytes = atomic_load(&counters->upstream_sizes[i].bytes);
		if ((atomic_load(&counters->upstream_sizes[i].keyed) ^ bytes) == key)
			return bytes;
	}
	return 0;
}

uint64_t upstream_size(const struct upstream_config *upstream, const struct counters *counters)
{
	uint64_t known = upstream->limits.message_size, said = learned(upstream, counters);

	if (said > UPSTREAM_SIZE_SPARE)
		said -= UPSTREAM_SIZE_SPARE;
	if (said == 0 || known == 0)
		return said + known;
	return said < known ? said : known;
}

/* The listener, which may look between the two, must not take one upstream's size for another's. */
void upstream_size_learned(struct counters *counters, unsigned number, uint64_t key, uint64_t bytes)
{
	atomic_store(&counters->upstream_sizes[number].bytes, bytes);
	atomic_store(&counters->upstream_sizes[number].keyed, key ^ bytes);
}
