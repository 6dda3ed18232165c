/*
 * obedient: a FUSE daemon that does what it is told, and says how deep that took its stack.
 *
 * Usage: obedient MOUNTPOINT [thread]
 *
 * It serves one request after the other, on the main thread or with `thread` on a second one. In
 * its root folders can be made, and nothing else. A folder's attribute `user.do`, when it is set,
 * is an order:
 *
 *   block N     writes a block of N bytes below a known stack pointer
 *   hole N      the same, but only its uppermost and its lowest 64 bytes are written
 *   walk N      N frames of walk(), each with a buffer of 4096 bytes
 *   big         one frame with a buffer of 1 MiB
 *   wild        writes through a null pointer: a death that is no overflow
 *   fill        read() from /dev/zero into 64 whole, untouched pages: the kernel touches them
 *   allocate N  N bytes of memory, every page written, then given back
 *   leak N      N bytes of memory, lost
 *   beyond N    writes one byte past the end of N bytes of memory
 *   pause N     sleeps for N milliseconds
 *   fail N      answers with error number N
 *   mute        answers no RELEASEDIR from now on
 *   linger N    sleeps for N milliseconds before each RELEASEDIR's answer from now on
 *   calm        nothing
 *
 * The attribute `user.depth`, when it is read, is the depth of the lowest byte that the last
 * block, hole or walk wrote, from the top of the stack's mapping, in decimal; `user.below` is the
 * same from the frame in which it waits for requests.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024
#define PAGE 4096
#define MOST_FOLDERS 128
/* More than serving a request needs, so that the smallest block still lies deeper. */
#define CUSHION_BYTES 4096u

#if defined(__GNUC__) && !defined(__clang__)
#define ONE_FRAME __attribute__((noinline, noipa))
#else
#define ONE_FRAME __attribute__((noinline))
#endif

static char request[256 * KIB];
static char names[MOST_FOLDERS][NAME_MAX + 1];
static unsigned int folders = 1; /* the root is the first, and has no name */
static int device = -1;
static int mute;
static long linger;
static uintptr_t stack_top;
static uintptr_t waiting_frame;
static uintptr_t lowest;
static volatile unsigned char sink;

/* Fills without a call: memset would put a return address below the block. */
static inline __attribute__((always_inline)) void fill(volatile unsigned char *block, size_t bytes)
{
	for (size_t i = bytes; i > 0; i--)
		block[i - 1] = 0x5a;
}

ONE_FRAME static void touch(size_t bytes, int hole)
{
	size_t rounded = (bytes + 15u) & ~(size_t)15u;
	volatile unsigned char *cushion = __builtin_alloca(CUSHION_BYTES);
	fill(cushion, CUSHION_BYTES);
	volatile unsigned char *block = __builtin_alloca(rounded);
	if (hole) {
		fill(block + rounded - 64, 64);
		fill(block, 64);
	} else {
		fill(block, rounded);
	}
	lowest = (uintptr_t)block;
}

ONE_FRAME static int walk(long left)
{
	volatile unsigned char buffer[4 * KIB];

	fill(buffer, sizeof(buffer));
	lowest = (uintptr_t)buffer;
	if (left > 1)
		return walk(left - 1) + buffer[left % 7];
	return buffer[0];
}

ONE_FRAME static int big(void)
{
	volatile unsigned char buffer[KIB * KIB];

	fill(buffer, sizeof(buffer));
	return buffer[1];
}

ONE_FRAME static int let_kernel_fill(void)
{
	/* The upper part is never touched: it lies over pages that earlier frames have touched. */
	unsigned char room[(256 + 64) * KIB];
	unsigned char *pages = room + (-(uintptr_t)room & (PAGE - 1));
	int zero = open("/dev/zero", O_RDONLY);

	if (zero < 0 || read(zero, pages, 256 * KIB) != 256 * KIB)
		return EIO;
	close(zero);
	sink = pages[1];
	return 0;
}

ONE_FRAME static int allocate(size_t bytes)
{
	volatile unsigned char *memory = malloc(bytes);

	if (memory == NULL)
		return ENOMEM;
	for (size_t i = 0; i < bytes; i += PAGE)
		memory[i] = 1;
	free((void *)memory);
	return 0;
}

