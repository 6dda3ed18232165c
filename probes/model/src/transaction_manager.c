/*
 * Transactions over an append-only journal.
 *
 * Operations gather in memory. The outermost commit writes them as one record with a checksum, so
 * that whoever reads the journal later sees all of them or none. Nested transactions are marks in
 * the gathered bytes: a rollback cuts back to its mark.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int sync_file(struct journal *journal, int file)
{
	if (!journal->sync)
		return 0;
	journal->counts.syncs++;
	/* Length and content; the times of the journal file are nobody's business. */
	return fdatasync(file) < 0 ? -errno : 0;
}

/* Nothing may be appended behind bytes of which we do not know what they are. */
static int break_journal(struct journal *journal, int error)
{
	journal->broken = error;
	return error;
}

static int open_file(struct journal *journal)
{
	struct stat status;
	int error;

	/* What a checkpoint left that did not come to its end was never part of the journal. */
	if (unlinkat(journal->folder, JOURNAL_NEW_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	journal->file = openat(journal->folder, JOURNAL_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (journal->file < 0 || fstat(journal->file, &status) < 0)
		return -errno;
	if ((uint64_t)status.st_size >= sizeof(struct journal_header))
		return journal_check_header(journal->file);
	/* New, or its maker died before the header was whole. */
	error = journal_start_file(journal->file);
	if (!error)
		error = sync_file(journal, journal->file);
	return error ? error : sync_file(journal, journal->folder);
}

int transaction_manager_create(const char *folder, int sync, struct journal **journal)
{
	struct journal *made = calloc(1, sizeof(*made));
	int error;

	if (!made)
		return -ENOMEM;
	made->file = -1;
	made->old_file = -1;
	made->sync = sync;
	made->replaying = 1;
	made->end = sizeof(struct journal_header);
	made->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (made->folder < 0)
		error = -errno;
	else if (flock(made->folder, LOCK_EX | LOCK_NB) < 0)
		error = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else
		error = open_file(made);
	if (error) {
		transaction_manager_destroy(made);
		return error;
	}
	*journal = made;
	return 0;
}

void transaction_manager_destroy(struct journal *journal)
{
	if (!journal)
		return;
	transaction_manager_checkpoint_abort(journal);
	if (journal->file >= 0)
		close(journal->file);
	if (journal->folder >= 0)
		close(journal->folder);
	free(journal->pending.data);
	free(journal->replayed.data);
	free(journal);
}

/* The gathered operations as one record at the end of the file. */
static int write_record(struct journal *journal, int durable)
{
	struct journal_record *record = (struct journal_record *)journal->pending.data;
	size_t length = journal->pending.length;
	int error;

	record->length = (uint32_t)(length - sizeof(*record));
	record->sequence = journal->sequence + 1;
	record->crc = journal_crc32(0, &record->sequence, length - offsetof(struct journal_record,
									    sequence));
	error = journal_write_all(journal->file, record, length, journal->end);
	if (!error && durable) {
		error = sync_file(journal, journal->file);
		if (error)
			/* What reached the disk is unknown from here on. */
			journal->broken = error;
	}
	if (error) {
		if (ftruncate(journal->file, (off_t)journal->end) < 0)
			break_journal(journal, -errno);
		return error;
	}
	journal->end += length;
	journal->sequence++;
	journal->counts.committed++;
	return 0;
}

/* Ready to gather: room for the record's head is kept in front. */
static int prepare(struct journal *journal)
{
	int error;

	if (journal->replaying)
		return -EBUSY;
	if (journal->broken)
		return journal->broken;
	if (journal->pending.length > 0)
		return 0;
	error = journal_reserve(&journal->pending, sizeof(struct journal_record));
	if (!error)
		journal->pending.length = sizeof(struct journal_record);
	return error;
}

int transaction_manager_begin(struct journal *journal)
{
	int error = prepare(journal);

	if (error)
		return error;
	if (journal->depth == JOURNAL_DEPTH_LIMIT)
		return -EOVERFLOW;
	journal->marks[journal->depth++] = journal->pending.length;
	return 0;
}

int transaction_manager_add(struct journal *journal, const struct journal_operation *operation,
			    const void *name, uint32_t name_bytes, const void *data,
			    uint32_t data_bytes, int durable)
{
	int error = prepare(journal);

	if (error)
		return error;
	error = journal_encode(&journal->pending, operation, name, name_bytes, data, data_bytes);
	if (journal->depth > 0)
		return error;
	if (!error)
		error = write_record(journal, durable);
	journal->pending.length = 0;
	return error;
}

int transaction_manager_commit(struct journal *journal, int durable)
{
	int error = 0;

	if (journal->depth == 0)
		return -EINVAL;
	if (journal->depth > 1) {
		journal->depth--;
		return 0;
	}
	if (journal->broken)
		return journal->broken;
	if (journal->pending.length > journal->marks[0])
		error = write_record(journal, durable);
	if (error)
		return error; /* still open: the caller rolls back */
	journal->depth = 0;
	journal->pending.length = 0;
	return 0;
}

int transaction_manager_rollback(struct journal *journal)
{
	if (journal->depth == 0)
		return -EINVAL;
	journal->depth--;
	journal->pending.length = journal->depth > 0 ? journal->marks[journal->depth] : 0;
	return 0;
}

int transaction_manager_sync(struct journal *journal)
{
	int error;

	if (journal->broken)
		return journal->broken;
	error = sync_file(journal, journal->file);
	return error ? break_journal(journal, error) : 0;
}

int transaction_manager_checkpoint_begin(struct journal *journal)
{
	int file, error;

	if (journal->depth > 0 || journal->old_file >= 0)
		return -EBUSY;
	error = prepare(journal);
	if (error)
		return error;
	journal->pending.length = 0;
	file = openat(journal->folder, JOURNAL_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0600);
	if (file < 0)
		return -errno;
	error = journal_start_file(file);
	if (error) {
		close(file);
		unlinkat(journal->folder, JOURNAL_NEW_NAME, 0);
		return error;
	}
	journal->old_file = journal->file;
	journal->old_end = journal->end;
	journal->old_committed = journal->counts.committed;
	journal->file = file;
	journal->end = sizeof(struct journal_header);
	return 0;
}

int transaction_manager_checkpoint_end(struct journal *journal)
{
	int error;

	if (journal->old_file < 0)
		return -EINVAL;
	error = sync_file(journal, journal->file);
	if (!error && renameat(journal->folder, JOURNAL_NEW_NAME, journal->folder,
			       JOURNAL_NAME) < 0)
		error = -errno;
	if (error)
		return error; /* the caller aborts; the old journal is as it was */
	close(journal->old_file);
	journal->old_file = -1;
	journal->counts.committed = journal->old_committed;
	journal->counts.checkpoints++;
	error = sync_file(journal, journal->folder);
	return error ? break_journal(journal, error) : 0;
}

void transaction_manager_checkpoint_abort(struct journal *journal)
{
	if (journal->old_file < 0)
		return;
	close(journal->file);
	unlinkat(journal->folder, JOURNAL_NEW_NAME, 0);
	journal->file = journal->old_file;
	journal->end = journal->old_end;
	journal->counts.committed = journal->old_committed;
	journal->old_file = -1;
	journal->broken = 0;
	journal->depth = 0;
	journal->pending.length = 0;
}

void transaction_manager_counts(const struct journal *journal, struct journal_counts *counts)
{
	*counts = journal->counts;
	counts->bytes = journal->end;
	counts->depth = journal->depth;
}
