/* The files that hold vectors, by path. */
#ifndef VECTOR_FILES_H
#define VECTOR_FILES_H

#include <stdint.h>

struct vector_file {
	struct vector_file *next; /* in the same bucket */
	char *path;
	uint32_t count;
	uint32_t *ids; /* of the lines, in their order */
};

struct vector_files {
	struct vector_file **buckets;
	uint32_t bucket_count; /* a power of two */
	uint32_t count;
};

int vector_files_init(struct vector_files *files);
void vector_files_destroy(struct vector_files *files);

/* A file outside of the table, with room for `count` ids; NULL without memory. */
struct vector_file *vector_file_create(const char *path, uint32_t count);
void vector_file_destroy(struct vector_file *file);

/* NULL when there is none. */
struct vector_file *vector_files_find(const struct vector_files *files, const char *path);
/* Removes the file from the table and hands it over; NULL when there is none. */
struct vector_file *vector_files_take(struct vector_files *files, const char *path);
/* No file of that path is in the table. Cannot fail. */
void vector_files_enter(struct vector_files *files, struct vector_file *file);

#endif
