/* Vectors of `.vec` files: a strict reader of numbers, and rows by id, by file and line. */
#include "vexmodel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vector_files.h"
#include "vector_text.h"

#define ROW_ALIGNMENT_BYTES 64
#define ROW_UNIT_FLOATS (ROW_ALIGNMENT_BYTES / sizeof(float))
#define CAPACITY_AT_FIRST 16

struct vector_place {
	const struct vector_file *file; /* NULL: the id is free */
	uint32_t line;
};

struct vector_store {
	uint32_t dimensions;
	uint32_t stride;
	uint32_t count;
	uint32_t capacity;
	float *rows;
	struct vector_place *places;
	/* Free ids as a stack, the lowest on top when memory is new. */
	uint32_t *free_ids;
	uint32_t free_count;

	struct vector_files files;

	bool observed;
	struct vector_observer observer;
	struct vector_text text;
};

int vector_storage_create(uint32_t dimensions, struct vector_store **created)
{
	struct vector_store *store;

	if (dimensions < 1 || dimensions > VECTOR_DIMENSIONS_MAX)
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->dimensions = dimensions;
	store->stride = (dimensions + ROW_UNIT_FLOATS - 1) / ROW_UNIT_FLOATS * ROW_UNIT_FLOATS;
	if (vector_text_init(&store->text) < 0) {
		free(store);
		return -ENOMEM;
	}
	if (vector_files_init(&store->files) < 0) {
		vector_text_destroy(&store->text);
		free(store);
		return -ENOMEM;
	}
	*created = store;
	return 0;
}

void vector_storage_destroy(struct vector_store *store)
{
	if (!store)
		return;
	vector_files_destroy(&store->files);
	free(store->rows);
	free(store->places);
	free(store->free_ids);
	vector_text_destroy(&store->text);
	free(store);
}

/* ---- rows by id ---- */

static float *row_of(const struct vector_store *store, uint32_t id)
{
	return store->rows + (size_t)id * store->stride;
}

/* Room for twice as many ids. What is stored, and the observer, stay as they were on failure. */
static int grow(struct vector_store *store)
{
	uint32_t capacity = store->capacity ? store->capacity * 2 : CAPACITY_AT_FIRST;
	size_t row_bytes = store->stride * sizeof(float);
	struct vector_place *places;
	uint32_t *free_ids;
	float *rows;

	if (store->capacity >= VECTORS_MAX)
		return -ENOSPC;
	places = realloc(store->places, capacity * sizeof(*places));
	if (places)
		store->places = places;
	free_ids = realloc(store->free_ids, capacity * sizeof(*free_ids));
	if (free_ids)
		store->free_ids = free_ids;
	rows = aligned_alloc(ROW_ALIGNMENT_BYTES, capacity * row_bytes);
	if (!places || !free_ids || !rows)
		goto no_memory;
	if (store->capacity)
		memcpy(rows, store->rows, store->capacity * row_bytes);
	memset(rows + (size_t)store->capacity * store->stride, 0,
	       (capacity - store->capacity) * row_bytes);
	if (store->observed &&
	    store->observer.reserve(store->observer.context, rows, capacity) < 0)
		goto no_memory;
	free(store->rows);
	store->rows = rows;

	/* New ids go below the free ones, highest first. */
	memmove(free_ids + (capacity - store->capacity), free_ids,
		store->free_count * sizeof(*free_ids));
	for (uint32_t id = store->capacity; id < capacity; id++) {
		free_ids[capacity - 1 - id] = id;
		places[id] = (struct vector_place){0};
	}
	store->free_count += capacity - store->capacity;
	store->capacity = capacity;
	return 0;

no_memory:
	free(rows);
	return -ENOMEM;
}

/* ---- the first room, prepared on the stack ---- */

/* The constructor as one should not write it: every function holds its table in a local array
 * while it calls the next one. Together they need 2.6 MiB, the last alone 2 MiB. */
#define PREPARED_FLOATS (512u * 1024)
#define PREPARED_IDS (PREPARED_FLOATS / ROW_UNIT_FLOATS)

