/*
 * garbage: makes a FUSE daemon answer nonsense. A library for LD_PRELOAD; the daemon itself is a
 * real one (bindfs), whose answers to the kernel go through this writev().
 *
 * GARBAGE is one word:
 *
 *   init      the first answer of all is noise
 *   unique    to a request that was never made
 *   length    of another length than they say
 *   huge      of a length that is 4 GiB less one byte, they say
 *   beyond    an error number that the kernel does not take (-5000)
 *   unknown   an error number that no system has (511)
 *   eintr     EINTR, always
 *   noise     the right length, and random bytes
 *   empty     no content where content belongs
 *   long      64 bytes more than belong there
 *   more      twice as much data as was asked for, when a file is read
 *   size      files of a negative size
 *   type      files of a type that does not exist
 *   other     everything is a device
 *   number    everything has the same node, and the root's
 *   times     files from the end of time
 *   slash     directory entries with a slash in their names
 *   nameless  directory entries without a name
 *   endless   directory entries with names of 4096 bytes
 *   bytes     directory entries whose names are no UTF-8
 *   statfs    a filesystem with blocks of 0 bytes, as many of them as there are numbers
 *   twice     every answer twice
 *   notify    beside the answers, messages that nobody asked for
 *
 * For each answer that it spoils it appends a byte to the file GARBAGE_TALLY, if that is set.
 *
 * An answer to a first look at the mount is left alone: garbage begins with the first folder that
 * is made, or with the first time that the root is listed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROOM (2u << 20)

static const char *order;
static int begun;
static int tally = -1;

/* Each thread of libfuse answers what it has read. */
static __thread struct fuse_in_header asked;
static __thread uint32_t asked_bytes;

static int told(const char *word)
{
	return order != NULL && strcmp(order, word) == 0;
}

static int is_device(int file)
{
	char link[32];
	char target[16];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	ssize_t got = readlink(link, target, sizeof(target));
	return got == 9 && memcmp(target, "/dev/fuse", 9) == 0;
}

