/* Similarity search over the stored vectors: follows the store, answers queries. */
#include "vexmodel.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw.h"
#include "hnsw_distance.h"

_Static_assert(SEARCH_EF_MAX == HNSW_EF_MAX, "one limit");
_Static_assert(SEARCH_K_MAX <= SEARCH_EF_MAX, "every k is a possible ef");
_Static_assert((int)SEARCH_RECURSIVE == (int)HNSW_WALK_RECURSIVE, "passed on as it is");
_Static_assert((int)SEARCH_ITERATIVE == (int)HNSW_WALK_ITERATIVE, "passed on as it is");

struct search_engine {
	struct vector_store *store;
	struct hnsw index;
	struct search_settings settings;
	uint32_t dimensions;
	float *query; /* a padded row, its tail always zero */
	uint64_t searches;
};

static int follow_reserve(void *context, const float *rows, uint32_t capacity)
{
	struct search_engine *engine = context;

	return hnsw_reserve(&engine->index, rows, capacity);
}

static void follow_replace(void *context, const uint32_t *removed, uint32_t removed_count,
			   const uint32_t *added, uint32_t added_count)
{
	struct search_engine *engine = context;

	if (removed_count > 0)
		hnsw_remove(&engine->index, removed, removed_count);
	for (uint32_t n = 0; n < added_count; n++)
		hnsw_insert(&engine->index, added[n]);
}

static bool valid(const struct search_settings *settings)
{
	return settings->implementation <= SEARCH_ITERATIVE && settings->ef >= 1 &&
	       settings->ef <= SEARCH_EF_MAX && settings->m >= HNSW_M_MIN &&
	       settings->m <= HNSW_M_MAX && settings->ef_construction >= 1 &&
	       settings->ef_construction <= SEARCH_EF_MAX;
}

int search_engine_create(struct vector_store *store, const struct search_settings *settings,
			 struct search_engine **created)
{
	uint32_t stride = vector_storage_stride(store);
	struct vector_observer observer = {.reserve = follow_reserve, .replace = follow_replace};
	struct search_engine *engine;
	int result;

	if (!valid(settings))
		return -EINVAL;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	engine->store = store;
	engine->settings = *settings;
	engine->dimensions = vector_storage_dimensions(store);
	engine->query = aligned_alloc(HNSW_ROW_ALIGNMENT_BYTES, stride * sizeof(float));
	result = engine->query ? 0 : -ENOMEM;
	if (result == 0) {
		memset(engine->query, 0, stride * sizeof(float));
		result = hnsw_init(&engine->index, stride, settings->m, settings->ef_construction);
	}
	observer.context = engine;
	if (result == 0)
		result = vector_storage_observe(store, &observer);
	if (result < 0) {
		hnsw_destroy(&engine->index);
		free(engine->query);
		free(engine);
		return result;
	}
	*created = engine;
	return 0;
}

void search_engine_destroy(struct search_engine *engine)
{
	if (!engine)
		return;
	vector_storage_observe(engine->store, NULL);
	hnsw_destroy(&engine->index);
	free(engine->query);
	free(engine);
}

int64_t search_engine_query(struct search_engine *engine, const float *vector, uint32_t k,
			    uint32_t ef, uint32_t *ids, float *distances)
{
	uint32_t count;

	if (ef == 0)
		ef = engine->settings.ef;
	if (k < 1 || k > SEARCH_K_MAX || ef > SEARCH_EF_MAX)
		return -EINVAL;
	for (uint32_t n = 0; n < engine->dimensions; n++)
		if (!(fabsf(vector[n]) <= (float)VECTOR_COMPONENT_MAX))
			return -EINVAL;
	memcpy(engine->query, vector, engine->dimensions * sizeof(*vector));
	count = hnsw_query(&engine->index, engine->query, k, ef,
			   (enum hnsw_walk)engine->settings.implementation);
	for (uint32_t n = 0; n < count; n++) {
		ids[n] = engine->index.found[n].id;
		distances[n] = engine->index.found[n].distance;
	}
	engine->searches++;
	return count;
}

int search_engine_set_ef(struct search_engine *engine, uint32_t ef)
{
	if (ef < 1 || ef > SEARCH_EF_MAX)
		return -EINVAL;
	engine->settings.ef = ef;
	return 0;
}

void search_engine_counts(const struct search_engine *engine, struct search_counts *counts)
{
	*counts = (struct search_counts){
		.searches = engine->searches,
		.nodes = engine->index.count,
		.ef = engine->settings.ef,
		.implementation = engine->settings.implementation,
	};
}
