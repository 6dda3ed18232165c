/*
 * Dies in a known way, with a known call chain.
 *
 * Usage: deaths MODE
 *
 *   walk         endless recursion on the main thread, two functions that call each other
 *   walk_thread  the same on a second thread
 *   steps        recursion with the smallest frames there are: some 100,000 fit into 8 MiB
 *   table        one frame of 3 MiB on the main thread
 *   chain        four functions, one after the other, that prepare tables of 256 KiB each
 *   many         24 functions, one after the other, of 3 KiB each
 *   null         writes through a null pointer
 *   wild         reads through an address that no process can have
 *   bus          reads a mapped file behind its end
 *   abort        abort()
 *   assertion    an assertion that does not hold
 *   illegal      an instruction that does not exist
 *   divide       divides by zero
 *   file_size    writes a file beyond RLIMIT_FSIZE
 *   kill         sends itself SIGKILL
 *   handler      recursion until the kernel cannot put a signal handler's frame on the stack
 *   timer        the same, with an alarm that finds the stack nearly full
 *   read         has the kernel write into a buffer that is too deep for the stack
 *   alternate    overflows, and a handler on a stack of its own says so and aborts
 *   exit         exits with status 3 after a message
 */

#define _GNU_SOURCE /* pthread_getattr_np */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
/* The compiler must believe that somebody reads the array. */
#define USED(array) __asm__ volatile("" : : "r"(array) : "memory")

static volatile unsigned char sink;

/* -- recursion ------------------------------------------------------------------------- */

NOINLINE static int visit(int depth);

NOINLINE static int walk(int depth)
{
	unsigned char path[200];

	memset(path, depth, sizeof(path));
	sink = path[depth & 7];
	return visit(depth + 1) + path[sink % 3];
}

NOINLINE static int visit(int depth)
{
	unsigned char seen[100];

	memset(seen, depth, sizeof(seen));
	sink = seen[depth & 7];
	return walk(depth + 1) + seen[sink % 3];
}

static void *walk_on_thread(void *unused)
{
	sink = (unsigned char)walk(0);
	return unused;
}

/* Its own saved registers and a few words. */
NOINLINE static long step(long depth)
{
	volatile long here[4] = {depth, depth, depth, depth};

	return depth < 0 ? sink : step(depth + 1) + here[depth & 3];
}

/* -- frames ---------------------------------------------------------------------------- */

NOINLINE static int table(int seed)
{
	unsigned char rows[3 * 1024 * 1024];

	memset(rows, seed, sizeof(rows));
	USED(rows);
	sink = rows[seed];
	return rows[sink];
}

#define PREPARE(name, next)                                                                    \
	NOINLINE static int name(int seed)                                                     \
	{                                                                                      \
		unsigned char rows[256 * 1024];                                                \
		memset(rows, seed, sizeof(rows));                                              \
		USED(rows);                                                                    \
		sink = rows[seed];                                                             \
		return next + rows[sink];                                                      \
	}

PREPARE(prepare_levels, sink)
PREPARE(prepare_links, prepare_levels(seed + 1))
PREPARE(prepare_index, prepare_links(seed + 1))
PREPARE(prepare_storage, prepare_index(seed + 1))

#define SMALL(number, next)                                                                    \
	NOINLINE static int layer_##number(int seed)                                           \
	{                                                                                      \
		unsigned char part[3000];                                                      \
		memset(part, seed, sizeof(part));                                              \
		USED(part);                                                                    \
		sink = part[seed];                                                             \
		return next + part[sink];                                                      \
	}

SMALL(24, sink)
SMALL(23, layer_24(seed)) SMALL(22, layer_23(seed)) SMALL(21, layer_22(seed))
SMALL(20, layer_21(seed)) SMALL(19, layer_20(seed)) SMALL(18, layer_19(seed))
SMALL(17, layer_18(seed)) SMALL(16, layer_17(seed)) SMALL(15, layer_16(seed))
SMALL(14, layer_15(seed)) SMALL(13, layer_14(seed)) SMALL(12, layer_13(seed))
SMALL(11, layer_12(seed)) SMALL(10, layer_11(seed)) SMALL(9, layer_10(seed))
SMALL(8, layer_9(seed)) SMALL(7, layer_8(seed)) SMALL(6, layer_7(seed))
SMALL(5, layer_6(seed)) SMALL(4, layer_5(seed)) SMALL(3, layer_4(seed))
SMALL(2, layer_3(seed)) SMALL(1, layer_2(seed))

/* -- the kernel ------------------------------------------------------------------------ */

static void handler(int number)
{
	sink = (unsigned char)number;
}

static int with_handler(void)
{
	signal(SIGSEGV, handler);
	return walk(0);
}

