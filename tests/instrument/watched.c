/* A process to set watchpoints on: four bytes outside of any stack, touched on command.
 *
 * Commands, one a line, each answered with one line:
 *   address   where the bytes are
 *   touch     touch them, the last first
 *   thread    a new thread touches them and ends
 *   storm     four threads touch them from now on, a fifth starts and joins threads
 *   signals   how many SIGUSR1 were handled
 *   die       end at once
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile char bytes[4];
static volatile sig_atomic_t handled;

static void count(int number)
{
    (void)number;
    handled++;
}

static void *touch(void *unused)
{
    for (int i = 3; i >= 0; i--)
        bytes[i] = 1; /* one access each */
    return unused;
}

static void *touch_always(void *unused)
{
    for (;;) {
        touch(NULL);
        usleep(100);
    }
    return unused;
}

static void *start_always(void *unused)
{
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, touch, NULL) == 0)
            pthread_join(thread, NULL);
        usleep(100);
    }
    return unused;
}

int main(void)
{
    char line[64];
    pthread_t thread;
    signal(SIGUSR1, count);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "address")) {
            printf("%p\n", (void *)bytes);
            continue;
        } else if (!strcmp(line, "signals")) {
            printf("%d\n", (int)handled);
            continue;
        } else if (!strcmp(line, "touch")) {
            touch(NULL);
        } else if (!strcmp(line, "thread")) {
            if (pthread_create(&thread, NULL, touch, NULL) != 0)
                return 1;
            pthread_join(thread, NULL);
        } else if (!strcmp(line, "storm")) {
            for (int i = 0; i < 4; i++)
                if (pthread_create(&thread, NULL, touch_always, NULL) != 0)
                    return 1;
            if (pthread_create(&thread, NULL, start_always, NULL) != 0)
                return 1;
        } else if (!strcmp(line, "die")) {
            _exit(3);
        }
        puts("done");
    }
    return 0;
}
