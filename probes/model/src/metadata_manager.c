/*
 * Attributes and extended attributes of inodes.
 *
 * A chained hash table by inode number that doubles when it is full; each inode has a small table
 * of its extended attributes by name.
 */
#include "vexmodel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define FIRST_BUCKETS 64
#define XATTR_BUCKETS 8
#define NAME_LIMIT_BYTES 255
#define VALUE_LIMIT_BYTES 65536
#define INODE_LIMIT_BYTES (1024 * 1024)

struct xattr {
	struct xattr *next;
	char *value;
	uint32_t value_bytes;
	uint32_t name_bytes;
	char name[];
};

struct inode_entry {
	struct inode_entry *next;
	uint64_t inode;
	struct metadata_attributes attributes;
	uint64_t xattr_bytes; /* names and values together */
	struct xattr *xattrs[XATTR_BUCKETS];
};

struct metadata_store {
	struct inode_entry **buckets;
	uint64_t bucket_count; /* a power of two */
	struct metadata_counts counts;
};

static uint64_t hash_inode(uint64_t inode)
{
	/* Fibonacci hashing: inode numbers are handed out one after the other. */
	return (inode * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
}

static uint32_t hash_name(const char *name, size_t name_bytes)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < name_bytes; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return hash;
}

static struct inode_entry **find_slot(const struct metadata_store *store, uint64_t inode)
{
	uint64_t bucket = hash_inode(inode) & (store->bucket_count - 1);
	struct inode_entry **slot = &store->buckets[bucket];

	while (*slot && (*slot)->inode != inode)
		slot = &(*slot)->next;
	return slot;
}

static struct xattr **find_xattr(struct inode_entry *entry, const char *name, size_t name_bytes)
{
	struct xattr **slot = &entry->xattrs[hash_name(name, name_bytes) % XATTR_BUCKETS];

	while (*slot && ((*slot)->name_bytes != name_bytes ||
			 memcmp((*slot)->name, name, name_bytes) != 0))
		slot = &(*slot)->next;
	return slot;
}

/* A table that cannot grow still works, only slower: running out of memory is no error here. */
static void grow(struct metadata_store *store)
{
	uint64_t bucket_count = store->bucket_count * 2;
	struct inode_entry **buckets = calloc(bucket_count, sizeof(*buckets));

	if (!buckets)
		return;
	for (uint64_t i = 0; i < store->bucket_count; i++) {
		struct inode_entry *entry = store->buckets[i];

		while (entry) {
			struct inode_entry *next = entry->next;
			uint64_t bucket = hash_inode(entry->inode) & (bucket_count - 1);

			entry->next = buckets[bucket];
			buckets[bucket] = entry;
			entry = next;
		}
	}
	free(store->buckets);
	store->buckets = buckets;
	store->bucket_count = bucket_count;
}

static void free_xattr(struct metadata_store *store, struct inode_entry *entry, struct xattr *xattr)
{
	entry->xattr_bytes -= xattr->name_bytes + xattr->value_bytes;
	store->counts.xattr_bytes -= xattr->name_bytes + xattr->value_bytes;
	store->counts.xattrs--;
	free(xattr->value);
	free(xattr);
}

static void free_entry(struct metadata_store *store, struct inode_entry *entry)
{
	for (int i = 0; i < XATTR_BUCKETS; i++) {
		while (entry->xattrs[i]) {
			struct xattr *xattr = entry->xattrs[i];

			entry->xattrs[i] = xattr->next;
			free_xattr(store, entry, xattr);
		}
	}
	store->counts.inodes--;
	free(entry);
}

int metadata_manager_create(struct metadata_store **store)
{
	struct metadata_store *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->bucket_count = FIRST_BUCKETS;
	made->buckets = calloc(made->bucket_count, sizeof(*made->buckets));
	if (!made->buckets) {
		free(made);
		return -ENOMEM;
	}
	*store = made;
	return 0;
}

void metadata_manager_destroy(struct metadata_store *store)
{
	if (!store)
		return;
	for (uint64_t i = 0; i < store->bucket_count; i++) {
		while (store->buckets[i]) {
			struct inode_entry *entry = store->buckets[i];

			store->buckets[i] = entry->next;
			free_entry(store, entry);
		}
	}
	free(store->buckets);
	free(store);
}

int metadata_manager_set(struct metadata_store *store, uint64_t inode,
			 const struct metadata_attributes *attributes)
{
	struct inode_entry **slot = find_slot(store, inode);

	if (!*slot) {
		struct inode_entry *entry;

		if (store->counts.inodes >= store->bucket_count) {
			grow(store);
			slot = find_slot(store, inode);
		}
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		entry->inode = inode;
		*slot = entry;
		store->counts.inodes++;
	}
	(*slot)->attributes = *attributes;
	return 0;
}

int metadata_manager_get(const struct metadata_store *store, uint64_t inode,
			 struct metadata_attributes *attributes)
{
	const struct inode_entry *entry = *find_slot(store, inode);

	if (!entry)
		return -ENOENT;
	*attributes = entry->attributes;
	return 0;
}

