/*
 * The journal's file format and its open state; private to transaction_manager.
 *
 * The file is a header and then records, each of them one transaction:
 *
 *     record    = length(4) crc32(4) sequence(8) payload(length)
 *     payload   = operation*
 *     operation = struct journal_operation, name_bytes(4), data_bytes(4), name, data
 *
 * The checksum covers sequence and payload; the sequence goes up by one from record to record, so
 * that a record left over from an earlier life of the file's blocks is not taken for a new one.
 * Numbers are in the byte order of the machine; the header says which.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "vexmodel.h"

#define JOURNAL_NAME "journal"
#define JOURNAL_NEW_NAME "journal.new"
#define JOURNAL_MAGIC "VEXJRNL1"
#define JOURNAL_BYTE_ORDER UINT32_C(0x01020304)
#define JOURNAL_RECORD_LIMIT (UINT32_C(1) << 30)
#define JOURNAL_DEPTH_LIMIT 256

struct journal_header {
	char magic[8];
	uint32_t byte_order;
	uint32_t reserved;
};

struct journal_record {
	uint32_t length;
	uint32_t crc;
	uint64_t sequence;
};

struct journal_fixed {
	struct journal_operation operation;
	uint32_t name_bytes;
	uint32_t data_bytes;
};

/* Bytes that grow; holds the operations of the open transaction, or a record being replayed. */
struct journal_bytes {
	uint8_t *data;
	size_t length;
	size_t capacity;
};

struct journal {
	int folder; /* locked, so that a journal has one owner */
	int file;
	int old_file; /* during a checkpoint: the journal that is being replaced; else -1 */
	int sync;
	int replaying;
	int broken; /* errno after which nothing more may be written; 0 while all is well */
	uint64_t end; /* where the next record goes */
	uint64_t old_end;
	uint64_t old_committed;
	uint64_t sequence; /* of the last record */
	struct journal_bytes pending;
	size_t marks[JOURNAL_DEPTH_LIMIT]; /* pending.length when each open transaction began */
	uint32_t depth;
	struct journal_bytes replayed;
	size_t replay_position;
	struct journal_counts counts;
};

uint32_t journal_crc32(uint32_t crc, const void *data, size_t length);
int journal_reserve(struct journal_bytes *bytes, size_t more);
int journal_encode(struct journal_bytes *bytes, const struct journal_operation *operation,
		   const void *name, uint32_t name_bytes, const void *data, uint32_t data_bytes);
/* 1: one operation decoded and the position moved on; 0: at the end; -EBADMSG: nonsense. */
int journal_decode(const struct journal_bytes *bytes, size_t *position,
		   struct journal_operation *operation, struct journal_text *text);
/* Write the header at the start of a file and leave it at that length. */
int journal_start_file(int file);
int journal_check_header(int file);
int journal_write_all(int file, const void *data, size_t length, uint64_t offset);

#endif
