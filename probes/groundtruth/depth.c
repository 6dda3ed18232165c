/* depth: a program whose stack depth is known to the byte.
 *
 *   depth main|pthread
 *
 * The named thread sleeps in read() on standard input. For each line `BYTES` it writes, fully
 * and with non-zero bytes, a block of BYTES below a known stack pointer, and answers with one
 * line of two hexadecimal addresses: `BASE LOWEST`. BASE is the known stack pointer, LOWEST the
 * lowest byte written; BASE - LOWEST == BYTES (rounded up to 16).
 *
 * Nothing is called while the block is live: the block is filled in line and the answer
 * leaves only after the frame is gone, from a buffer prepared by code that needs less stack
 * than the cushion. So LOWEST is the deepest byte of the whole round, with no constant to
 * take off.
 *
 * `BYTES z` writes zeros instead: what an instrument cannot see in fresh, zero-filled pages.
 * `BYTES h` leaves a hole: only the uppermost and the lowest 16 bytes of the block are written.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than any library function below needs, so that the smallest block still lies deeper. */
#define CUSHION_BYTES 4096u

static uintptr_t base;
static uintptr_t lowest;

/* Fills without a call: memset would put a return address below the block. */
static inline __attribute__((always_inline)) void fill(volatile unsigned char *block, size_t bytes,
						       unsigned char value)
{
	for (size_t i = bytes; i > 0; i--)
		block[i - 1] = value;
}

static __attribute__((noinline)) void touch(size_t bytes, char how)
{
	unsigned char value = how == 'z' ? 0x00 : 0x5a;
	size_t rounded = (bytes + 15u) & ~(size_t)15u;
	volatile unsigned char *cushion = __builtin_alloca(CUSHION_BYTES);
	fill(cushion, CUSHION_BYTES, 0x11);
	volatile unsigned char *block = __builtin_alloca(rounded);
	if (how == 'h') {
		fill(block + rounded - 16, 16, value);
		fill(block, 16, value);
	} else {
		fill(block, rounded, value);
	}
	base = (uintptr_t)block + rounded;
	lowest = (uintptr_t)block;
}

static char line[64];
static char answer[64];

static void *serve(void *unused)
{
	(void)unused;
	for (;;) {
		ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
		if (got <= 0)
			return NULL;
		line[got] = '\0';
		char *end;
		size_t bytes = strtoull(line, &end, 10);
		touch(bytes, *end == ' ' ? end[1] : '\0');
		int length = snprintf(answer, sizeof answer, "%lx %lx\n", (unsigned long)base,
				      (unsigned long)lowest);
		if (write(STDOUT_FILENO, answer, (size_t)length) != length)
			return NULL;
	}
}

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "main") != 0 && strcmp(argv[1], "pthread") != 0)) {
		fputs("usage: depth main|pthread\n", stderr);
		return 2;
	}
	if (strcmp(argv[1], "main") == 0) {
		serve(NULL);
		return 0;
	}
	pthread_t thread;
	if (pthread_create(&thread, NULL, serve, NULL) != 0) {
		fputs("depth: no thread\n", stderr);
		return 1;
	}
	pthread_join(thread, NULL);
	return 0;
}
