/* Bytes of the journal: checksum, operations, header. */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRC_POLYNOMIAL UINT32_C(0xEDB88320)
#define CRC_SLICES 8

/* table[n][b]: what the byte b does to the checksum with n bytes behind it. */
static uint32_t crc_table[CRC_SLICES][256];

static void fill_crc_table(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
		crc_table[0][byte] = crc;
	}
	for (uint32_t byte = 0; byte < 256; byte++)
		for (int slice = 1; slice < CRC_SLICES; slice++) {
			uint32_t crc = crc_table[slice - 1][byte];

			crc_table[slice][byte] = (crc >> 8) ^ crc_table[0][crc & 0xff];
		}
}

uint32_t journal_crc32(uint32_t crc, const void *data, size_t length)
{
	const uint8_t *at = data;

	if (crc_table[0][1] == 0)
		fill_crc_table();
	crc = ~crc;
	for (; length >= CRC_SLICES; length -= CRC_SLICES, at += CRC_SLICES) {
		uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 |
				      (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);

		crc = crc_table[7][low & 0xff] ^ crc_table[6][(low >> 8) & 0xff] ^
		      crc_table[5][(low >> 16) & 0xff] ^ crc_table[4][low >> 24] ^
		      crc_table[3][at[4]] ^ crc_table[2][at[5]] ^ crc_table[1][at[6]] ^
		      crc_table[0][at[7]];
	}
	for (; length > 0; length--, at++)
		crc = (crc >> 8) ^ crc_table[0][(crc ^ *at) & 0xff];
	return ~crc;
}

int journal_reserve(struct journal_bytes *bytes, size_t more)
{
	size_t needed = bytes->length + more;
	size_t capacity = bytes->capacity ? bytes->capacity : 4096;
	uint8_t *data;

	if (needed > JOURNAL_RECORD_LIMIT)
		return -EFBIG;
	if (needed <= bytes->capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;
	data = realloc(bytes->data, capacity);
	if (!data)
		return -ENOMEM;
	bytes->data = data;
	bytes->capacity = capacity;
	return 0;
}

static void append(struct journal_bytes *bytes, const void *data, size_t length)
{
	if (length)
		memcpy(bytes->data + bytes->length, data, length);
	bytes->length += length;
}

int journal_encode(struct journal_bytes *bytes, const struct journal_operation *operation,
		   const void *name, uint32_t name_bytes, const void *data, uint32_t data_bytes)
{
	struct journal_fixed fixed;
	int error = journal_reserve(bytes, sizeof(fixed) + (size_t)name_bytes + data_bytes);

	if (error)
		return error;
	memset(&fixed, 0, sizeof(fixed)); /* padding too: the bytes go to the file */
	fixed.operation = *operation;
	fixed.name_bytes = name_bytes;
	fixed.data_bytes = data_bytes;
	append(bytes, &fixed, sizeof(fixed));
	append(bytes, name, name_bytes);
	append(bytes, data, data_bytes);
	return 0;
}

int journal_decode(const struct journal_bytes *bytes, size_t *position,
		   struct journal_operation *operation, struct journal_text *text)
{
	struct journal_fixed fixed;
	size_t left = bytes->length - *position;
	const uint8_t *at = bytes->data + *position;

	if (left == 0)
		return 0;
	if (left < sizeof(fixed))
		return -EBADMSG;
	memcpy(&fixed, at, sizeof(fixed));
	left -= sizeof(fixed);
	if (fixed.name_bytes > left || fixed.data_bytes > left - fixed.name_bytes)
		return -EBADMSG;
	*operation = fixed.operation;
	text->name = at + sizeof(fixed);
	text->name_bytes = fixed.name_bytes;
	text->data = at + sizeof(fixed) + fixed.name_bytes;
	text->data_bytes = fixed.data_bytes;
	*position += sizeof(fixed) + fixed.name_bytes + fixed.data_bytes;
	return 1;
}

int journal_write_all(int file, const void *data, size_t length, uint64_t offset)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t written = pwrite(file, at, length, (off_t)offset);

		if (written < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		at += written;
		length -= (size_t)written;
		offset += (uint64_t)written;
	}
	return 0;
}

int journal_start_file(int file)
{
	struct journal_header header = {.byte_order = JOURNAL_BYTE_ORDER};

	memcpy(header.magic, JOURNAL_MAGIC, sizeof(header.magic));
	if (ftruncate(file, 0) < 0)
		return -errno;
	return journal_write_all(file, &header, sizeof(header), 0);
}

int journal_check_header(int file)
{
	struct journal_header header;

	if (pread(file, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return -EBADMSG;
	if (memcmp(header.magic, JOURNAL_MAGIC, sizeof(header.magic)) != 0 ||
	    header.byte_order != JOURNAL_BYTE_ORDER)
		return -EBADMSG;
	return 0;
}