/* Down to the last page of the stack, then a signal: its frame does not fit there. */
NOINLINE static int down_to(unsigned char *lowest, int depth)
{
	unsigned char room[256];

	memset(room, depth, sizeof(room));
	if (room - lowest < 700) {
		raise(SIGUSR1);
		return room[7];
	}
	return down_to(lowest, depth + 1) + room[sink % 3];
}

static unsigned char *lowest_address(void)
{
	pthread_attr_t attributes;
	void *address = NULL;
	size_t size = 0;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
	    pthread_attr_getstack(&attributes, &address, &size) != 0)
		exit(2);
	return address;
}

static int full_stack(void)
{
	signal(SIGUSR1, handler);
	return down_to(lowest_address(), 0);
}

static int read_too_deep(void)
{
	struct rlimit limit;
	unsigned char *volatile here = (unsigned char *)&limit;
	int zero = open("/dev/zero", O_RDONLY);

	if (zero < 0 || getrlimit(RLIMIT_STACK, &limit) != 0)
		return 2;
	/* The buffer's lower half is below the limit; nobody but the kernel writes to it. */
	if (read(zero, here - limit.rlim_cur - 4096, 8192) < 0) {
		perror("deaths: read");
		return 3;
	}
	return 2;
}

static void say_and_abort(int number)
{
	static const char words[] = "thread 'main' has overflowed its stack\n";

	if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
		_exit(number);
	abort();
}

static int with_alternate_stack(void)
{
	static unsigned char room[64 * 1024];
	stack_t stack = {.ss_sp = room, .ss_size = sizeof(room)};
	struct sigaction action = {.sa_handler = say_and_abort, .sa_flags = SA_ONSTACK};

	if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGSEGV, &action, NULL) != 0)
		return 2;
	return walk(0);
}

/* -- the rest -------------------------------------------------------------------------- */

NOINLINE static int behind_the_end(void)
{
	char name[] = "/tmp/deaths-XXXXXX";
	int file = mkstemp(name);
	unsigned char *bytes;

	if (file < 0 || unlink(name) != 0 || ftruncate(file, 4096) != 0)
		return 2;
	bytes = mmap(NULL, 8192, PROT_READ, MAP_SHARED, file, 0);
	return bytes == MAP_FAILED ? 2 : bytes[4096];
}

NOINLINE static int too_large(void)
{
	struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
	char name[] = "/tmp/deaths-XXXXXX";
	char bytes[8192] = "";
	int file = mkstemp(name);

	if (file < 0 || unlink(name) != 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 2;
	/* The first write ends at the limit, the second begins there. */
	for (int turn = 0; turn < 2; turn++)
		if (write(file, bytes, sizeof(bytes)) < 0)
			return 2;
	return 2;
}

NOINLINE static int null_pointer(int *nowhere)
{
	return *(volatile int *)nowhere;
}

NOINLINE static int holds(int number)
{
	assert(number == 0 && "the index is consistent");
	return number;
}

NOINLINE static int divide(int number)
{
	volatile int zero = 0;

	return number / zero;
}

static int second_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, walk_on_thread, NULL) == 0)
		pthread_join(thread, NULL);
	return 2;
}

static int is(const char *mode, const char *name)
{
	return strcmp(mode, name) == 0;
}

static int die_of_stack(const char *mode)
{
	if (is(mode, "walk"))
		return walk(0);
	if (is(mode, "walk_thread"))
		return second_thread();
	if (is(mode, "steps"))
		return (int)step(0);
	if (is(mode, "table"))
		return table(1);
	if (is(mode, "chain"))
		return prepare_storage(1);
	if (is(mode, "many"))
		return layer_1(1);
	if (is(mode, "handler"))
		return with_handler();
	if (is(mode, "timer"))
		return full_stack();
	if (is(mode, "read"))
		return read_too_deep();
	if (is(mode, "alternate"))
		return with_alternate_stack();
	return -1;
}

int main(int argc, char **argv)
{
	const char *mode = argc == 2 ? argv[1] : "";
	int result = die_of_stack(mode);

	if (result != -1)
		return result;
	if (is(mode, "null"))
		return null_pointer(NULL);
	if (is(mode, "wild"))
		return null_pointer((int *)0x8000000000000000UL);
	if (is(mode, "bus"))
		return behind_the_end();
	if (is(mode, "abort"))
		abort();
	if (is(mode, "assertion"))
		return holds(argc);
	if (is(mode, "illegal"))
		__builtin_trap();
	if (is(mode, "divide"))
		return divide(argc);
	if (is(mode, "file_size"))
		return too_large();
	if (is(mode, "kill"))
		return kill(getpid(), SIGKILL);
	if (is(mode, "exit")) {
		fprintf(stderr, "deaths: asked to fail\n");
		return 3;
	}
	return 2;
}
