/* A hash table of files, chained. */
#include "vector_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_AT_FIRST 64

int vector_files_init(struct vector_files *files)
{
	*files = (struct vector_files){.bucket_count = BUCKETS_AT_FIRST};
	files->buckets = calloc(files->bucket_count, sizeof(struct vector_file *));
	return files->buckets ? 0 : -ENOMEM;
}

void vector_files_destroy(struct vector_files *files)
{
	for (uint32_t bucket = 0; files->buckets && bucket < files->bucket_count; bucket++) {
		while (files->buckets[bucket]) {
			struct vector_file *file = files->buckets[bucket];

			files->buckets[bucket] = file->next;
			vector_file_destroy(file);
		}
	}
	free(files->buckets);
}

struct vector_file *vector_file_create(const char *path, uint32_t count)
{
	struct vector_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->path = strdup(path);
	/* One more than needed, so that no vectors ask for memory too. */
	file->ids = malloc(((size_t)count + 1) * sizeof(*file->ids));
	file->count = count;
	if (!file->path || !file->ids) {
		vector_file_destroy(file);
		return NULL;
	}
	return file;
}

void vector_file_destroy(struct vector_file *file)
{
	if (!file)
		return;
	free(file->path);
	free(file->ids);
	free(file);
}

/* FNV-1a, 32 bits. */
static uint32_t hash_of(const char *path)
{
	uint32_t hash = 2166136261u;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 16777619u;
	return hash;
}

/* The pointer that points to the file, or to which it would be put. */
static struct vector_file **slot_of(const struct vector_files *files, const char *path)
{
	struct vector_file **slot = &files->buckets[hash_of(path) & (files->bucket_count - 1)];

	while (*slot && strcmp((*slot)->path, path) != 0)
		slot = &(*slot)->next;
	return slot;
}

struct vector_file *vector_files_find(const struct vector_files *files, const char *path)
{
	return *slot_of(files, path);
}

struct vector_file *vector_files_take(struct vector_files *files, const char *path)
{
	struct vector_file **slot = slot_of(files, path);
	struct vector_file *file = *slot;

	if (file) {
		*slot = file->next;
		files->count--;
	}
	return file;
}

static void put(struct vector_files *files, struct vector_file *file)
{
	struct vector_file **slot = slot_of(files, file->path);

	file->next = *slot;
	*slot = file;
	files->count++;
}

/* More buckets when there are as many files. Without memory the chains only get longer. */
static void widen(struct vector_files *files)
{
	struct vector_files wider = {.bucket_count = files->bucket_count * 2};

	wider.buckets = calloc(wider.bucket_count, sizeof(struct vector_file *));
	if (!wider.buckets)
		return;
	for (uint32_t bucket = 0; bucket < files->bucket_count; bucket++) {
		while (files->buckets[bucket]) {
			struct vector_file *file = files->buckets[bucket];

			files->buckets[bucket] = file->next;
			put(&wider, file);
		}
	}
	free(files->buckets);
	*files = wider;
}

void vector_files_enter(struct vector_files *files, struct vector_file *file)
{
	put(files, file);
	if (files->count >= files->bucket_count)
		widen(files);
}