ONE_FRAME static int leak(size_t bytes)
{
	volatile unsigned char *memory = malloc(bytes);

	if (memory == NULL)
		return ENOMEM;
	memory[0] = 1;
	return 0;
}

ONE_FRAME static int beyond(size_t bytes)
{
	volatile unsigned char *memory = malloc(bytes);

	if (memory == NULL)
		return ENOMEM;
	memory[bytes] = 1;
	free((void *)memory);
	return 0;
}

static void rest(long milliseconds)
{
	struct timespec length = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&length, NULL);
}

static int obey(const char *order)
{
	const char *blank = strchr(order, ' ');
	size_t length = blank == NULL ? strlen(order) : (size_t)(blank - order);
	long number = blank == NULL ? 0 : strtol(blank + 1, NULL, 10);

#define IS(word) (length == strlen(word) && strncmp(order, word, length) == 0)
	if (IS("block") || IS("hole")) {
		touch((size_t)number, IS("hole"));
	} else if (IS("walk")) {
		walk(number);
	} else if (IS("big")) {
		big();
	} else if (IS("wild")) {
		volatile int *volatile nowhere = NULL;
		*nowhere = 1;
	} else if (IS("fill")) {
		return let_kernel_fill();
	} else if (IS("allocate")) {
		return allocate((size_t)number);
	} else if (IS("leak")) {
		return leak((size_t)number);
	} else if (IS("beyond")) {
		return beyond((size_t)number);
	} else if (IS("pause")) {
		rest(number);
	} else if (IS("fail")) {
		return (int)number;
	} else if (IS("mute")) {
		mute = 1;
	} else if (IS("linger")) {
		linger = number;
	} else if (!IS("calm")) {
		return EINVAL;
	}
	return 0;
#undef IS
}

static void answer(uint64_t unique, int error, const void *body, size_t bytes)
{
	struct fuse_out_header head = { (uint32_t)(sizeof(head) + bytes), -error, unique };
	struct iovec parts[2] = { { &head, sizeof(head) }, { (void *)(uintptr_t)body, bytes } };

	/* ENOENT: the request was interrupted, and nobody waits any more. */
	if (writev(device, parts, 2) < 0 && errno != ENOENT && errno != ENODEV)
		_exit(4);
}

static struct fuse_attr attributes(uint64_t node)
{
	struct fuse_attr attr = { .ino = node, .mode = S_IFDIR | 0755, .nlink = 2 };

	attr.uid = getuid();
	attr.gid = getgid();
	attr.blksize = PAGE;
	return attr;
}

static void answer_entry(uint64_t unique, uint64_t node)
{
	struct fuse_entry_out entry = { .nodeid = node, .entry_valid = 3600, .attr_valid = 3600 };

	entry.attr = attributes(node);
	answer(unique, 0, &entry, sizeof(entry));
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
	for (unsigned int i = 1; in->nodeid == FUSE_ROOT_ID && i < folders; i++)
		if (strcmp(names[i], name) == 0) {
			answer_entry(in->unique, i + 1);
			return;
		}
	answer(in->unique, ENOENT, NULL, 0);
}

static void make_folder(const struct fuse_in_header *in, const char *name)
{
	if (in->nodeid != FUSE_ROOT_ID || folders == MOST_FOLDERS || strlen(name) > NAME_MAX) {
		answer(in->unique, EPERM, NULL, 0);
		return;
	}
	strcpy(names[folders], name);
	folders++;
	answer_entry(in->unique, folders);
}

static void set_attribute(const struct fuse_in_header *in, const char *body)
{
	const struct fuse_setxattr_in *arguments = (const void *)body;
	const char *name = body + FUSE_COMPAT_SETXATTR_IN_SIZE;
	const char *value = name + strlen(name) + 1;
	static char order[64];

	if (strcmp(name, "user.do") != 0 || arguments->size >= sizeof(order)) {
		answer(in->unique, EOPNOTSUPP, NULL, 0);
		return;
	}
	memcpy(order, value, arguments->size);
	order[arguments->size] = '\0';
	answer(in->unique, obey(order), NULL, 0);
}

