/* shortlived: threads that live for one round only, on stacks that glibc hands out again.
 *
 *   shortlived
 *
 * For each line `BYTES` on standard input the main thread starts a thread that writes a block
 * of BYTES and then sleeps until the next line; the thread of the round before is joined
 * first. The answer is `TID LOWEST` (decimal, hexadecimal). A line `0` only joins.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct round {
	size_t bytes;
	int wake[2];  /* closed by the main thread: the round is over */
	int ready[2]; /* written by the thread: it has touched its block */
	pid_t tid;
	uintptr_t lowest;
};

static __attribute__((noinline)) void touch(struct round *round)
{
	volatile unsigned char *block = __builtin_alloca(round->bytes);
	for (size_t i = round->bytes; i > 0; i--)
		block[i - 1] = 0x5a;
	round->lowest = (uintptr_t)block;
}

static void *live(void *argument)
{
	struct round *round = argument;
	char byte = 1;
	touch(round);
	round->tid = gettid();
	if (write(round->ready[1], &byte, 1) != 1)
		return NULL;
	while (read(round->wake[0], &byte, 1) > 0)
		;
	return NULL;
}

static void finish(pthread_t thread, struct round *round)
{
	close(round->wake[1]);
	pthread_join(thread, NULL);
	close(round->wake[0]);
	close(round->ready[0]);
	close(round->ready[1]);
}

int main(void)
{
	static char line[64];
	struct round round;
	pthread_t thread;
	int running = 0;
	ssize_t got;

	while ((got = read(STDIN_FILENO, line, sizeof line - 1)) > 0) {
		char byte;
		line[got] = '\0';
		if (running)
			finish(thread, &round);
		running = 0;
		round.bytes = strtoull(line, NULL, 10);
		round.tid = 0;
		round.lowest = 0;
		if (round.bytes > 0) {
			if (pipe(round.wake) != 0 || pipe(round.ready) != 0 ||
			    pthread_create(&thread, NULL, live, &round) != 0 ||
			    read(round.ready[0], &byte, 1) != 1) {
				fputs("shortlived: no thread\n", stderr);
				return 1;
			}
			running = 1;
		}
		dprintf(STDOUT_FILENO, "%d %lx\n", (int)round.tid, (unsigned long)round.lowest);
	}
	if (running)
		finish(thread, &round);
	return 0;
}
