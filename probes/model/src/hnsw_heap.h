/* Binary heaps of neighbours. The memory belongs to the caller and never moves. */
#ifndef HNSW_HEAP_H
#define HNSW_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct hnsw_neighbour {
	float distance;
	uint32_t id;
};

struct hnsw_heap {
	struct hnsw_neighbour *items;
	uint32_t count;
};

/* The one order of the whole index: by distance, equal distances by id. Without the second
 * key, two walks that meet ties in a different order would give different answers. */
static inline bool hnsw_nearer(struct hnsw_neighbour left, struct hnsw_neighbour right)
{
	if (left.distance != right.distance)
		return left.distance < right.distance;
	return left.id < right.id;
}

/* `farthest_first` chooses which end of the order is at the top. */
static inline bool hnsw_above(struct hnsw_neighbour left, struct hnsw_neighbour right,
			      bool farthest_first)
{
	return farthest_first ? hnsw_nearer(right, left) : hnsw_nearer(left, right);
}

static inline void hnsw_heap_push(struct hnsw_heap *heap, struct hnsw_neighbour item,
				  bool farthest_first)
{
	uint32_t hole = heap->count++;

	while (hole > 0) {
		uint32_t parent = (hole - 1) / 2;

		if (!hnsw_above(item, heap->items[parent], farthest_first))
			break;
		heap->items[hole] = heap->items[parent];
		hole = parent;
	}
	heap->items[hole] = item;
}

/* Puts `item` in the place of the top. The heap is not empty. */
static inline void hnsw_heap_replace_top(struct hnsw_heap *heap, struct hnsw_neighbour item,
					 bool farthest_first)
{
	uint32_t hole = 0;

	for (;;) {
		uint32_t child = 2 * hole + 1;

		if (child >= heap->count)
			break;
		if (child + 1 < heap->count &&
		    hnsw_above(heap->items[child + 1], heap->items[child], farthest_first))
			child++;
		if (!hnsw_above(heap->items[child], item, farthest_first))
			break;
		heap->items[hole] = heap->items[child];
		hole = child;
	}
	heap->items[hole] = item;
}

/* Takes the top away. The heap is not empty. */
static inline struct hnsw_neighbour hnsw_heap_pop(struct hnsw_heap *heap, bool farthest_first)
{
	struct hnsw_neighbour top = heap->items[0];

	heap->count--;
	if (heap->count > 0)
		hnsw_heap_replace_top(heap, heap->items[heap->count], farthest_first);
	return top;
}

/* Turns a farthest-first heap, in place, into a list with the nearest first. */
static inline void hnsw_heap_to_sorted(struct hnsw_heap *heap)
{
	uint32_t count = heap->count;

	while (heap->count > 0) {
		uint32_t last = heap->count - 1;

		heap->items[last] = hnsw_heap_pop(heap, true);
	}
	heap->count = count;
}

#endif
