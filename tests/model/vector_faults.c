/* Lets each allocation fail in turn, and checks that nothing is lost, mixed or leaked by it.
 *
 * Linked with --wrap for the allocating functions and built with the address and undefined
 * behaviour sanitizers, which end the program at the first fault. The seed is fixed.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vexmodel.h"

#define DIMENSIONS 5
#define FILES 6
#define LINES_MAX 40

static long countdown = -1;
static int failed;

static int fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return 0;
	failed = 1;
	return 1;
}

#define WRAP(result, name, parameters, arguments)                                                  \
	result __real_##name parameters;                                                           \
	result __wrap_##name parameters;                                                           \
	result __wrap_##name parameters                                                            \
	{                                                                                          \
		return fails() ? NULL : __real_##name arguments;                                   \
	}

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, (void *old, size_t size), (old, size))
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP(char *, strdup, (const char *text), (text))

static unsigned state;

static unsigned number(unsigned below)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 16) % below;
}

static size_t write_lines(char *out, unsigned lines)
{
	char *at = out;

	for (unsigned n = 0; n < lines * DIMENSIONS; n++)
		at += sprintf(at, "-%u.%u%c", number(3), number(100),
			      (n + 1) % DIMENSIONS ? ',' : '\n');
	return (size_t)(at - out);
}

static void check(struct vector_store *store, struct search_engine *engine, const unsigned *lines)
{
	float query[DIMENSIONS] = {-1, -1, -1, -1, -1};
	uint32_t ids[FILES * LINES_MAX];
	float distances[FILES * LINES_MAX];
	struct search_counts counts;
	int64_t total = 0;

	for (unsigned file = 0; file < FILES; file++)
		total += lines[file];
	assert(vector_storage_count(store) == total);
	search_engine_counts(engine, &counts);
	assert((int64_t)counts.nodes == total);
	assert(search_engine_query(engine, query, FILES * LINES_MAX, 0, ids, distances) == total);
	for (int64_t n = 0; n < total; n++) {
		const char *path;
		uint32_t line;

		assert(vector_storage_locate(store, ids[n], &path, &line) == 0);
		assert(vector_storage_find(store, path, line) == ids[n]);
		assert(line <= lines[path[0] - 'a']);
	}
}

/* Each call that fails is told to be out of memory, changes nothing, and succeeds when it is
 * made again, as only one allocation fails. */
static void change(struct vector_store *store, unsigned *lines)
{
	char text[LINES_MAX * DIMENSIONS * 16];
	char path[] = "a.vec", other[] = "a.vec";
	unsigned count = number(LINES_MAX);
	unsigned what = number(4);
	int64_t result;

	path[0] += (char)number(FILES);
	other[0] += (char)number(FILES);
	if (what == 0) {
		result = vector_storage_remove(store, path);
		assert(result == 0 || result == -ENOENT);
		lines[path[0] - 'a'] = 0;
	} else if (what == 1) {
		result = vector_storage_rename(store, path, other);
		if (result == -ENOMEM)
			result = vector_storage_rename(store, path, other);
		assert(result == 0 || result == -ENOENT);
		if (result == 0 && strcmp(path, other) != 0) {
			lines[other[0] - 'a'] = lines[path[0] - 'a'];
			lines[path[0] - 'a'] = 0;
		}
	} else {
		size_t bytes = write_lines(text, count);

		result = vector_storage_put(store, path, text, bytes);
		if (result == -ENOMEM)
			result = vector_storage_put(store, path, text, bytes);
		assert(result == count);
		lines[path[0] - 'a'] = count;
	}
}

static void story(uint32_t implementation)
{
	struct search_settings settings = {implementation, 3, 20, 10};
	struct vector_store *store = NULL;
	struct search_engine *engine = NULL;
	unsigned lines[FILES] = {0};

	state = 1;
	if (vector_storage_create(DIMENSIONS, &store) == -ENOMEM)
		assert(vector_storage_create(DIMENSIONS, &store) == 0);
	for (int step = 0; step < 6; step++)
		change(store, lines);
	if (search_engine_create(store, &settings, &engine) == -ENOMEM)
		assert(search_engine_create(store, &settings, &engine) == 0);
	check(store, engine, lines);
	for (int step = 0; step < 12; step++) {
		change(store, lines);
		check(store, engine, lines);
	}
	search_engine_destroy(engine);
	vector_storage_destroy(store);
}

int main(void)
{
	long nth = 0;

	do {
		failed = 0;
		countdown = nth;
		story(nth % 2 ? SEARCH_ITERATIVE : SEARCH_RECURSIVE);
		nth++;
	} while (failed);
	printf("%ld\n", nth - 1);
	return 0;
}
