/* Reading the journal back, and cutting off what a death in the middle of a write left behind. */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The record at journal->end into journal->replayed. 1: read, 0: none or damaged. */
static int read_record(struct journal *journal, uint64_t file_bytes)
{
	struct journal_record record;
	uint64_t left = file_bytes - journal->end;
	ssize_t got;
	uint32_t crc;
	int error;

	if (left < sizeof(record))
		return 0;
	got = pread(journal->file, &record, sizeof(record), (off_t)journal->end);
	if (got != (ssize_t)sizeof(record))
		return got < 0 ? -errno : 0;
	left -= sizeof(record);
	if (record.length == 0 || record.length > left || record.length > JOURNAL_RECORD_LIMIT)
		return 0;
	if (journal->counts.replayed > 0 && record.sequence != journal->sequence + 1)
		return 0;
	journal->replayed.length = 0;
	error = journal_reserve(&journal->replayed, record.length);
	if (error)
		return error;
	for (size_t done = 0; done < record.length; done += (size_t)got) {
		got = pread(journal->file, journal->replayed.data + done, record.length - done,
			    (off_t)(journal->end + sizeof(record) + done));
		if (got <= 0)
			return got < 0 ? -errno : 0;
	}
	journal->replayed.length = record.length;
	crc = journal_crc32(0, &record.sequence, sizeof(record.sequence));
	crc = journal_crc32(crc, journal->replayed.data, record.length);
	if (crc != record.crc)
		return 0;
	journal->sequence = record.sequence;
	journal->end += sizeof(record) + record.length;
	journal->replay_position = 0;
	journal->counts.replayed++;
	return 1;
}

static int finish_replay(struct journal *journal, uint64_t file_bytes)
{
	if (file_bytes > journal->end) {
		if (ftruncate(journal->file, (off_t)journal->end) < 0)
			return -errno;
		if (journal->sync && fsync(journal->file) < 0)
			return -errno;
		journal->counts.torn_bytes = file_bytes - journal->end;
	}
	free(journal->replayed.data);
	memset(&journal->replayed, 0, sizeof(journal->replayed));
	journal->replaying = 0;
	return 0;
}

int transaction_manager_next(struct journal *journal, struct journal_operation *operation,
			     struct journal_text *text)
{
	struct stat status;
	int result;

	if (!journal->replaying)
		return 0;
	for (;;) {
		result = journal_decode(&journal->replayed, &journal->replay_position, operation,
					text);
		if (result != 0)
			return result;
		if (fstat(journal->file, &status) < 0)
			return -errno;
		result = read_record(journal, (uint64_t)status.st_size);
		if (result < 0)
			return result;
		if (result == 0)
			return finish_replay(journal, (uint64_t)status.st_size);
	}
}
