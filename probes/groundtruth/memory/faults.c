/* Touches fresh pages and gives up the processor as often as it is told, at a line on standard
 * input: `touch PAGES` or `sleep TIMES`. Answers "done"; what it does besides is a handful of both.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096L

__attribute__((noinline)) void touch_pages(volatile char *room, long pages) {
    for (long page = 0; page < pages; page++) room[page * PAGE] = 1;
}

int main(void) {
    char line[64], what[16];
    long number;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%15s %ld", what, &number) != 2) return 1;
        if (!strcmp(what, "touch")) {
            char *room = mmap(NULL, (size_t)(number * PAGE), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (room == MAP_FAILED) return 2;
            /* Huge pages would make one fault of many. */
            madvise(room, (size_t)(number * PAGE), MADV_NOHUGEPAGE);
            touch_pages(room, number);
            munmap(room, (size_t)(number * PAGE));
        } else {
            for (long i = 0; i < number; i++) poll(NULL, 0, 1);
        }
        puts("done");
    }
    return 0;
}
