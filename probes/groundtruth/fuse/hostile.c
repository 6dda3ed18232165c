/*
 * hostile: makes a FUSE daemon misbehave. A library for LD_PRELOAD; the daemon itself is a real one
 * (bindfs), which calls these functions of the C library to serve its requests.
 *
 * HOSTILE is a list of words, separated by commas:
 *
 *   hang=FUNCTION  sleeps for ever when the daemon calls FUNCTION for something in the mount
 *   deaf           ignores SIGTERM, SIGINT and SIGHUP
 *   fork           has a child in a session of its own that ignores signals, too
 *   flood          writes to standard output without end, on a thread of its own
 *   rename         calls itself otherwise: its name and all of its arguments
 *   fill           writes into its data folder, HOSTILE_FOLDER, until there is no room
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *orders;
static int served;

static int told(const char *word)
{
	const char *found = orders == NULL ? NULL : strstr(orders, word);

	return found != NULL && (found[strlen(word)] == '\0' || found[strlen(word)] == ',');
}

static void hang_in(const char *function)
{
	char word[64];

	snprintf(word, sizeof(word), "hang=%s", function);
	while (served && told(word))
		pause();
}

/* Before the first folder is made, the daemon has to mount and to answer. */
#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir);
	served = 1;
	hang_in("mkdir");
	return real(path, mode);
}

int rmdir(const char *path)
{
	REAL(rmdir);
	hang_in("rmdir");
	return real(path);
}

int unlink(const char *path)
{
	REAL(unlink);
	hang_in("unlink");
	return real(path);
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	hang_in("rename");
	return real(from, to);
}

int truncate(const char *path, off_t length)
{
	REAL(truncate);
	hang_in("truncate");
	return real(path, length);
}

/* What lstat() was called in programs that were linked before glibc 2.33. */
int __lxstat64(int version, const char *path, struct stat64 *found);

int __lxstat64(int version, const char *path, struct stat64 *found)
{
	REAL(__lxstat64);
	hang_in("lstat");
	return real(version, path, found);
}

int lstat(const char *path, struct stat *found)
{
	int (*real)(const char *, struct stat *) =
		(int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "lstat64");

	hang_in("lstat");
	return real(path, found);
}

int statvfs(const char *path, struct statvfs *found)
{
	REAL(statvfs);
	hang_in("statvfs");
	return real(path, found);
}

DIR *opendir(const char *path)
{
	REAL(opendir);
	hang_in("opendir");
	return real(path);
}

int open(const char *path, int flags, ...)
{
	REAL(open);
	va_list rest;

	va_start(rest, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	hang_in("open");
	return real(path, flags, mode);
}

ssize_t pread(int file, void *buffer, size_t bytes, off_t offset)
{
	REAL(pread);
	hang_in("pread");
	return real(file, buffer, bytes, offset);
}

ssize_t pwrite(int file, const void *buffer, size_t bytes, off_t offset)
{
	REAL(pwrite);
	hang_in("pwrite");
	return real(file, buffer, bytes, offset);
}

static void *flood(void *unused)
{
	static char line[4096];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	while (write(STDOUT_FILENO, line, sizeof(line)) > 0)
		;
	return unused;
}

static void fill(const char *folder)
{
	static char block[1 << 16];
	char path[4096];

	snprintf(path, sizeof(path), "%s/filler", folder);
	int file = open(path, O_WRONLY | O_CREAT, 0600);
	while (write(file, block, sizeof(block)) > 0)
		;
	close(file);
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
	pthread_t thread;

	orders = getenv("HOSTILE");
	if (orders == NULL || argc < 2 || strstr(argv[0], "bindfs") == NULL)
		return;
	if (told("deaf") || told("fork")) {
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
	}
	if (told("fork") && fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
	if (told("flood"))
		pthread_create(&thread, NULL, flood, NULL);
	if (told("fill"))
		fill(getenv("HOSTILE_FOLDER"));
	if (told("rename"))
		prctl(PR_SET_NAME, "kworker/0:1");
}
