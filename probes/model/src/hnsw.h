/* Hierarchical navigable small world graph: approximate nearest neighbours of float rows.
 *
 * After Yu. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor
 * search using Hierarchical Navigable Small World graphs", arXiv:1603.09320. The names of the
 * parameters (M, M0, ef, efConstruction) are theirs.
 *
 * The rows belong to the caller; the index keeps links between their ids only. All memory is
 * taken in hnsw_reserve(): insertion, removal and search cannot fail.
 */
#ifndef HNSW_H
#define HNSW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hnsw_heap.h"

#define HNSW_LEVELS_MAX 16
#define HNSW_M_MIN 2
#define HNSW_M_MAX 64
#define HNSW_LINKS_MAX (2 * HNSW_M_MAX)
#define HNSW_EF_MAX 10000
#define HNSW_NOBODY UINT32_MAX

/* How the bottom layer is walked when a query is answered. Both give the same bits. */
enum hnsw_walk {
	HNSW_WALK_RECURSIVE = 0,
	HNSW_WALK_ITERATIVE = 1,
};

struct hnsw {
	/* Rows of `stride` floats, aligned and padded as hnsw_distance.h asks. */
	const float *rows;
	uint32_t stride;

	uint32_t m;
	uint32_t ef_construction;

	/* Ids are below `capacity`; `present` is not 0 for those that are in the graph. */
	uint32_t capacity;
	uint32_t count;
	uint8_t *present;

	/* The layer up to which a node is linked depends on its id alone, so that the same
	 * history always gives the same graph and all room can be made in advance. */
	uint8_t *levels;

	/* Links of one node in one layer: their number, then the ids. The bottom layer has a
	 * fixed place per id; the layers above it stand one after another from `upper_start`. */
	uint32_t *bottom;
	uint32_t *upper;
	size_t *upper_start;

	uint32_t entry;

	/* Working memory of walks. A node is visited when its mark equals `epoch`. */
	uint32_t *marks;
	uint32_t epoch;
	struct hnsw_neighbour *open;
	struct hnsw_neighbour *best;
	struct hnsw_neighbour *found;
};

/* M between HNSW_M_MIN and HNSW_M_MAX, else -EINVAL. Nothing is allocated yet. */
int hnsw_init(struct hnsw *index, uint32_t stride, uint32_t m, uint32_t ef_construction);
void hnsw_destroy(struct hnsw *index);

/* Makes room for ids below `capacity` and takes `rows` as the new place of the rows. On
 * -ENOMEM the index is as it was, and still reads the old rows. */
int hnsw_reserve(struct hnsw *index, const float *rows, uint32_t capacity);

/* `id` is below the capacity and not in the graph. */
void hnsw_insert(struct hnsw *index, uint32_t id);

/* All `ids` are in the graph. Few are taken out one by one, many by building it anew. */
void hnsw_remove(struct hnsw *index, const uint32_t *ids, uint32_t count);

/* The nearest `k` of `query` (fewer if there are fewer), nearest first. They stay valid in
 * index->found until the next call. `query` is a row of `stride` floats. */
uint32_t hnsw_query(struct hnsw *index, const float *query, uint32_t k, uint32_t ef,
		    enum hnsw_walk walk);

/* For the files of the index itself. */
uint32_t *hnsw_links(const struct hnsw *index, uint32_t id, uint32_t layer);
const float *hnsw_row(const struct hnsw *index, uint32_t id);
void hnsw_forget_marks(struct hnsw *index);
struct hnsw_neighbour hnsw_descend(struct hnsw *index, const float *query, uint32_t layer);
uint32_t hnsw_walk_layer(struct hnsw *index, const float *query, struct hnsw_neighbour start,
			 uint32_t layer, uint32_t ef);

#endif
