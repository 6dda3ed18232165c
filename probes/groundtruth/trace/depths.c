/*
 * Goes to known depths of its stack on request.
 *
 * Usage: depths [thread]
 *
 * Reads lines from standard input, does what they say, and answers each with "done". All work is
 * done on the main thread, or with the argument `thread` on a second one. Frames are written to
 * their last byte, so what is known of the depth is also true of the bytes touched.
 *
 *   walk N    N frames of walk(), each with a buffer of 4096 bytes
 *   pair N    N frames, ping() and pong() in turn, each with a buffer of 1024 bytes
 *   big       one frame with a buffer of 1 MiB
 *   chain     first() > second() > third(), buffers of 8, 24 and 48 KiB
 *   fill      read() from /dev/zero into 64 whole, untouched pages: the kernel touches them
 *   address   prints the address of a local variable instead of "done"
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB 1024
#define PAGE 4096

/* Volatile, so that no buffer is optimised away. */
static volatile unsigned char sink;

static void use(unsigned char *buffer, size_t size)
{
	memset(buffer, 0xa5, size);
	sink = buffer[size / 2];
}

__attribute__((noinline)) static int walk(int left)
{
	unsigned char buffer[4 * KIB];

	use(buffer, sizeof(buffer));
	if (left > 1)
		return walk(left - 1) + buffer[left % 7];
	return buffer[0];
}

static int pong(int left);

__attribute__((noinline)) static int ping(int left)
{
	unsigned char buffer[KIB];

	use(buffer, sizeof(buffer));
	return left > 1 ? pong(left - 1) + buffer[left % 7] : buffer[0];
}

__attribute__((noinline)) static int pong(int left)
{
	unsigned char buffer[KIB];

	use(buffer, sizeof(buffer));
	return left > 1 ? ping(left - 1) + buffer[left % 7] : buffer[0];
}

__attribute__((noinline)) static int big(void)
{
	unsigned char buffer[KIB * KIB];

	use(buffer, sizeof(buffer));
	return buffer[1];
}

__attribute__((noinline)) static int third(void)
{
	unsigned char buffer[48 * KIB];

	use(buffer, sizeof(buffer));
	return buffer[1];
}

__attribute__((noinline)) static int second(void)
{
	unsigned char buffer[24 * KIB];

	use(buffer, sizeof(buffer));
	return third() + buffer[1];
}

__attribute__((noinline)) static int first(void)
{
	unsigned char buffer[8 * KIB];

	use(buffer, sizeof(buffer));
	return second() + buffer[1];
}

__attribute__((noinline)) static int fill(void)
{
	/* The upper part is never touched: it lies over pages that earlier frames have touched. */
	unsigned char room[(256 + 64) * KIB];
	unsigned char *pages = room + (-(uintptr_t)room & (PAGE - 1));
	int zero = open("/dev/zero", O_RDONLY);

	if (zero < 0 || read(zero, pages, 256 * KIB) != 256 * KIB)
		exit(2);
	close(zero);
	return pages[1];
}

/* One byte per read(): nothing of the next line is taken, and no stdio frames go deep. */
static int next_line(char *line, size_t size)
{
	size_t length = 0;

	while (length + 1 < size && read(0, line + length, 1) == 1) {
		if (line[length] == '\n') {
			line[length] = '\0';
			return 1;
		}
		length++;
	}
	return 0;
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		exit(2);
}

static void *serve(void *unused)
{
	char line[64];
	char address[32];

	while (next_line(line, sizeof(line))) {
		if (strncmp(line, "walk ", 5) == 0)
			walk(atoi(line + 5));
		else if (strncmp(line, "pair ", 5) == 0)
			ping(atoi(line + 5));
		else if (strcmp(line, "big") == 0)
			big();
		else if (strcmp(line, "chain") == 0)
			first();
		else if (strcmp(line, "fill") == 0)
			fill();
		else if (strcmp(line, "address") == 0) {
			snprintf(address, sizeof(address), "%p\n", (void *)line);
			say(address);
			continue;
		} else
			exit(2);
		say("done\n");
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc == 1) {
		serve(NULL);
	} else if (argc == 2 && strcmp(argv[1], "thread") == 0) {
		if (pthread_create(&thread, NULL, serve, NULL) != 0)
			return 2;
		pthread_join(thread, NULL);
	} else {
		fprintf(stderr, "usage: depths [thread]\n");
		return 2;
	}
	return 0;
}
