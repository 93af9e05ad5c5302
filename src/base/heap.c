#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static void place(struct heap *heap, struct heap_item *item, size_t at)
{
	heap->items[at - 1] = item;
	item->place = at;
}

static void sift_up(struct heap *heap, struct heap_item *item, size_t at)
{
	while (at > 1 && heap->items[at / 2 - 1]->key > item->key) {
		place(heap, heap->items[at / 2 - 1], at);
		at /= 2;
	}
	place(heap, item, at);
}

static void sift_down(struct heap *heap, struct heap_item *item, size_t at)
{
	size_t child;

	while ((child = at * 2) <= heap->count) {
		if (child < heap->count && heap->items[child]->key < heap->items[child - 1]->key)
			child++;
		if (heap->items[child - 1]->key >= item->key)
			break;
		place(heap, heap->items[child - 1], at);
		at = child;
	}
	place(heap, item, at);
}

void heap_push(struct heap *heap, struct heap_item *item, int64_t key)
{
	assert(item->place == 0);
	if (heap->count == heap->room) {
		heap->room = heap->room == 0 ? 64 : heap->room * 2;
		heap->items = xrealloc(heap->items, heap->room * sizeof *heap->items);
	}
	item->key = key;
	heap->count++;
	sift_up(heap, item, heap->count);
}

struct heap_item *heap_first(const struct heap *heap)
{
	return heap->count > 0 ? heap->items[0] : NULL;
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
	size_t at = item->place;

	if (at == 0)
		return;
	struct heap_item *last = heap->items[heap->count - 1];
	heap->count--;
	item->place = 0;
	if (last == item)
		return;
	if (at > 1 && heap->items[at / 2 - 1]->key > last->key)
		sift_up(heap, last, at);
	else
		sift_down(heap, last, at);
}

void heap_free(struct heap *heap)
{
	free(heap->items);
	*heap = (struct heap){NULL, 0, 0};
}
