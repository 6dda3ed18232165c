/* Walks over the graph: down through the layers, and along one layer.
 *
 * The bottom layer is walked for a query in one of two ways. Both take the nearest open node,
 * look at its unvisited neighbours, and stop when the nearest open node is farther than the
 * worst of `ef` results (algorithm 2 of the paper). They meet the same nodes in the same order.
 *
 * - hnsw_walk_layer() is a loop; its queues are on the heap. Insertion always uses it.
 * - walk() calls itself for every node that it expands and keeps that node's neighbours in its
 *   own frame until the final bound is known, about 2 KiB for each. It is the shape of code
 *   that overflows stacks: its depth grows with ef and with the number of vectors.
 */
#include "hnsw.h"

#include <string.h>

#include "hnsw_distance.h"

struct search {
	struct hnsw *index;
	const float *query;
	uint32_t layer;
	uint32_t ef;
	struct hnsw_heap open; /* nearest first: found and not expanded */
	struct hnsw_heap best; /* farthest first: the ef nearest so far */
};

static bool visited(struct hnsw *index, uint32_t id)
{
	if (index->marks[id] == index->epoch)
		return true;
	index->marks[id] = index->epoch;
	return false;
}

/* A node was seen: it becomes a result and is to be expanded, if it is near enough. */
static void offer(struct search *search, struct hnsw_neighbour node)
{
	if (search->best.count < search->ef)
		hnsw_heap_push(&search->best, node, true);
	else if (hnsw_nearer(node, search->best.items[0]))
		hnsw_heap_replace_top(&search->best, node, true);
	else
		return;
	hnsw_heap_push(&search->open, node, false);
}

static void begin(struct search *search, struct hnsw_neighbour start)
{
	hnsw_forget_marks(search->index);
	visited(search->index, start.id);
	offer(search, start);
}

/* Takes the nearest open node, unless nothing that it leads to can become a result. */
static bool next_open(struct search *search, struct hnsw_neighbour *node)
{
	if (search->open.count == 0)
		return false;
	*node = hnsw_heap_pop(&search->open, false);
	return search->best.count < search->ef ||
	       !hnsw_nearer(search->best.items[0], *node);
}

static struct search prepare(struct hnsw *index, const float *query, uint32_t layer, uint32_t ef)
{
	return (struct search){
		.index = index,
		.query = query,
		.layer = layer,
		.ef = ef,
		.open = {.items = index->open},
		.best = {.items = index->best},
	};
}

/* Leaves the nodes found in index->best, nearest first, and returns their number. */
uint32_t hnsw_walk_layer(struct hnsw *index, const float *query, struct hnsw_neighbour start,
			 uint32_t layer, uint32_t ef)
{
	struct search search = prepare(index, query, layer, ef);
	struct hnsw_neighbour nearest;

	begin(&search, start);
	while (next_open(&search, &nearest)) {
		const uint32_t *links = hnsw_links(index, nearest.id, layer);

		for (uint32_t i = 1; i <= links[0]; i++) {
			struct hnsw_neighbour node = {.id = links[i]};

			if (visited(index, node.id))
				continue;
			node.distance =
				hnsw_distance(query, hnsw_row(index, node.id), index->stride);
			offer(&search, node);
		}
	}
	hnsw_heap_to_sorted(&search.best);
	return search.best.count;
}

#define STAGED_FLOATS 256

/* One step of the recursive walk: expands the nearest open node, lets the rest of the walk
 * happen, and then, with the final bound known, hands over those of its own neighbours that
 * are within it. Every visited node but the start is a neighbour in exactly one frame.
 * noinline: a frame is one node, for whoever reads the stack. */
