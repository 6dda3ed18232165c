/*
 * Asks for memory in known amounts.
 *
 * Usage: allocate
 *
 * Reads lines from standard input, does what they say, and answers each with "done". Everything
 * is kept until "free" or "unmap".
 *
 *   map N      mmap of N bytes
 *   unmap      munmap of the last one
 *   grow N     the heap's end N bytes higher, by brk
 *   remap N    mremap of the last mapping to N bytes
 *   fail       an mmap of length 0, which the kernel refuses
 *   malloc N   malloc, calloc, realloc, posix_memalign, aligned_alloc of N bytes
 *   calloc N
 *   realloc N
 *   posix N
 *   aligned N
 *   small N    N times malloc and free of 1000 bytes
 *   free       frees the last allocation
 */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *volatile kept;

__attribute__((noinline)) static void take(const char *what, size_t size)
{
	void *found = NULL;

	/* The old block of realloc is the one that was kept. */
	if (strcmp(what, "malloc") == 0)
		found = malloc(size);
	else if (strcmp(what, "calloc") == 0)
		found = calloc(1, size);
	else if (strcmp(what, "realloc") == 0)
		found = realloc(kept, size);
	else if (strcmp(what, "aligned") == 0)
		found = aligned_alloc(64, size);
	else if (posix_memalign(&found, 64, size) != 0)
		found = NULL;
	if (found == NULL)
		exit(1);
	kept = found;
}

int main(void)
{
	char line[64], what[16], output[64];
	void *mapped = NULL;
	size_t size, mapped_size = 0;

	/* The streams' own buffers would be allocations, too. */
	setvbuf(stdout, output, _IOLBF, sizeof(output));
	for (;;) {
		ssize_t got = read(0, line, sizeof(line) - 1);

		if (got <= 0)
			return 0;
		line[got] = 0;
		size = 0;
		if (sscanf(line, "%15s %zu", what, &size) < 1)
			return 1;
		if (strcmp(what, "map") == 0) {
			mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			mapped_size = size;
		} else if (strcmp(what, "unmap") == 0) {
			munmap(mapped, mapped_size);
		} else if (strcmp(what, "remap") == 0) {
			mapped = mremap(mapped, mapped_size, size, MREMAP_MAYMOVE);
			mapped_size = size;
		} else if (strcmp(what, "grow") == 0) {
			if (sbrk((intptr_t)size) == (void *)-1)
				return 1;
		} else if (strcmp(what, "fail") == 0) {
			if (mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
				return 1;
		} else if (strcmp(what, "small") == 0) {
			while (size-- > 0) {
				kept = malloc(1000);
				free(kept);
			}
		} else if (strcmp(what, "free") == 0) {
			free(kept);
		} else {
			take(what, size);
		}
		puts("done");
		fflush(stdout);
	}
}
