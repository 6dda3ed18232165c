/* What the shell and the five components say to each other. */
#ifndef FIVEWAYS_H
#define FIVEWAYS_H

#include <stddef.h>

/*
 * A component looks at a file's content and answers with another one. It writes at most `room`
 * bytes to `out` and returns how many there are.
 */
typedef size_t answer_fn(const char *content, size_t bytes, char *out, size_t room);

struct component {
	const char *name;   /* as in arguments, variables and the configuration file */
	const char *suffix; /* of the files that it answers for */
	answer_fn *answer;
	int on;
};

answer_fn vector_storage_answer;
answer_fn search_engine_answer;
answer_fn metadata_manager_answer;
answer_fn cache_manager_answer;
answer_fn transaction_manager_answer;

extern const int vector_storage_default;
extern const int search_engine_default;
extern const int metadata_manager_default;
extern const int cache_manager_default;
extern const int transaction_manager_default;

#endif