int metadata_manager_touch(struct metadata_store *store, uint64_t inode, int64_t now_ns,
			   int content)
{
	struct inode_entry *entry = *find_slot(store, inode);

	if (!entry)
		return -ENOENT;
	entry->attributes.ctime_ns = now_ns;
	if (content)
		entry->attributes.mtime_ns = now_ns;
	return 0;
}

int metadata_manager_drop(struct metadata_store *store, uint64_t inode)
{
	struct inode_entry **slot = find_slot(store, inode);
	struct inode_entry *entry = *slot;

	if (!entry)
		return -ENOENT;
	*slot = entry->next;
	free_entry(store, entry);
	return 0;
}

static int check_xattr(size_t name_bytes, size_t value_bytes)
{
	if (name_bytes == 0 || name_bytes > NAME_LIMIT_BYTES)
		return -ERANGE;
	if (value_bytes > VALUE_LIMIT_BYTES)
		return -E2BIG;
	return 0;
}

/* A new xattr with its value copied; NULL when there is no memory. */
static struct xattr *make_xattr(const char *name, size_t name_bytes, const void *value,
				size_t value_bytes)
{
	struct xattr *xattr = malloc(sizeof(*xattr) + name_bytes);

	if (!xattr)
		return NULL;
	xattr->value = malloc(value_bytes ? value_bytes : 1);
	if (!xattr->value) {
		free(xattr);
		return NULL;
	}
	memcpy(xattr->name, name, name_bytes);
	if (value_bytes)
		memcpy(xattr->value, value, value_bytes);
	xattr->name_bytes = (uint32_t)name_bytes;
	xattr->value_bytes = (uint32_t)value_bytes;
	return xattr;
}

int metadata_manager_setxattr(struct metadata_store *store, uint64_t inode, const char *name,
			      size_t name_bytes, const void *value, size_t value_bytes, int flags)
{
	struct inode_entry *entry = *find_slot(store, inode);
	struct xattr **slot, *old, *made;
	uint64_t bytes;
	int error = check_xattr(name_bytes, value_bytes);

	if (error)
		return error;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (!entry)
		return -ENOENT;
	slot = find_xattr(entry, name, name_bytes);
	old = *slot;
	if (old && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!old && (flags & XATTR_REPLACE))
		return -ENODATA;
	bytes = entry->xattr_bytes + name_bytes + value_bytes;
	if (old)
		bytes -= old->name_bytes + old->value_bytes;
	if (bytes > INODE_LIMIT_BYTES)
		return -ENOSPC;
	made = make_xattr(name, name_bytes, value, value_bytes);
	if (!made)
		return -ENOMEM;
	made->next = old ? old->next : NULL;
	*slot = made;
	entry->xattr_bytes += name_bytes + value_bytes;
	store->counts.xattr_bytes += name_bytes + value_bytes;
	store->counts.xattrs++;
	if (old)
		free_xattr(store, entry, old);
	return 0;
}

int64_t metadata_manager_getxattr(const struct metadata_store *store, uint64_t inode,
				  const char *name, size_t name_bytes, void *value,
				  size_t capacity_bytes)
{
	struct inode_entry *entry = *find_slot(store, inode);
	const struct xattr *xattr;

	if (!entry)
		return -ENOENT;
	xattr = *find_xattr(entry, name, name_bytes);
	if (!xattr)
		return -ENODATA;
	if (capacity_bytes == 0)
		return xattr->value_bytes;
	if (xattr->value_bytes > capacity_bytes)
		return -ERANGE;
	memcpy(value, xattr->value, xattr->value_bytes);
	return xattr->value_bytes;
}

int64_t metadata_manager_listxattr(const struct metadata_store *store, uint64_t inode, char *names,
				   size_t capacity_bytes)
{
	const struct inode_entry *entry = *find_slot(store, inode);
	size_t bytes = 0;

	if (!entry)
		return -ENOENT;
	for (int i = 0; i < XATTR_BUCKETS; i++) {
		for (const struct xattr *xattr = entry->xattrs[i]; xattr; xattr = xattr->next) {
			size_t end = bytes + xattr->name_bytes + 1;

			if (capacity_bytes) {
				if (end > capacity_bytes)
					return -ERANGE;
				memcpy(names + bytes, xattr->name, xattr->name_bytes);
				names[end - 1] = '\0';
			}
			bytes = end;
		}
	}
	return (int64_t)bytes;
}

int metadata_manager_removexattr(struct metadata_store *store, uint64_t inode, const char *name,
				 size_t name_bytes)
{
	struct inode_entry *entry = *find_slot(store, inode);
	struct xattr **slot, *old;

	if (!entry)
		return -ENOENT;
	slot = find_xattr(entry, name, name_bytes);
	old = *slot;
	if (!old)
		return -ENODATA;
	*slot = old->next;
	free_xattr(store, entry, old);
	return 0;
}

void metadata_manager_counts(const struct metadata_store *store, struct metadata_counts *counts)
{
	*counts = store->counts;
}
