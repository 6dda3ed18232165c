/* Programs with known faults of memory, and a known depth of stack.
 *
 * Built twice. As a program: `leaks leak COUNT BYTES` loses COUNT blocks of BYTES each;
 * `leaks chain BYTES` loses a block through which another is lost; `leaks read COUNT` reads COUNT
 * times past the end of a block, at one place; `leaks stack BYTES` goes BYTES deep; `leaks clean`.
 * As a library (-DPRELOAD) it stands before libc's mkdir(): each call loses 100 bytes and reads one
 * byte past the end of a block, so a daemon that calls mkdir() gets known faults.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static volatile char sink;

static NOINLINE void lose(size_t bytes) {
    char *volatile block = malloc(bytes);
    block[0] = 1;
    block = NULL;
}

static NOINLINE void read_past(void) {
    char *block = malloc(16);
    memset(block, 1, 16);
    sink = ((volatile char *)block)[16];
    free(block);
}

#ifdef PRELOAD

int mkdir(const char *path, mode_t mode) {
    lose(100);
    read_past();
    return (int)syscall(SYS_mkdirat, -100, path, mode);
}

#else

static NOINLINE void lose_chain(size_t bytes) {
    void *volatile *volatile first = malloc(bytes);
    first[0] = malloc(bytes);
    first = NULL;
}

static NOINLINE void deep(size_t bytes) {
    volatile char *frame = alloca(bytes);
    frame[0] = 1;
    sink = frame[0];
}

/* Overwrites registers and stack that may still hold pointers to what was lost. */
static NOINLINE void forget(void) {
    volatile char room[4096];
    for (size_t i = 0; i < sizeof room; i++) room[i] = 0;
    sink = room[7];
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "clean";
    long number = count > 2 ? atol(words[2]) : 0;
    size_t bytes = (size_t)(count > 3 ? atol(words[3]) : number);

    if (!strcmp(what, "leak"))
        for (long i = 0; i < number; i++) lose(bytes);
    if (!strcmp(what, "chain")) lose_chain(bytes);
    if (!strcmp(what, "read"))
        for (long i = 0; i < number; i++) read_past();
    if (!strcmp(what, "stack")) deep(bytes);
    forget();
    return 0;
}

#endif
