/* The graph: room, insertion, removal. The walks over it are in hnsw_walk.c. */
#include "hnsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw_distance.h"

/* Mending the links around one removed node costs as much as inserting several. From one in so
 * many on it is quicker to build the graph anew, and the graph is better. */
#define REBUILD_SHARE 4

enum presence { ABSENT = 0, LINKED = 1, WAITING = 2 };

/* A scramble of the id with well mixed high bits (the finaliser of the SplitMix64 generator). */
static uint64_t scramble(uint64_t id)
{
	uint64_t z = (id + 1) * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* floor(-ln(u) / ln(M)) of the paper without logarithms: each layer keeps one node in M. */
static uint8_t level_of(uint32_t id, uint32_t m)
{
	uint64_t u = scramble(id);
	uint64_t threshold = UINT64_MAX / m;
	uint8_t level = 0;

	while (level < HNSW_LEVELS_MAX - 1 && u < threshold) {
		level++;
		threshold /= m;
	}
	return level;
}

static uint32_t links_max(const struct hnsw *index, uint32_t layer)
{
	return layer == 0 ? 2 * index->m : index->m;
}

uint32_t *hnsw_links(const struct hnsw *index, uint32_t id, uint32_t layer)
{
	if (layer == 0)
		return index->bottom + (size_t)id * (2 * index->m + 1);
	return index->upper + index->upper_start[id] + (size_t)(layer - 1) * (index->m + 1);
}

const float *hnsw_row(const struct hnsw *index, uint32_t id)
{
	return index->rows + (size_t)id * index->stride;
}

void hnsw_forget_marks(struct hnsw *index)
{
	index->epoch++;
	if (index->epoch == 0) {
		memset(index->marks, 0, index->capacity * sizeof(*index->marks));
		index->epoch = 1;
	}
}

int hnsw_init(struct hnsw *index, uint32_t stride, uint32_t m, uint32_t ef_construction)
{
	if (m < HNSW_M_MIN || m > HNSW_M_MAX || ef_construction < 1 ||
	    ef_construction > HNSW_EF_MAX || stride == 0 || stride % HNSW_ROW_UNIT_FLOATS != 0)
		return -EINVAL;
	*index = (struct hnsw){
		.stride = stride,
		.m = m,
		.ef_construction = ef_construction,
		.entry = HNSW_NOBODY,
	};
	return 0;
}

static void release(struct hnsw *index)
{
	free(index->present);
	free(index->levels);
	free(index->bottom);
	free(index->upper);
	free(index->upper_start);
	free(index->marks);
	free(index->open);
	free(index->best);
	free(index->found);
}

void hnsw_destroy(struct hnsw *index)
{
	release(index);
	*index = (struct hnsw){.entry = HNSW_NOBODY};
}

/* Zeroed memory for all ids below next->capacity; -ENOMEM leaves `next` to be released. */
static int allocate(struct hnsw *next)
{
	size_t capacity = next->capacity;
	size_t upper = 0;

	next->levels = calloc(capacity, sizeof(*next->levels));
	next->upper_start = calloc(capacity, sizeof(*next->upper_start));
	if (!next->levels || !next->upper_start)
		return -ENOMEM;
	for (uint32_t id = 0; id < capacity; id++) {
		next->levels[id] = level_of(id, next->m);
		next->upper_start[id] = upper;
		upper += (size_t)next->levels[id] * (next->m + 1);
	}
	next->present = calloc(capacity, sizeof(*next->present));
	next->bottom = calloc(capacity, (2 * (size_t)next->m + 1) * sizeof(*next->bottom));
	/* One more than needed, so that an index without upper layers asks for memory too. */
	next->upper = calloc(upper + 1, sizeof(*next->upper));
	next->marks = calloc(capacity, sizeof(*next->marks));
	next->open = calloc(capacity, sizeof(*next->open));
	next->best = calloc(capacity, sizeof(*next->best));
	/* Repairs after a removal gather two full lists of links here. */
	next->found = calloc(capacity + 2 * HNSW_LINKS_MAX, sizeof(*next->found));
	if (!next->present || !next->bottom || !next->upper || !next->marks || !next->open ||
	    !next->best || !next->found)
		return -ENOMEM;
	return 0;
}

int hnsw_reserve(struct hnsw *index, const float *rows, uint32_t capacity)
{
	struct hnsw next = *index;
	size_t upper_used = 0;

	if (capacity <= index->capacity) {
		index->rows = rows;
		return 0;
	}
	next.rows = rows;
	next.capacity = capacity;
	next.epoch = 0;
	next.present = NULL;
	next.levels = NULL;
	next.bottom = NULL;
	next.upper = NULL;
	next.upper_start = NULL;
	next.marks = NULL;
	next.open = NULL;
	next.best = NULL;
	next.found = NULL;
	if (allocate(&next) < 0) {
		release(&next);
		return -ENOMEM;
	}
	if (index->capacity > 0) {
		/* Levels and places depend on the id alone: what is there keeps its place. */
		upper_used = next.upper_start[index->capacity];
		memcpy(next.present, index->present, index->capacity * sizeof(*next.present));
		memcpy(next.bottom, index->bottom,
		       index->capacity * (2 * (size_t)index->m + 1) * sizeof(*next.bottom));
		memcpy(next.upper, index->upper, upper_used * sizeof(*next.upper));
	}
	release(index);
	*index = next;
	return 0;
}

/* Algorithm 4 of the paper: of `candidates`, nearest first, keep those that are nearer to the
 * node than to any neighbour already kept, so that links point in different directions. */
static void select_links(const struct hnsw *index, const struct hnsw_neighbour *candidates,
			 uint32_t count, uint32_t limit, uint32_t *links)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count && kept < limit; i++) {
		const float *row = hnsw_row(index, candidates[i].id);
		bool keep = true;

		for (uint32_t j = 0; keep && j < kept; j++) {
			const float *other = hnsw_row(index, links[1 + j]);

			keep = hnsw_distance(row, other, index->stride) > candidates[i].distance;
		}
		if (keep)
			links[1 + kept++] = candidates[i].id;
	}
	links[0] = kept;
}

