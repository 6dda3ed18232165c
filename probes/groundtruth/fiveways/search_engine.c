/* The largest of the numbers in a file. */
#include "fiveways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef WITH_search_engine
#define WITH_search_engine 0
#endif

const int search_engine_default = WITH_search_engine;

size_t search_engine_answer(const char *content, size_t bytes, char *out, size_t room)
{
	double largest = 0;
	char *next;

	(void)bytes;
	for (const char *at = content;; at = next + (*next == ',')) {
		double number = strtod(at, &next);
		if (next == at)
			break;
		if (at == content || number > largest)
			largest = number;
	}
	return (size_t)snprintf(out, room, "%g\n", largest);
}