/* Takes over copies of the tables. */
static int install(struct vector_store *store, uint32_t capacity, const struct vector_place *places,
		   const uint32_t *free_ids, const float *rows)
{
	size_t rows_bytes = (size_t)capacity * store->stride * sizeof(*rows);

	store->places = malloc(capacity * sizeof(*places));
	store->free_ids = malloc(capacity * sizeof(*free_ids));
	store->rows = aligned_alloc(ROW_ALIGNMENT_BYTES, rows_bytes);
	if (!store->places || !store->free_ids || !store->rows)
		return -ENOMEM;
	memcpy(store->places, places, capacity * sizeof(*places));
	memcpy(store->free_ids, free_ids, capacity * sizeof(*free_ids));
	memcpy(store->rows, rows, rows_bytes);
	store->capacity = capacity;
	store->free_count = capacity;
	return 0;
}

static __attribute__((noinline)) int prepare_rows(struct vector_store *store, uint32_t capacity,
						  const struct vector_place *places,
						  const uint32_t *free_ids)
{
	float rows[PREPARED_FLOATS];

	memset(rows, 0, sizeof(rows));
	return install(store, capacity, places, free_ids, rows);
}

static __attribute__((noinline)) int prepare_ids(struct vector_store *store, uint32_t capacity,
						 const struct vector_place *places)
{
	uint32_t free_ids[PREPARED_IDS];

	/* The lowest on top, as grow() leaves them. */
	for (uint32_t id = 0; id < capacity; id++)
		free_ids[capacity - 1 - id] = id;
	return prepare_rows(store, capacity, places, free_ids);
}

static __attribute__((noinline)) int prepare_places(struct vector_store *store)
{
	struct vector_place places[PREPARED_IDS];
	uint32_t capacity = CAPACITY_AT_FIRST;

	while (capacity * 2 * store->stride <= PREPARED_FLOATS)
		capacity *= 2;
	memset(places, 0, sizeof(places));
	return prepare_ids(store, capacity, places);
}

int vector_storage_create_on_stack(uint32_t dimensions, struct vector_store **created)
{
	struct vector_store *store;
	int result = vector_storage_create(dimensions, &store);

	if (result < 0)
		return result;
	result = prepare_places(store);
	if (result < 0) {
		vector_storage_destroy(store);
		return result;
	}
	*created = store;
	return 0;
}

/* ---- texts become rows ---- */

/* The id that will be taken as the n-th from now; free_ids stays untouched until the commit. */
static uint32_t next_free(const struct vector_store *store, uint32_t n)
{
	return store->free_ids[store->free_count - 1 - n];
}

/* Reads all lines into rows that are still free; returns how many, or a negative errno. */
static int64_t read_rows(struct vector_store *store, const char *text, size_t text_bytes)
{
	struct vector_lines lines = vector_text_lines(text, text_bytes);
	uint32_t count = 0;
	int result;

	while (vector_text_next_line(&lines)) {
		if (count == store->free_count) {
			result = grow(store);
			if (result < 0)
				return result;
		}
		result = vector_text_read(&store->text, &lines,
					  row_of(store, next_free(store, count)),
					  store->dimensions);
		if (result < 0)
			return result;
		count++;
	}
	return count;
}

/* From here on nothing can fail: `file` (NULL: no new one) takes the place of `old`. */
static void commit(struct vector_store *store, struct vector_file *file, struct vector_file *old)
{
	uint32_t added = file ? file->count : 0;
	uint32_t removed = old ? old->count : 0;

	for (uint32_t n = 0; n < added; n++) {
		file->ids[n] = next_free(store, n);
		store->places[file->ids[n]] = (struct vector_place){.file = file, .line = n + 1};
	}
	store->free_count -= added;
	store->count = store->count + added - removed;
	if (store->observed)
		store->observer.replace(store->observer.context, old ? old->ids : NULL, removed,
					file ? file->ids : NULL, added);
	for (uint32_t n = removed; n > 0; n--) {
		store->places[old->ids[n - 1]].file = NULL;
		store->free_ids[store->free_count++] = old->ids[n - 1];
	}
	if (file)
		vector_files_enter(&store->files, file);
	vector_file_destroy(old);
}

