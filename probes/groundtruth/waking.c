/*
 * Threads that wake by their own timers, at uneven times, use their stacks, and look whether
 * everything in them is still as they left it. Each line on standard input is answered with the
 * number of times they woke; a thread that finds a changed byte ends the process with status 3.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, FRAME = 600, DEPTH = 3, SHORTEST_NS = 1000000, SPREAD_NS = 40000000, ONCE = 2 << 20,
       WORK_NS = 500000 };

static atomic_long woken;

/* Long enough for somebody else to come and write. */
static void work(void)
{
    struct timespec start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < WORK_NS);
}

static __attribute__((noinline)) void use(int depth, unsigned seed)
{
    volatile unsigned char frame[FRAME];

    for (int i = 0; i < FRAME; i++)
        frame[i] = (unsigned char)(seed + (unsigned)i);
    if (depth > 0)
        use(depth - 1, seed * 31 + 7);
    else
        work();
    for (int i = 0; i < FRAME; i++)
        if (frame[i] != (unsigned char)(seed + (unsigned)i))
            _exit(3);
}

/* Touched once, so that there is much to paint and painting takes long. */
static __attribute__((noinline)) void reach_down(void)
{
    volatile unsigned char deep[ONCE];

    for (int i = 0; i < ONCE; i += 512)
        deep[i] = 1;
    (void)deep[0];
}

static void *wake_again_and_again(void *argument)
{
    unsigned seed = (unsigned)(size_t)argument;

    reach_down();
    for (;;) {
        struct timespec pause = {0, SHORTEST_NS + rand_r(&seed) % SPREAD_NS};

        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        use(DEPTH, seed);
        atomic_fetch_add(&woken, 1);
    }
    return NULL;
}

int main(void)
{
    char line[64];

    for (size_t i = 0; i < THREADS; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, wake_again_and_again, (void *)(i + 1)))
            return 2;
    }
    while (fgets(line, sizeof line, stdin)) {
        printf("%ld\n", atomic_load(&woken));
        fflush(stdout);
    }
    return 0;
}
