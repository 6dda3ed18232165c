/*
 * The C side of the model filesystem: every function that the Python shell calls.
 *
 * Rules of this interface
 *   - plain C functions, every buffer with its size, no ownership passed except by create/destroy;
 *   - `int` results are 0 or a negative errno, a count where the comment says so;
 *   - every component NAME exports NAME_create and NAME_destroy, by which the loader knows that it
 *     is really compiled in; a component that is off exports nothing;
 *   - one thread calls; nothing here locks.
 */
#ifndef VEXMODEL_H
#define VEXMODEL_H

#include <stddef.h>
#include <stdint.h>

#define VEXMODEL_ABI 1
#define VEXMODEL_EXPORT __attribute__((visibility("default")))

/* ---- core ------------------------------------------------------------------------------- */

/* Names of the components compiled in, separated by single blanks; "" when there are none. */
VEXMODEL_EXPORT const char *vexmodel_components(void);

/* VEXMODEL_ABI of the sources this library was built from. */
VEXMODEL_EXPORT int vexmodel_abi(void);

/* ---- metadata_manager -------------------------------------------------------------------- */

struct metadata_store;

struct metadata_attributes {
	uint32_t mode; /* permission bits and file type, as in st_mode */
	uint32_t uid;
	uint32_t gid;
	uint32_t reserved;
	int64_t atime_ns;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

VEXMODEL_EXPORT int metadata_manager_create(struct metadata_store **store);
VEXMODEL_EXPORT void metadata_manager_destroy(struct metadata_store *store);

/* Attributes of an inode; set creates the inode's entry when there is none. -ENOENT from get. */
VEXMODEL_EXPORT int metadata_manager_set(struct metadata_store *store, uint64_t inode,
					 const struct metadata_attributes *attributes);
VEXMODEL_EXPORT int metadata_manager_get(const struct metadata_store *store, uint64_t inode,
					 struct metadata_attributes *attributes);
/* ctime becomes now_ns, mtime too when the content or the entries changed (content != 0). */
VEXMODEL_EXPORT int metadata_manager_touch(struct metadata_store *store, uint64_t inode,
					   int64_t now_ns, int content);
/* Forget an inode with all its extended attributes. -ENOENT when it is unknown. */
VEXMODEL_EXPORT int metadata_manager_drop(struct metadata_store *store, uint64_t inode);

/*
 * Extended attributes. flags: 0, XATTR_CREATE or XATTR_REPLACE. Names are 1..255 bytes (ERANGE),
 * values at most 65,536 bytes (E2BIG), all of one inode at most 1 MiB (ENOSPC).
 * get and list return the size in bytes and fill the buffer if it is large enough
 * (-ERANGE when it is not, a capacity of 0 only asks); list gives names each ended by a zero.
 */
VEXMODEL_EXPORT int metadata_manager_setxattr(struct metadata_store *store, uint64_t inode,
					      const char *name, size_t name_bytes,
					      const void *value, size_t value_bytes, int flags);
VEXMODEL_EXPORT int64_t metadata_manager_getxattr(const struct metadata_store *store,
						  uint64_t inode, const char *name,
						  size_t name_bytes, void *value,
						  size_t capacity_bytes);
VEXMODEL_EXPORT int64_t metadata_manager_listxattr(const struct metadata_store *store,
						   uint64_t inode, char *names,
						   size_t capacity_bytes);
VEXMODEL_EXPORT int metadata_manager_removexattr(struct metadata_store *store, uint64_t inode,
						 const char *name, size_t name_bytes);

struct metadata_counts {
	uint64_t inodes;
	uint64_t xattrs;
	uint64_t xattr_bytes;
};
VEXMODEL_EXPORT void metadata_manager_counts(const struct metadata_store *store,
					     struct metadata_counts *counts);

/* ---- cache_manager ----------------------------------------------------------------------- */

#define CACHE_BLOCK_BYTES 4096

struct cache;

struct cache_counts {
	uint64_t hits;
	uint64_t misses;
	uint64_t evictions;
	uint64_t entries;
	uint64_t bytes; /* content held, without the entries' own bookkeeping */
	uint64_t capacity_bytes;
};

/* -EINVAL when the capacity does not hold a single block. */
VEXMODEL_EXPORT int cache_manager_create(uint64_t capacity_bytes, struct cache **cache);
VEXMODEL_EXPORT void cache_manager_destroy(struct cache *cache);

/*
 * Copy the blocks that are held, of `count` from `first` on, into `out` (count *
 * CACHE_BLOCK_BYTES); the others are left as they are in `out`. Returns how many are not held.
 * Counts hits and misses.
 */
VEXMODEL_EXPORT int64_t cache_manager_read(struct cache *cache, uint64_t inode, uint64_t first,
					   uint32_t count, void *out);
/*
 * Hold the blocks, of `count` from `first` on, that are not held yet, and copy them into `out`.
 * `content` is the whole file; what lies behind its end reads as zeros.
 */
VEXMODEL_EXPORT int cache_manager_fill(struct cache *cache, uint64_t inode, uint64_t first,
				       uint32_t count, const void *content,
				       uint64_t content_bytes, void *out);
/* Bytes of a file were written: the blocks that are held follow. Counts nothing. */
VEXMODEL_EXPORT void cache_manager_update(struct cache *cache, uint64_t inode, uint64_t offset,
					  const void *data, uint64_t bytes);
/* Drop blocks first..last of an inode; returns how many were held. */
VEXMODEL_EXPORT int64_t cache_manager_invalidate(struct cache *cache, uint64_t inode,
						 uint64_t first, uint64_t last);
VEXMODEL_EXPORT void cache_manager_counts(const struct cache *cache, struct cache_counts *counts);

/* ---- transaction_manager ----------------------------------------------------------------- */

struct journal;

/* One change of the filesystem. What a kind does not use is zero. */
struct journal_operation {
	uint32_t kind; /* enum journal_kind */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t inode;
	uint64_t parent;
	uint64_t new_parent;
	uint64_t offset; /* of a write; new size of a truncate; flags of a rename */
	int64_t time_ns; /* of the change, hence ctime */
	int64_t mtime_ns;
	int64_t atime_ns;
};

enum journal_kind {
	JOURNAL_CREATE = 1,      /* inode, parent, name, mode, uid, gid */
	JOURNAL_MKDIR = 2,       /* the same */
	JOURNAL_WRITE = 3,       /* inode, offset, data */
	JOURNAL_TRUNCATE = 4,    /* inode, offset = size */
	JOURNAL_UNLINK = 5,      /* parent, name */
	JOURNAL_RMDIR = 6,       /* parent, name */
	JOURNAL_RENAME = 7,      /* parent, name, new_parent, data = new name, offset = flags */
	JOURNAL_SETATTR = 8,     /* inode, mode, uid, gid, all times */
	JOURNAL_SETXATTR = 9,    /* inode, name, data */
	JOURNAL_REMOVEXATTR = 10, /* inode, name */
};

/* The variable parts of a replayed operation; they stay valid until the next call of next. */
struct journal_text {
	const void *name;
	const void *data;
	uint32_t name_bytes;
	uint32_t data_bytes;
};

struct journal_counts {
	uint64_t committed;   /* transactions appended since it was opened */
	uint64_t replayed;    /* transactions read when it was opened */
	uint64_t bytes;       /* size of the journal file */
	uint64_t torn_bytes;  /* cut off behind the last whole record when it was opened */
	uint64_t depth;       /* open transactions, nested ones counted */
	uint64_t syncs;
	uint64_t checkpoints;
};

/*
 * Open or make the journal in `folder`. sync: 0 never calls fsync. -EBADMSG: the file there is no
 * journal; -EBUSY: another process has it open.
 */
VEXMODEL_EXPORT int transaction_manager_create(const char *folder, int sync,
					       struct journal **journal);
VEXMODEL_EXPORT void transaction_manager_destroy(struct journal *journal);

/*
 * Replay: one operation after the other; 1: one was given, 0: no more. The first damaged record
 * and all behind it are cut off then, and appending may begin (-EBUSY before).
 */
VEXMODEL_EXPORT int transaction_manager_next(struct journal *journal,
					     struct journal_operation *operation,
					     struct journal_text *text);

/*
 * Transactions nest. An operation added outside of one is a transaction of its own. Only the
 * outermost commit writes: one record with all operations. durable: 1 also calls fsync.
 */
VEXMODEL_EXPORT int transaction_manager_begin(struct journal *journal);
VEXMODEL_EXPORT int transaction_manager_add(struct journal *journal,
					    const struct journal_operation *operation,
					    const void *name, uint32_t name_bytes,
					    const void *data, uint32_t data_bytes, int durable);
VEXMODEL_EXPORT int transaction_manager_commit(struct journal *journal, int durable);
/* Forget what the innermost open transaction added. -EINVAL when none is open. */
VEXMODEL_EXPORT int transaction_manager_rollback(struct journal *journal);
VEXMODEL_EXPORT int transaction_manager_sync(struct journal *journal);

/*
 * Rewrite the journal: begin, then add for every operation that rebuilds the present state, then
 * end, which replaces the old journal atomically, or abort.
 */
VEXMODEL_EXPORT int transaction_manager_checkpoint_begin(struct journal *journal);
VEXMODEL_EXPORT int transaction_manager_checkpoint_end(struct journal *journal);
VEXMODEL_EXPORT void transaction_manager_checkpoint_abort(struct journal *journal);
VEXMODEL_EXPORT void transaction_manager_counts(const struct journal *journal,
						struct journal_counts *counts);

/* ---- vector_storage ---------------------------------------------------------------------- */

#define VECTOR_DIMENSIONS_MAX 4096
/* Finite numbers only, and small enough that no squared distance overflows a float. */
#define VECTOR_COMPONENT_MAX 1e16
#define VECTOR_NUMBER_BYTES_MAX 127
#define VECTORS_MAX (1u << 20)

struct vector_store;

/* -EINVAL when dimensions are not in 1..VECTOR_DIMENSIONS_MAX. */
VEXMODEL_EXPORT int vector_storage_create(uint32_t dimensions, struct vector_store **store);
/* The same store with room for its first vectors, which is prepared in large local arrays: the
 * constructor that needs more than 2.5 MiB of stack, kept for the gates to refuse. */
VEXMODEL_EXPORT int vector_storage_create_on_stack(uint32_t dimensions,
						   struct vector_store **store);
VEXMODEL_EXPORT void vector_storage_destroy(struct vector_store *store);

/*
 * Take `text` as the vectors of the file `path`: comma-separated numbers, one vector per line.
 * Returns how many there are; they replace what the file held before, all or nothing. Empty text
 * holds no vectors. -EINVAL: not such a text (vector_storage_fault says where), -ENOSPC: more than
 * VECTORS_MAX, -ENOMEM.
 */
VEXMODEL_EXPORT int64_t vector_storage_put(struct vector_store *store, const char *path,
					   const char *text, size_t text_bytes);
/* -ENOENT when the file holds no vectors; rename replaces what `new_path` held. */
VEXMODEL_EXPORT int vector_storage_remove(struct vector_store *store, const char *path);
VEXMODEL_EXPORT int vector_storage_rename(struct vector_store *store, const char *old_path,
					  const char *new_path);

/* Why the last put or parse was refused: "line 3: 127 numbers, expected 128"; "" at first. */
VEXMODEL_EXPORT const char *vector_storage_fault(const struct vector_store *store);
/* One vector into `out` (room for `dimensions`), by the same strict rules. 0 or -EINVAL. */
VEXMODEL_EXPORT int vector_storage_parse(struct vector_store *store, const char *text,
					 size_t text_bytes, float *out);

VEXMODEL_EXPORT uint32_t vector_storage_count(const struct vector_store *store);
VEXMODEL_EXPORT uint32_t vector_storage_dimensions(const struct vector_store *store);
/* Where a vector's id comes from: its file and its line, counted from 1. -ENOENT: no such id. */
VEXMODEL_EXPORT int vector_storage_locate(const struct vector_store *store, uint32_t id,
					  const char **path, uint32_t *line);
/* The id of a line of a file, or -ENOENT. Ids are reused after a vector is gone. */
VEXMODEL_EXPORT int64_t vector_storage_find(const struct vector_store *store, const char *path,
					    uint32_t line);
/* Copy one vector into `out` (room for `dimensions`). -ENOENT: no such id. */
VEXMODEL_EXPORT int vector_storage_get(const struct vector_store *store, uint32_t id, float *out);

/*
 * For another component that follows what is stored; not called by the shell. Rows are
 * `stride` floats long, padded with zeros, and start on 64 byte boundaries.
 */
struct vector_observer {
	void *context;
	/* The rows are about to move to `rows`, with room for ids below `capacity`. 0 or -ENOMEM;
	 * everything that a later `replace` may need is taken here. */
	int (*reserve)(void *context, const float *rows, uint32_t capacity);
	/* `added` are stored and readable; `removed` are readable for the last time. */
	void (*replace)(void *context, const uint32_t *removed, uint32_t removed_count,
			const uint32_t *added, uint32_t added_count);
};

/* At most one observer; NULL takes it away. Calls reserve at once, then replace with all ids
 * stored so far. -EBUSY: there is one already. */
VEXMODEL_EXPORT int vector_storage_observe(struct vector_store *store,
					   const struct vector_observer *observer);
VEXMODEL_EXPORT uint32_t vector_storage_stride(const struct vector_store *store);

/* ---- search_engine ----------------------------------------------------------------------- */

#define SEARCH_EF_MAX 10000
#define SEARCH_K_MAX 10000

/* How the bottom layer of the index is walked; the answers are the same, bit for bit. */
enum search_implementation {
	SEARCH_RECURSIVE = 0, /* one stack frame of about 2 KiB per visited node */
	SEARCH_ITERATIVE = 1, /* a loop over queues on the heap */
};

struct search_engine;

struct search_settings {
	uint32_t implementation;
	uint32_t m;               /* links per node and layer, 2..64; twice as many at the bottom */
	uint32_t ef_construction; /* 1..SEARCH_EF_MAX */
	uint32_t ef;              /* of queries that do not say; 1..SEARCH_EF_MAX */
};

/* Indexes what the store holds and follows it from then on. Destroy it before the store.
 * -EINVAL: a setting is out of range. */
VEXMODEL_EXPORT int search_engine_create(struct vector_store *store,
					 const struct search_settings *settings,
					 struct search_engine **engine);
VEXMODEL_EXPORT void search_engine_destroy(struct search_engine *engine);

/*
 * The nearest `k` (1..SEARCH_K_MAX) of `vector`, nearest first, fewer when fewer are stored: ids
 * of the store and squared Euclidean distances, both with room for k. ef 0 means the engine's
 * own. Returns how many, or -EINVAL.
 */
VEXMODEL_EXPORT int64_t search_engine_query(struct search_engine *engine, const float *vector,
					    uint32_t k, uint32_t ef, uint32_t *ids,
					    float *distances);

/* -EINVAL when out of range; nothing is changed then. */
VEXMODEL_EXPORT int search_engine_set_ef(struct search_engine *engine, uint32_t ef);

struct search_counts {
	uint64_t searches; /* answered */
	uint64_t nodes;    /* in the index */
	uint32_t ef;
	uint32_t implementation;
};
VEXMODEL_EXPORT void search_engine_counts(const struct search_engine *engine,
					  struct search_counts *counts);

#endif
