/* How many bytes a file holds. */
#include "fiveways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITH_metadata_manager
#define WITH_metadata_manager 0
#endif

const int metadata_manager_default = WITH_metadata_manager;

size_t metadata_manager_answer(const char *content, size_t bytes, char *out, size_t room)
{
	(void)content;
	return (size_t)snprintf(out, room, "%zu\n", bytes);
}
