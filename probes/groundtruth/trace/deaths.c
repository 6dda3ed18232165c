/*
 * Dies in a known way.
 *
 * Usage: deaths MODE
 *
 *   overflow   endless recursion on the main thread
 *   thread     endless recursion on a second thread
 *   leap       one frame of 512 KiB at a time, on the main thread
 *   null       writes through a null pointer
 *   below      writes 64 KiB below the lowest address of its stack, from a shallow frame
 *   abort      abort()
 *   kill       sends itself SIGKILL
 *   sent       sends itself SIGSEGV: the signal of an overflow without a fault
 *   exit       exits with status 3 after a message on standard error
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static volatile unsigned char sink;

__attribute__((noinline)) static int endless(int depth)
{
	unsigned char buffer[512];

	if (depth < 0) /* never; without it compilers object */
		return sink;
	memset(buffer, depth, sizeof(buffer));
	sink = buffer[7];
	return endless(depth + 1) + buffer[sink % 3];
}

__attribute__((noinline)) static int leap(int depth)
{
	unsigned char buffer[512 * 1024];

	if (depth < 0)
		return sink;
	buffer[depth % 5] = 1;
	sink = buffer[depth % 5];
	return leap(depth + 1) + buffer[sink % 3];
}

static void *on_thread(void *unused)
{
	endless(0);
	return unused;
}

/* The kernel lets the stack grow to any address above its limit: aim below that. */
static void below(void)
{
	unsigned char *stack_end = NULL;
	struct rlimit limit;
	char line[256];
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		if (strstr(line, "[stack]") != NULL)
			stack_end = (unsigned char *)strtoul(strchr(line, '-') + 1, NULL, 16);
	if (stack_end == NULL || getrlimit(RLIMIT_STACK, &limit) != 0)
		exit(2);
	*(volatile unsigned char *)(stack_end - limit.rlim_cur - 64 * 1024) = 1;
}

int main(int argc, char **argv)
{
	const char *mode = argc == 2 ? argv[1] : "";
	pthread_t thread;

	if (strcmp(mode, "overflow") == 0)
		return endless(0);
	if (strcmp(mode, "leap") == 0)
		return leap(0);
	if (strcmp(mode, "thread") == 0) {
		if (pthread_create(&thread, NULL, on_thread, NULL) == 0)
			pthread_join(thread, NULL);
	} else if (strcmp(mode, "null") == 0) {
		volatile int *nowhere = NULL;
		*nowhere = 1;
	} else if (strcmp(mode, "below") == 0) {
		below();
	} else if (strcmp(mode, "abort") == 0) {
		abort();
	} else if (strcmp(mode, "kill") == 0) {
		kill(getpid(), SIGKILL);
	} else if (strcmp(mode, "sent") == 0) {
		kill(getpid(), SIGSEGV);
	} else if (strcmp(mode, "exit") == 0) {
		fprintf(stderr, "deaths: asked to fail\n");
		return 3;
	}
	return 2;
}
