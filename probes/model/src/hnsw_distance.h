/* Squared Euclidean distance, fast at -O1 too.
 *
 * Rows are padded with zeros to whole cache lines, so there is no remainder to treat, and the
 * sum is kept in four independent vectors so that additions do not wait for one another. The
 * order of the additions is fixed: the same two rows always give the same bits, whether they
 * are read in one go or tile by tile.
 */
#ifndef HNSW_DISTANCE_H
#define HNSW_DISTANCE_H

#include <stddef.h>

/* Rows start on this boundary and their length is a multiple of it. */
#define HNSW_ROW_ALIGNMENT_BYTES 64
#define HNSW_ROW_UNIT_FLOATS (HNSW_ROW_ALIGNMENT_BYTES / sizeof(float))

typedef float hnsw_lanes __attribute__((vector_size(16), may_alias));

struct hnsw_sum {
	hnsw_lanes first, second, third, fourth;
};

/* -O1 does not inline small functions by itself, and these three are the whole cost of a search. */
#define HNSW_HOT static inline __attribute__((always_inline))

HNSW_HOT void hnsw_accumulate(struct hnsw_sum *sum, const float *left, const float *right,
			      size_t floats)
{
	const hnsw_lanes *a = (const hnsw_lanes *)left;
	const hnsw_lanes *b = (const hnsw_lanes *)right;
	const hnsw_lanes *end = (const hnsw_lanes *)(left + floats);

	for (; a != end; a += 4, b += 4) {
		hnsw_lanes first = a[0] - b[0];
		hnsw_lanes second = a[1] - b[1];
		hnsw_lanes third = a[2] - b[2];
		hnsw_lanes fourth = a[3] - b[3];

		sum->first += first * first;
		sum->second += second * second;
		sum->third += third * third;
		sum->fourth += fourth * fourth;
	}
}

HNSW_HOT float hnsw_total(const struct hnsw_sum *sum)
{
	hnsw_lanes total = (sum->first + sum->second) + (sum->third + sum->fourth);

	return (total[0] + total[1]) + (total[2] + total[3]);
}

/* `floats` is a multiple of HNSW_ROW_UNIT_FLOATS, for all three; rows need the alignment of
 * hnsw_lanes at least. */
HNSW_HOT float hnsw_distance(const float *left, const float *right, size_t floats)
{
	struct hnsw_sum sum = {0};

	hnsw_accumulate(&sum, left, right, floats);
	return hnsw_total(&sum);
}

#endif