ssize_t read(int file, void *buffer, size_t bytes)
{
	ssize_t (*real)(int, void *, size_t) =
		(ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t got = real(file, buffer, bytes);

	if (order != NULL && got >= (ssize_t)sizeof(asked) && is_device(file)) {
		memcpy(&asked, buffer, sizeof(asked));
		if (asked.opcode == FUSE_READ)
			asked_bytes = ((const struct fuse_read_in *)(const void *)
				((const char *)buffer + sizeof(asked)))->size;
		if (asked.opcode == FUSE_MKDIR || asked.opcode == FUSE_READDIR)
			begun = 1;
	}
	return got;
}

static void scribble(unsigned char *bytes, size_t count)
{
	/* A generator with a fixed seed (xorshift): the same noise each time. */
	static __thread uint64_t state = 88172645463325252u;

	for (size_t i = 0; i < count; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		bytes[i] = (unsigned char)state;
	}
}

static struct fuse_attr *attributes_in(char *body)
{
	switch (asked.opcode) {
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return &((struct fuse_attr_out *)(void *)body)->attr;
	case FUSE_LOOKUP:
	case FUSE_MKDIR:
	case FUSE_MKNOD:
	case FUSE_CREATE:
		return &((struct fuse_entry_out *)(void *)body)->attr;
	default:
		return NULL;
	}
}

/* Lies about a file, in an answer that is otherwise right. */
static void lie(char *body)
{
	struct fuse_attr *attr = attributes_in(body);

	if (attr == NULL)
		return;
	if (told("size"))
		attr->size = (uint64_t)-4096;
	if (told("type"))
		attr->mode |= S_IFMT;
	if (told("other"))
		attr->mode = (attr->mode & 07777) | S_IFCHR;
	if (told("times")) {
		attr->atime = attr->mtime = attr->ctime = (uint64_t)INT64_MAX;
		attr->atimensec = attr->mtimensec = attr->ctimensec = UINT32_MAX;
	}
	if (told("number")) {
		attr->ino = FUSE_ROOT_ID;
		if (asked.opcode != FUSE_GETATTR && asked.opcode != FUSE_SETATTR)
			((struct fuse_entry_out *)(void *)body)->nodeid = FUSE_ROOT_ID;
	}
}

/* One directory entry of our own instead of those that there are. */
static size_t entry(char *body)
{
	struct fuse_dirent *found = (struct fuse_dirent *)(void *)body;
	size_t length = told("nameless") ? 0 : told("endless") ? 4096 : 7;

	memset(body, 0, sizeof(*found) + length + 8);
	found->ino = 77;
	found->off = 1u << 30;
	found->type = 15;
	found->namelen = (uint32_t)length;
	memset(found->name, told("bytes") ? 0xff : 'n', length);
	if (told("slash"))
		memcpy(found->name, "../../x", 7);
	return FUSE_DIRENT_SIZE(found);
}

/* Changes an answer; returns the length of its body. */
static size_t spoil(struct fuse_out_header *head, char *body, size_t bytes)
{
	int lists = asked.opcode == FUSE_READDIR || asked.opcode == FUSE_READDIRPLUS;

	if (told("unknown") || told("eintr")) {
		head->error = told("eintr") ? -4 : -511;
		return 0;
	}
	if (told("beyond")) {
		head->error = -5000;
		return 0;
	}
	if (head->error != 0)
		return bytes;
	if (told("empty"))
		return 0;
	if (told("noise"))
		scribble((unsigned char *)body, bytes);
	else if (told("more") && asked.opcode == FUSE_READ)
		return 2 * (size_t)asked_bytes;
	else if (told("long"))
		return bytes + 64;
	else if (lists && bytes > 0 &&
		 (told("slash") || told("nameless") || told("endless") || told("bytes")))
		return entry(body);
	if (told("statfs") && asked.opcode == FUSE_STATFS) {
		memset(body, 0xff, bytes);
		((struct fuse_statfs_out *)(void *)body)->st.bsize = 0;
	}
	lie(body);
	return bytes;
}

static void disturb(ssize_t (*real)(int, const struct iovec *, int), int file)
{
	static int code;
	static char noise[64];
	struct fuse_out_header head = { sizeof(head) + sizeof(noise), 0, 0 };
	struct iovec parts[2] = { { &head, sizeof(head) }, { noise, sizeof(noise) } };

	scribble((unsigned char *)noise, sizeof(noise));
	/* Not 7: FUSE_NOTIFY_RESEND is an honest wish, and what was done already is done again. */
	head.error = code++ % 9 - 2;
	(void)!real(file, parts, 2);
}

static uint64_t digest(const char *bytes, size_t count)
{
	uint64_t sum = 14695981039346656037u ^ count; /* FNV-1a */

	for (size_t i = 0; i < count; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
	return sum;
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
	static __thread char *room;
	ssize_t (*real)(int, const struct iovec *, int) =
		(ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	ssize_t whole = 0;
	size_t bytes = 0;

	if (order == NULL || !is_device(file))
		return real(file, parts, count);
	if (told("init") ? asked.opcode != FUSE_INIT : !begun)
		return real(file, parts, count);
	if (room == NULL)
		room = calloc(1, ROOM);
	for (int i = 0; i < count; i++) {
		memcpy(room + bytes, parts[i].iov_base, parts[i].iov_len);
		bytes += parts[i].iov_len;
	}
	whole = (ssize_t)bytes;

	struct fuse_out_header *head = (struct fuse_out_header *)(void *)room;
	struct iovec changed = { room, bytes };
	uint64_t honest = digest(room, bytes);

	if (told("init"))
		scribble((unsigned char *)room + sizeof(*head), bytes - sizeof(*head));
	else
		changed.iov_len = sizeof(*head) + spoil(head, room + sizeof(*head), bytes - sizeof(*head));
	head->len = (uint32_t)changed.iov_len;
	if (told("unique"))
		head->unique += 1u << 30;
	if (told("length"))
		head->len += 1;
	if (told("huge"))
		head->len = UINT32_MAX;
	if (told("notify"))
		disturb(real, file);
	if (told("notify") || told("twice") || digest(room, changed.iov_len) != honest)
		(void)!write(tally, "!", 1);
	ssize_t done = real(file, &changed, 1);
	if (told("twice"))
		(void)!real(file, &changed, 1);
	/* The daemon is told that all is well, or it would give up. */
	return done < 0 && !begun ? done : whole;
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
	if (argc > 1 && strstr(argv[0], "bindfs") != NULL)
		order = getenv("GARBAGE");
	if (order != NULL && getenv("GARBAGE_TALLY") != NULL)
		tally = open(getenv("GARBAGE_TALLY"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}
