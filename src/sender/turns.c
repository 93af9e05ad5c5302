#include "sender/turns.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct turns {
	size_t count;
	unsigned roads[];
};

struct turns *turns_new(size_t count)
{
	struct turns *turns = xcalloc(1, sizeof *turns + count * sizeof turns->roads[0]);

	turns->count = count;
	for (size_t i = 0; i < count; i++)
		turns->roads[i] = (unsigned)i;
	return turns;
}

unsigned turns_at(const struct turns *turns, size_t place)
{
	return turns->roads[place];
}

void turns_used(struct turns *turns, unsigned road)
{
	size_t i = 0;

	while (turns->roads[i] != road)
		i++;
	memmove(&turns->roads[i], &turns->roads[i + 1], (turns->count - i - 1) * sizeof turns->roads[0]);
	turns->roads[turns->count - 1] = road;
}

void turns_free(struct turns *turns)
{
	free(turns);
}