/* Links `id` to the best of the neighbours gathered, in any order, in index->found. */
static void relink(struct hnsw *index, uint32_t id, uint32_t layer, uint32_t gathered)
{
	struct hnsw_heap heap = {.items = index->found, .count = 0};

	for (uint32_t i = 0; i < gathered; i++)
		hnsw_heap_push(&heap, index->found[i], true);
	hnsw_heap_to_sorted(&heap);
	select_links(index, index->found, gathered, links_max(index, layer),
		     hnsw_links(index, id, layer));
}

static struct hnsw_neighbour seen_from(const struct hnsw *index, const float *row, uint32_t id)
{
	return (struct hnsw_neighbour){
		.distance = hnsw_distance(row, hnsw_row(index, id), index->stride),
		.id = id,
	};
}

/* A link back from `id` to a node just inserted; a full list is chosen anew. */
static void link_back(struct hnsw *index, uint32_t id, uint32_t layer, uint32_t inserted)
{
	uint32_t *links = hnsw_links(index, id, layer);
	const float *row = hnsw_row(index, id);
	uint32_t gathered = links[0];

	if (links[0] < links_max(index, layer)) {
		links[++links[0]] = inserted;
		return;
	}
	for (uint32_t i = 0; i < gathered; i++)
		index->found[i] = seen_from(index, row, links[1 + i]);
	index->found[gathered++] = seen_from(index, row, inserted);
	relink(index, id, layer, gathered);
}

