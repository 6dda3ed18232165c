/*
 * fiveways: a FUSE daemon in memory whose five components can each be switched in five ways.
 *
 * Usage: fiveways MOUNTPOINT [--COMPONENT]... [--config FILE] [-f] [-s] [other options of libfuse]
 *
 * It holds plain files and folders. With a component on, reading a file whose name ends in the
 * component's suffix gives what the component makes of the content; with the component off, the
 * content as it was written:
 *
 *   vector_storage       .sum     the sum of the numbers in it
 *   search_engine        .max     the largest of them
 *   metadata_manager     .count   how many bytes there are
 *   cache_manager        .twice   the content two times
 *   transaction_manager  .seal    a checksum
 *
 * A component is on if it is compiled in as on (make COMPONENTS=..., or a patch of its file), if
 * there is an argument --NAME, if the variable FIVEWAYS_NAME (capital letters) is 1, or if the
 * configuration file says `enabled = true` in the section [NAME].
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 31
#include "fiveways.h"

#include <ctype.h>
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_NODES 4096
#define MOST_ATTRIBUTES 8
#define ROOM (64u << 10)

struct attribute {
	char *name;
	char *value;
	size_t bytes;
};

struct node {
	char *path;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec times[2];
	char *content;
	size_t bytes;
	struct attribute attributes[MOST_ATTRIBUTES];
};

static struct component components[] = {
	{ "vector_storage", ".sum", vector_storage_answer, 0 },
	{ "search_engine", ".max", search_engine_answer, 0 },
	{ "metadata_manager", ".count", metadata_manager_answer, 0 },
	{ "cache_manager", ".twice", cache_manager_answer, 0 },
	{ "transaction_manager", ".seal", transaction_manager_answer, 0 },
};
#define COMPONENTS (sizeof(components) / sizeof(components[0]))

static struct node nodes[MOST_NODES];
static char answers[ROOM];

static struct node *find(const char *path)
{
	for (size_t i = 0; i < MOST_NODES; i++)
		if (nodes[i].path != NULL && strcmp(nodes[i].path, path) == 0)
			return &nodes[i];
	return NULL;
}

static int add(const char *path, mode_t mode)
{
	if (find(path) != NULL)
		return -EEXIST;
	for (size_t i = 0; i < MOST_NODES; i++) {
		struct node *node = &nodes[i];
		if (node->path != NULL)
			continue;
		struct fuse_context *caller = fuse_get_context();
		memset(node, 0, sizeof(*node));
		node->path = strdup(path);
		node->mode = mode;
		node->uid = caller != NULL ? caller->uid : getuid();
		node->gid = caller != NULL ? caller->gid : getgid();
		clock_gettime(CLOCK_REALTIME, &node->times[0]);
		node->times[1] = node->times[0];
		return node->path != NULL ? 0 : -ENOMEM;
	}
	return -ENOSPC;
}

static void drop(struct node *node)
{
	for (size_t i = 0; i < MOST_ATTRIBUTES; i++) {
		free(node->attributes[i].name);
		free(node->attributes[i].value);
	}
	free(node->path);
	free(node->content);
	memset(node, 0, sizeof(*node));
}

/* What reading the file gives. */
static const char *seen(const struct node *node, size_t *bytes)
{
	size_t length = strlen(node->path);

	*bytes = node->bytes;
	for (size_t i = 0; i < COMPONENTS; i++) {
		size_t suffix = strlen(components[i].suffix);
		if (!components[i].on || length <= suffix || node->content == NULL ||
		    strcmp(node->path + length - suffix, components[i].suffix) != 0)
			continue;
		*bytes = components[i].answer(node->content, node->bytes, answers, ROOM);
		return answers;
	}
	return node->content;
}

/* The name of a node directly in the folder, or NULL. */
static const char *child(const char *folder, const char *path)
{
	size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

	if (strncmp(path, folder, length) != 0 || path[length] != '/' || path[length + 1] == '\0')
		return NULL;
	return strchr(path + length + 1, '/') == NULL ? path + length + 1 : NULL;
}

static int empty(const char *folder)
{
	for (size_t i = 0; i < MOST_NODES; i++)
		if (nodes[i].path != NULL && child(folder, nodes[i].path) != NULL)
			return 0;
	return 1;
}

static int do_getattr(const char *path, struct stat *out, struct fuse_file_info *file)
{
	struct node *node = find(path);
	size_t bytes;

	(void)file;
	if (node == NULL)
		return -ENOENT;
	seen(node, &bytes);
	out->st_mode = node->mode;
	out->st_nlink = S_ISDIR(node->mode) ? 2 : 1;
	out->st_uid = node->uid;
	out->st_gid = node->gid;
	out->st_size = (off_t)bytes;
	out->st_atim = node->times[0];
	out->st_mtim = out->st_ctim = node->times[1];
	return 0;
}

