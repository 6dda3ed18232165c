/* The sum of the numbers in a file; its table takes two KiB of stack. */
#include "fiveways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITH_vector_storage
#define WITH_vector_storage 0
#endif

const int vector_storage_default = WITH_vector_storage;

size_t vector_storage_answer(const char *content, size_t bytes, char *out, size_t room)
{
	double numbers[256];
	size_t count = 0;
	double sum = 0;
	char *next;

	(void)bytes;
	for (const char *at = content; count < 256; at = next + (*next == ',')) {
		numbers[count] = strtod(at, &next);
		if (next == at)
			break;
		count++;
	}
	for (size_t i = 0; i < count; i++)
		sum += numbers[i];
	return (size_t)snprintf(out, room, "%g\n", sum);
}