static void get_attribute(const struct fuse_in_header *in, const char *body)
{
	const struct fuse_getxattr_in *arguments = (const void *)body;
	struct fuse_getxattr_out size = { 0, 0 };
	static char text[32];

	const char *name = body + sizeof(*arguments);
	uintptr_t from = strcmp(name, "user.below") == 0 ? waiting_frame : stack_top;

	if (from == stack_top && strcmp(name, "user.depth") != 0) {
		answer(in->unique, ENODATA, NULL, 0);
		return;
	}
	size.size = (uint32_t)snprintf(text, sizeof(text), "%lu", (unsigned long)(from - lowest));
	if (arguments->size == 0)
		answer(in->unique, 0, &size, sizeof(size));
	else if (arguments->size < size.size)
		answer(in->unique, ERANGE, NULL, 0);
	else
		answer(in->unique, 0, text, size.size);
}

static void serve_one(const struct fuse_in_header *in, const char *body)
{
	static struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = 31,
					     .max_write = 4096, .time_gran = 1 };
	static struct fuse_statfs_out statistics;
	static struct fuse_open_out opened;
	struct fuse_attr_out attr = { .attr_valid = 3600 };

	switch (in->opcode) {
	case FUSE_INIT:
		init.max_readahead = ((const struct fuse_init_in *)(const void *)body)->max_readahead;
		answer(in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		look_up(in, body);
		break;
	case FUSE_GETATTR:
		attr.attr = attributes(in->nodeid);
		answer(in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_MKDIR:
		make_folder(in, body + sizeof(struct fuse_mkdir_in));
		break;
	case FUSE_STATFS:
		statistics.st.bsize = PAGE;
		statistics.st.namelen = NAME_MAX;
		answer(in->unique, 0, &statistics, sizeof(statistics));
		break;
	case FUSE_OPENDIR:
		answer(in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_RELEASEDIR:
		if (linger)
			rest(linger);
		if (!mute)
			answer(in->unique, 0, NULL, 0);
		break;
	case FUSE_READDIR: /* empty, whatever is in it */
	case FUSE_DESTROY:
		answer(in->unique, 0, NULL, 0);
		break;
	case FUSE_SETXATTR:
		set_attribute(in, body);
		break;
	case FUSE_GETXATTR:
		get_attribute(in, body);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(in->unique, ENOSYS, NULL, 0);
	}
}

/* One past the end of the mapping that holds an address. */
static uintptr_t mapping_end(uintptr_t address)
{
	char line[512];
	unsigned long start = 0, end = 0, found = 0;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= address && address < end)
			found = end;
	if (maps != NULL)
		fclose(maps);
	return found;
}

static void *serve(void *unused)
{
	waiting_frame = (uintptr_t)__builtin_frame_address(0);
	stack_top = mapping_end(waiting_frame);
	lowest = waiting_frame;
	for (;;) {
		ssize_t got = read(device, request, sizeof(request));
		if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (got <= 0) /* ENODEV: unmounted */
			return unused;
		serve_one((const void *)request, request + sizeof(struct fuse_in_header));
	}
}

/* fusermount3 opens the device, mounts, and sends the descriptor through the socket it inherits. */
static int mount_at(const char *mountpoint)
{
	int ends[2];
	char number[16];
	char byte;
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		return -1;
	pid_t child = fork();
	if (child == 0) {
		close(ends[1]);
		snprintf(number, sizeof(number), "%d", ends[0]);
		setenv("_FUSE_COMMFD", number, 1);
		execlp("fusermount3", "fusermount3", "-o", "fsname=obedient,subtype=obedient", "--",
		       mountpoint, (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	ssize_t got = child < 0 ? -1 : recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC);
	close(ends[1]);
	waitpid(child, NULL, 0);
	struct cmsghdr *head = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (head == NULL || head->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&device, CMSG_DATA(head), sizeof(device));
	return device;
}

int main(int argc, char **argv)
{
	int on_thread = argc == 3 && strcmp(argv[2], "thread") == 0;
	pthread_t thread;

	if (argc != 2 && !on_thread) {
		fputs("usage: obedient MOUNTPOINT [thread]\n", stderr);
		return 2;
	}
	if (mount_at(argv[1]) < 0) {
		fputs("obedient: not mounted\n", stderr);
		return 1;
	}
	if (!on_thread) {
		serve(NULL);
		return 0;
	}
	if (pthread_create(&thread, NULL, serve, NULL) != 0) {
		fputs("obedient: no thread\n", stderr);
		return 1;
	}
	pthread_join(thread, NULL);
	return 0;
}