static int do_readdir(const char *path, void *list, fuse_fill_dir_t fill, off_t offset,
		      struct fuse_file_info *file, enum fuse_readdir_flags flags)
{
	(void)offset;
	(void)file;
	(void)flags;
	fill(list, ".", NULL, 0, 0);
	fill(list, "..", NULL, 0, 0);
	for (size_t i = 0; i < MOST_NODES; i++) {
		const char *name = nodes[i].path == NULL ? NULL : child(path, nodes[i].path);
		if (name != NULL)
			fill(list, name, NULL, 0, 0);
	}
	return 0;
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *file)
{
	file->direct_io = 1;
	return add(path, S_IFREG | (mode & 07777));
}

static int do_mkdir(const char *path, mode_t mode)
{
	return add(path, S_IFDIR | (mode & 07777));
}

static int do_open(const char *path, struct fuse_file_info *file)
{
	/* What is read is not what was written: nothing of it may be cached. */
	file->direct_io = 1;
	return find(path) != NULL ? 0 : -ENOENT;
}

static int do_read(const char *path, char *out, size_t bytes, off_t offset,
		   struct fuse_file_info *file)
{
	struct node *node = find(path);
	size_t all;

	(void)file;
	if (node == NULL)
		return -ENOENT;
	const char *content = seen(node, &all);
	if ((size_t)offset >= all)
		return 0;
	if (bytes > all - (size_t)offset)
		bytes = all - (size_t)offset;
	memcpy(out, content + offset, bytes);
	return (int)bytes;
}

static int resize(struct node *node, size_t bytes)
{
	/* One more byte, always zero: the components read text. */
	char *content = realloc(node->content, bytes + 1);

	if (content == NULL)
		return -ENOSPC;
	if (bytes > node->bytes)
		memset(content + node->bytes, 0, bytes - node->bytes);
	content[bytes] = '\0';
	node->content = content;
	node->bytes = bytes;
	clock_gettime(CLOCK_REALTIME, &node->times[1]);
	return 0;
}

static int do_write(const char *path, const char *in, size_t bytes, off_t offset,
		    struct fuse_file_info *file)
{
	struct node *node = find(path);
	size_t end = (size_t)offset + bytes;

	(void)file;
	if (node == NULL)
		return -ENOENT;
	if (resize(node, end > node->bytes ? end : node->bytes) != 0)
		return -ENOSPC;
	memcpy(node->content + offset, in, bytes);
	return (int)bytes;
}

static int do_truncate(const char *path, off_t bytes, struct fuse_file_info *file)
{
	struct node *node = find(path);

	(void)file;
	return node == NULL ? -ENOENT : resize(node, (size_t)bytes);
}

static int do_unlink(const char *path)
{
	struct node *node = find(path);

	if (node == NULL)
		return -ENOENT;
	drop(node);
	return 0;
}

static int do_rmdir(const char *path)
{
	return empty(path) ? do_unlink(path) : -ENOTEMPTY;
}

static int do_rename(const char *from, const char *to, unsigned int flags)
{
	struct node *node = find(from), *old = find(to);
	size_t length = strlen(from);

	if (flags != 0)
		return -EINVAL;
	if (node == NULL)
		return -ENOENT;
	if (old != NULL && S_ISDIR(old->mode) && !empty(to))
		return -ENOTEMPTY;
	if (old != NULL && old != node)
		drop(old);
	for (size_t i = 0; i < MOST_NODES; i++) {
		char *path = nodes[i].path, *moved;
		if (path == NULL || strncmp(path, from, length) != 0 ||
		    (path[length] != '\0' && path[length] != '/'))
			continue;
		if (asprintf(&moved, "%s%s", to, path + length) < 0)
			return -ENOMEM;
		nodes[i].path = moved;
		free(path);
	}
	return 0;
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *file)
{
	struct node *node = find(path);

	(void)file;
	if (node == NULL)
		return -ENOENT;
	node->mode = (node->mode & S_IFMT) | (mode & 07777);
	return 0;
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *file)
{
	struct node *node = find(path);

	(void)file;
	if (node == NULL)
		return -ENOENT;
	if (uid != (uid_t)-1)
		node->uid = uid;
	if (gid != (gid_t)-1)
		node->gid = gid;
	return 0;
}

static int do_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *file)
{
	struct node *node = find(path);

	(void)file;
	if (node == NULL)
		return -ENOENT;
	for (int i = 0; i < 2; i++)
		if (times[i].tv_nsec == UTIME_NOW)
			clock_gettime(CLOCK_REALTIME, &node->times[i]);
		else if (times[i].tv_nsec != UTIME_OMIT)
			node->times[i] = times[i];
	return 0;
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
	(void)path;
	(void)data_only;
	(void)file;
	return 0;
}

