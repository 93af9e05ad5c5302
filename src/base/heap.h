/* A binary min-heap of things that lie in the caller's structs, by a 64-bit key (a time). Each item knows its
 * place, so that any can be taken out in O(log n). */
#ifndef MFDRELAY_BASE_HEAP_H
#define MFDRELAY_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
	int64_t key;
	size_t place;	/* 1-based; 0 while in no heap, so a zeroed item is ready for use */
};

struct heap {
	struct heap_item **items;
	size_t count, room;
};

void heap_push(struct heap *heap, struct heap_item *item, int64_t key);	/* item is in no heap */
struct heap_item *heap_first(const struct heap *heap);			/* smallest key, or NULL */
void heap_remove(struct heap *heap, struct heap_item *item);		/* nothing when it is in no heap */
void heap_free(struct heap *heap);					/* the array only */

#endif
