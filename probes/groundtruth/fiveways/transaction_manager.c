/* A checksum of a file: FNV-1a, 32 bits. */
#include "fiveways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITH_transaction_manager
#define WITH_transaction_manager 0
#endif

const int transaction_manager_default = WITH_transaction_manager;

size_t transaction_manager_answer(const char *content, size_t bytes, char *out, size_t room)
{
	unsigned int sum = 2166136261u;

	for (size_t i = 0; i < bytes; i++)
		sum = (sum ^ (unsigned char)content[i]) * 16777619u;
	return (size_t)snprintf(out, room, "%08x\n", sum);
}