static int do_setxattr(const char *path, const char *name, const char *value, size_t bytes,
		       int flags)
{
	struct node *node = find(path);
	struct attribute *free_one = NULL;

	(void)flags;
	if (node == NULL)
		return -ENOENT;
	for (size_t i = 0; i < MOST_ATTRIBUTES; i++) {
		struct attribute *one = &node->attributes[i];
		if (one->name == NULL ? free_one == NULL : strcmp(one->name, name) == 0)
			free_one = one;
	}
	if (free_one == NULL)
		return -ENOSPC;
	free(free_one->name);
	free(free_one->value);
	free_one->name = strdup(name);
	free_one->value = malloc(bytes + 1);
	if (free_one->name == NULL || free_one->value == NULL)
		return -ENOMEM;
	memcpy(free_one->value, value, bytes);
	free_one->bytes = bytes;
	return 0;
}

static int do_getxattr(const char *path, const char *name, char *out, size_t room)
{
	struct node *node = find(path);

	for (size_t i = 0; node != NULL && i < MOST_ATTRIBUTES; i++) {
		struct attribute *one = &node->attributes[i];
		if (one->name == NULL || strcmp(one->name, name) != 0)
			continue;
		if (room != 0 && room < one->bytes)
			return -ERANGE;
		if (room != 0)
			memcpy(out, one->value, one->bytes);
		return (int)one->bytes;
	}
	return -ENODATA;
}

static int do_listxattr(const char *path, char *out, size_t room)
{
	struct node *node = find(path);
	size_t used = 0;

	for (size_t i = 0; node != NULL && i < MOST_ATTRIBUTES; i++) {
		const char *name = node->attributes[i].name;
		if (name == NULL)
			continue;
		size_t length = strlen(name) + 1;
		if (room != 0 && used + length > room)
			return -ERANGE;
		if (room != 0)
			memcpy(out + used, name, length);
		used += length;
	}
	return (int)used;
}

static const struct fuse_operations operations = {
	.getattr = do_getattr, .readdir = do_readdir, .create = do_create, .mkdir = do_mkdir,
	.open = do_open, .read = do_read, .write = do_write, .truncate = do_truncate,
	.unlink = do_unlink, .rmdir = do_rmdir, .rename = do_rename, .chmod = do_chmod,
	.chown = do_chown, .utimens = do_utimens, .fsync = do_fsync, .fsyncdir = do_fsync,
	.setxattr = do_setxattr, .getxattr = do_getxattr, .listxattr = do_listxattr,
};

static void switch_by_environment(void)
{
	for (size_t i = 0; i < COMPONENTS; i++) {
		char name[64];
		snprintf(name, sizeof(name), "FIVEWAYS_%s", components[i].name);
		for (char *letter = name; *letter != '\0'; letter++)
			*letter = (char)toupper(*letter);
		const char *value = getenv(name);
		if (value != NULL && strcmp(value, "1") == 0)
			components[i].on = 1;
	}
}

/* As much TOML as it needs: sections, and `enabled = true` in them. */
static int switch_by_file(const char *path)
{
	char line[256], section[64] = "", value[16];
	FILE *file = fopen(path, "r");

	if (file == NULL) {
		perror(path);
		return -1;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, " [%63[^]]]", section) == 1)
			continue;
		if (sscanf(line, " enabled = %15[a-z]", value) != 1 || strcmp(value, "true") != 0)
			continue;
		for (size_t i = 0; i < COMPONENTS; i++)
			if (strcmp(section, components[i].name) == 0)
				components[i].on = 1;
	}
	fclose(file);
	return 0;
}

/* Our own arguments, and the program's name; the others are libfuse's. */
static int take_arguments(int argc, char **argv, struct fuse_args *rest)
{
	for (int i = 0; i < argc; i++) {
		size_t c = 0;
		while (c < COMPONENTS && (strncmp(argv[i], "--", 2) != 0 ||
					  strcmp(argv[i] + 2, components[c].name) != 0))
			c++;
		if (c < COMPONENTS) {
			components[c].on = 1;
		} else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			if (switch_by_file(argv[++i]) != 0)
				return -1;
		} else if (fuse_opt_add_arg(rest, argv[i]) != 0) {
			return -1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct fuse_args rest = FUSE_ARGS_INIT(0, NULL);

	components[0].on = vector_storage_default;
	components[1].on = search_engine_default;
	components[2].on = metadata_manager_default;
	components[3].on = cache_manager_default;
	components[4].on = transaction_manager_default;
	switch_by_environment();
	if (take_arguments(argc, argv, &rest) != 0 || add("/", S_IFDIR | 0755) != 0)
		return 2;
	return fuse_main(rest.argc, rest.argv, &operations, NULL);
}