void hnsw_insert(struct hnsw *index, uint32_t id)
{
	const float *row = hnsw_row(index, id);
	uint32_t level = index->levels[id];
	struct hnsw_neighbour nearest;
	uint32_t layer;

	index->present[id] = LINKED;
	index->count++;
	for (layer = 0; layer <= level; layer++)
		hnsw_links(index, id, layer)[0] = 0;
	if (index->entry == HNSW_NOBODY) {
		index->entry = id;
		return;
	}
	layer = index->levels[index->entry];
	nearest = hnsw_descend(index, row, level);
	if (layer > level)
		layer = level;
	for (;;) {
		uint32_t *links = hnsw_links(index, id, layer);
		uint32_t count =
			hnsw_walk_layer(index, row, nearest, layer, index->ef_construction);

		nearest = index->best[0];
		select_links(index, index->best, count, index->m, links);
		for (uint32_t i = 1; i <= links[0]; i++)
			link_back(index, links[i], layer, id);
		if (layer == 0)
			break;
		layer--;
	}
	if (level > index->levels[index->entry])
		index->entry = id;
}

/* Gathers into index->found, from place `gathered` on, the nodes linked from `from` that are
 * not marked yet; returns the new number. */
static uint32_t gather(struct hnsw *index, const float *row, const uint32_t *from,
		       uint32_t gathered)
{
	for (uint32_t i = 1; i <= from[0]; i++) {
		if (index->marks[from[i]] == index->epoch)
			continue;
		index->marks[from[i]] = index->epoch;
		index->found[gathered++] = seen_from(index, row, from[i]);
	}
	return gathered;
}

static bool contains(const uint32_t *links, uint32_t id)
{
	for (uint32_t i = 1; i <= links[0]; i++)
		if (links[i] == id)
			return true;
	return false;
}

/* `id` loses its link to `gone` and may link to the neighbours of `gone` in its place; new
 * links go both ways, as at an insertion, so that those who were reached through `gone` alone
 * are reached again. */
static void close_gap(struct hnsw *index, uint32_t id, uint32_t layer, uint32_t gone)
{
	uint32_t *links = hnsw_links(index, id, layer);
	const float *row = hnsw_row(index, id);
	uint32_t gathered;

	hnsw_forget_marks(index);
	index->marks[id] = index->epoch;
	index->marks[gone] = index->epoch;
	gathered = gather(index, row, links, 0);
	gathered = gather(index, row, hnsw_links(index, gone, layer), gathered);
	relink(index, id, layer, gathered);
	for (uint32_t i = 1; i <= links[0]; i++)
		if (!contains(hnsw_links(index, links[i], layer), id))
			link_back(index, links[i], layer, id);
}

/* The node of the highest layer, of these the one with the smallest id. */
static uint32_t highest(const struct hnsw *index)
{
	uint32_t found = HNSW_NOBODY;

	for (uint32_t id = 0; id < index->capacity; id++)
		if (index->present[id] &&
		    (found == HNSW_NOBODY || index->levels[id] > index->levels[found]))
			found = id;
	return found;
}

/* Takes one node out; its neighbours are linked to one another in its place. */
static void mend(struct hnsw *index, uint32_t gone)
{
	index->present[gone] = ABSENT;
	index->count--;
	for (uint32_t layer = 0; layer <= index->levels[gone]; layer++)
		for (uint32_t id = 0; id < index->capacity; id++)
			if (index->present[id] && index->levels[id] >= layer &&
			    contains(hnsw_links(index, id, layer), gone))
				close_gap(index, id, layer, gone);
	if (index->entry == gone)
		index->entry = highest(index);
}

/* All remaining nodes into an empty graph, in the order of their ids. */
static void rebuild(struct hnsw *index)
{
	index->count = 0;
	index->entry = HNSW_NOBODY;
	for (uint32_t id = 0; id < index->capacity; id++)
		if (index->present[id] != ABSENT)
			index->present[id] = WAITING;
	for (uint32_t id = 0; id < index->capacity; id++)
		if (index->present[id] == WAITING)
			hnsw_insert(index, id);
}

void hnsw_remove(struct hnsw *index, const uint32_t *ids, uint32_t count)
{
	if ((uint64_t)count * REBUILD_SHARE < index->count) {
		for (uint32_t n = 0; n < count; n++)
			mend(index, ids[n]);
		return;
	}
	for (uint32_t n = 0; n < count; n++)
		index->present[ids[n]] = ABSENT;
	rebuild(index);
}