/* ---- what the shell calls ---- */

int64_t vector_storage_put(struct vector_store *store, const char *path, const char *text,
			   size_t text_bytes)
{
	struct vector_file *file;
	int64_t count = read_rows(store, text, text_bytes);

	if (count < 0)
		return count;
	file = vector_file_create(path, (uint32_t)count);
	if (!file)
		return -ENOMEM;
	commit(store, file, vector_files_take(&store->files, path));
	return count;
}

int vector_storage_remove(struct vector_store *store, const char *path)
{
	struct vector_file *file = vector_files_take(&store->files, path);

	if (!file)
		return -ENOENT;
	commit(store, NULL, file);
	return 0;
}

int vector_storage_rename(struct vector_store *store, const char *old_path, const char *new_path)
{
	struct vector_file *file;
	char *path;

	if (!vector_files_find(&store->files, old_path))
		return -ENOENT;
	if (strcmp(old_path, new_path) == 0)
		return 0;
	path = strdup(new_path);
	if (!path)
		return -ENOMEM;
	(void)vector_storage_remove(store, new_path);
	file = vector_files_take(&store->files, old_path);
	free(file->path);
	file->path = path;
	vector_files_enter(&store->files, file);
	return 0;
}

const char *vector_storage_fault(const struct vector_store *store)
{
	return store->text.fault;
}

int vector_storage_parse(struct vector_store *store, const char *text, size_t text_bytes,
			 float *out)
{
	struct vector_lines lines = vector_text_lines(text, text_bytes);

	if (!vector_text_next_line(&lines))
		return vector_text_refuse(&store->text, "no numbers");
	if (lines.rest != lines.end)
		return vector_text_refuse(&store->text, "more than one line");
	return vector_text_read(&store->text, &lines, out, store->dimensions);
}

uint32_t vector_storage_count(const struct vector_store *store)
{
	return store->count;
}

uint32_t vector_storage_dimensions(const struct vector_store *store)
{
	return store->dimensions;
}

uint32_t vector_storage_stride(const struct vector_store *store)
{
	return store->stride;
}

int vector_storage_locate(const struct vector_store *store, uint32_t id, const char **path,
			  uint32_t *line)
{
	if (id >= store->capacity || !store->places[id].file)
		return -ENOENT;
	*path = store->places[id].file->path;
	*line = store->places[id].line;
	return 0;
}

int64_t vector_storage_find(const struct vector_store *store, const char *path, uint32_t line)
{
	const struct vector_file *file = vector_files_find(&store->files, path);

	if (!file || line < 1 || line > file->count)
		return -ENOENT;
	return file->ids[line - 1];
}

int vector_storage_get(const struct vector_store *store, uint32_t id, float *out)
{
	if (id >= store->capacity || !store->places[id].file)
		return -ENOENT;
	memcpy(out, row_of(store, id), store->dimensions * sizeof(*out));
	return 0;
}

/* Tells the observer of everything stored so far, in the order of the ids. */
static int introduce(struct vector_store *store)
{
	const struct vector_observer *observer = &store->observer;
	uint32_t *ids;
	uint32_t count = 0;

	if (store->capacity == 0)
		return 0;
	if (observer->reserve(observer->context, store->rows, store->capacity) < 0)
		return -ENOMEM;
	ids = malloc(((size_t)store->count + 1) * sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	for (uint32_t id = 0; id < store->capacity; id++)
		if (store->places[id].file)
			ids[count++] = id;
	observer->replace(observer->context, NULL, 0, ids, count);
	free(ids);
	return 0;
}

int vector_storage_observe(struct vector_store *store, const struct vector_observer *observer)
{
	int result;

	if (!observer) {
		store->observed = false;
		return 0;
	}
	if (store->observed)
		return -EBUSY;
	store->observer = *observer;
	result = introduce(store);
	store->observed = result == 0;
	return result;
}