static __attribute__((noinline)) void walk(struct search *search, uint32_t *found_count)
{
	struct hnsw_neighbour neighbours[HNSW_LINKS_MAX];
	float staged[STAGED_FLOATS] __attribute__((aligned(sizeof(hnsw_lanes))));
	struct hnsw *index = search->index;
	struct hnsw_neighbour nearest;
	const uint32_t *links;
	uint32_t count = 0;

	if (!next_open(search, &nearest))
		return;
	links = hnsw_links(index, nearest.id, search->layer);
	for (uint32_t i = 1; i <= links[0]; i++) {
		const float *row = hnsw_row(index, links[i]);
		struct hnsw_sum sum = {0};

		if (visited(index, links[i]))
			continue;
		/* Rows lie scattered in memory; each is brought here tile by tile. */
		for (uint32_t at = 0; at < index->stride; at += STAGED_FLOATS) {
			uint32_t left = index->stride - at;
			uint32_t tile = left < STAGED_FLOATS ? left : STAGED_FLOATS;

			memcpy(staged, row + at, tile * sizeof(*staged));
			hnsw_accumulate(&sum, search->query + at, staged, tile);
		}
		neighbours[count++] = (struct hnsw_neighbour){
			.distance = hnsw_total(&sum),
			.id = links[i],
		};
	}
	for (uint32_t i = 0; i < count; i++)
		offer(search, neighbours[i]);

	walk(search, found_count);

	for (uint32_t i = 0; i < count; i++)
		if (!hnsw_nearer(search->best.items[0], neighbours[i]))
			index->found[(*found_count)++] = neighbours[i];
}

static uint32_t walk_recursively(struct hnsw *index, const float *query,
				 struct hnsw_neighbour start, uint32_t ef)
{
	struct search search = prepare(index, query, 0, ef);
	uint32_t count = 0;

	begin(&search, start);
	walk(&search, &count);
	if (!hnsw_nearer(search.best.items[0], start))
		index->found[count++] = start;
	return count;
}

static uint32_t walk_iteratively(struct hnsw *index, const float *query,
				 struct hnsw_neighbour start, uint32_t ef)
{
	uint32_t count = hnsw_walk_layer(index, query, start, 0, ef);

	memcpy(index->found, index->best, count * sizeof(*index->found));
	return count;
}

/* From the entry down to `layer`, not walking it: the nearest node met on the way, which is
 * linked in `layer` if any node met is. */
struct hnsw_neighbour hnsw_descend(struct hnsw *index, const float *query, uint32_t layer)
{
	struct hnsw_neighbour nearest = {.id = index->entry};
	uint32_t at = index->levels[index->entry];

	nearest.distance = hnsw_distance(query, hnsw_row(index, nearest.id), index->stride);
	for (; at > layer; at--) {
		bool moved = true;

		while (moved) {
			const uint32_t *links = hnsw_links(index, nearest.id, at);

			moved = false;
			for (uint32_t i = 1; i <= links[0]; i++) {
				struct hnsw_neighbour node = {.id = links[i]};
				const float *row = hnsw_row(index, node.id);

				node.distance = hnsw_distance(query, row, index->stride);
				if (hnsw_nearer(node, nearest)) {
					nearest = node;
					moved = true;
				}
			}
		}
	}
	return nearest;
}

/* Deletions and pruned links can leave a node that no walk reaches. When fewer were found than
 * were asked for and are there, the rest is looked at one by one. */
static uint32_t add_unreached(struct hnsw *index, const float *query, uint32_t count)
{
	for (uint32_t id = 0; id < index->capacity; id++) {
		if (!index->present[id] || visited(index, id))
			continue;
		index->found[count++] = (struct hnsw_neighbour){
			.distance = hnsw_distance(query, hnsw_row(index, id), index->stride),
			.id = id,
		};
	}
	return count;
}

uint32_t hnsw_query(struct hnsw *index, const float *query, uint32_t k, uint32_t ef,
		    enum hnsw_walk walk_kind)
{
	struct hnsw_heap found = {.items = index->found};
	struct hnsw_neighbour start;
	uint32_t count;

	if (index->count == 0)
		return 0;
	if (k > index->count)
		k = index->count;
	if (ef < k)
		ef = k;
	start = hnsw_descend(index, query, 0);
	if (walk_kind == HNSW_WALK_RECURSIVE)
		count = walk_recursively(index, query, start, ef);
	else
		count = walk_iteratively(index, query, start, ef);
	if (count < k)
		count = add_unreached(index, query, count);
	for (uint32_t i = 0; i < count; i++)
		hnsw_heap_push(&found, index->found[i], true);
	hnsw_heap_to_sorted(&found);
	return count < k ? count : k;
}
