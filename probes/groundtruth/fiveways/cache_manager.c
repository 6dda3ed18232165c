/* A file, twice. */
#include "fiveways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITH_cache_manager
#define WITH_cache_manager 0
#endif

const int cache_manager_default = WITH_cache_manager;

size_t cache_manager_answer(const char *content, size_t bytes, char *out, size_t room)
{
	size_t copied = bytes < room / 2 ? bytes : room / 2;

	memcpy(out, content, copied);
	memcpy(out + copied, content, copied);
	return 2 * copied;
}
