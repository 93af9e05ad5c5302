#include "listener/rates.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <openssl/rand.h>

#include "base/mem.h"
#include "base/ration.h"

#define ROWS 256
#define WAYS 4 /* peers that meet in a row */

struct entry {
	struct in6_addr counted;
	struct ration ration; /* due_us 0: the entry is free */
};

struct rates {
	uint64_t seed; /* so that nobody can choose addresses that meet */
	struct entry rows[ROWS][WAYS];
};

struct rates *rates_new(void)
{
	struct rates *rates = xcalloc(1, sizeof *rates);

	/* Without it the rates hold all the same, only less evenly. */
	if (RAND_bytes((unsigned char *)&rates->seed, sizeof rates->seed) != 1)
		rates->seed = (uint64_t)(uintptr_t)rates;
	return rates;
}

void rates_free(struct rates *rates)
{
	free(rates);
}

/* FNV-1a, and what splitmix64 ends with. */
static size_t row_of(const struct rates *rates, const struct in6_addr *counted)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ rates->seed;

	for (size_t i = 0; i < sizeof counted->s6_addr; i++)
		hash = (hash ^ counted->s6_addr[i]) * UINT64_C(0x100000001b3);
	hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return (size_t)(hash >> 32) % ROWS;
}

struct ration *rates_of(struct rates *rates, const struct in6_addr *counted)
{
	struct entry *row = rates->rows[row_of(rates, counted)], *least = row;

	for (size_t i = 0; i < WAYS; i++) {
		if (row[i].ration.due_us != 0 && IN6_ARE_ADDR_EQUAL(&row[i].counted, counted))
			return &row[i].ration;
		if (row[i].ration.due_us < least->ration.due_us)
			least = &row[i];
	}
	*least = (struct entry){.counted = *counted};
	return &least->ration;
}
