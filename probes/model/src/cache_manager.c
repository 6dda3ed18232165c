/*
 * A bounded cache of file blocks by (inode, block number), least recently used out first.
 *
 * All memory is taken at the start: as many slots as the capacity has blocks. A slot is in the
 * hash chain of its key and in the list by use, or in the free list.
 */
#include "vexmodel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct slot {
	uint64_t inode;
	uint64_t block;
	uint32_t chain; /* next with the same hash; next free one when it is free */
	uint32_t newer;
	uint32_t older;
};

struct cache {
	struct slot *slots;
	uint8_t *blocks; /* slot i holds blocks[i * CACHE_BLOCK_BYTES] and on */
	uint32_t *buckets;
	uint32_t slot_count;
	uint32_t bucket_mask;
	uint32_t newest;
	uint32_t oldest;
	uint32_t free;
	struct cache_counts counts;
};

static uint32_t *bucket_of(const struct cache *cache, uint64_t inode, uint64_t block)
{
	uint64_t hash = inode * UINT64_C(0x9E3779B97F4A7C15) ^ block * UINT64_C(0xC2B2AE3D27D4EB4F);

	return &cache->buckets[(hash ^ (hash >> 32)) & cache->bucket_mask];
}

static uint8_t *content_of(const struct cache *cache, uint32_t index)
{
	return cache->blocks + (size_t)index * CACHE_BLOCK_BYTES;
}

static uint32_t find(const struct cache *cache, uint64_t inode, uint64_t block)
{
	uint32_t index = *bucket_of(cache, inode, block);

	while (index != NONE &&
	       (cache->slots[index].inode != inode || cache->slots[index].block != block))
		index = cache->slots[index].chain;
	return index;
}

static void unlink_use(struct cache *cache, uint32_t index)
{
	struct slot *slot = &cache->slots[index];

	if (slot->newer == NONE)
		cache->newest = slot->older;
	else
		cache->slots[slot->newer].older = slot->older;
	if (slot->older == NONE)
		cache->oldest = slot->newer;
	else
		cache->slots[slot->older].newer = slot->newer;
}

static void link_newest(struct cache *cache, uint32_t index)
{
	struct slot *slot = &cache->slots[index];

	slot->newer = NONE;
	slot->older = cache->newest;
	if (cache->newest != NONE)
		cache->slots[cache->newest].newer = index;
	cache->newest = index;
	if (cache->oldest == NONE)
		cache->oldest = index;
}

/* Take a slot out of its hash chain and the list by use, and give it to the free list. */
static void drop(struct cache *cache, uint32_t index)
{
	struct slot *slot = &cache->slots[index];
	uint32_t *link = bucket_of(cache, slot->inode, slot->block);

	while (*link != index)
		link = &cache->slots[*link].chain;
	*link = slot->chain;
	unlink_use(cache, index);
	slot->chain = cache->free;
	cache->free = index;
	cache->counts.entries--;
	cache->counts.bytes -= CACHE_BLOCK_BYTES;
}

static uint32_t take_slot(struct cache *cache, uint64_t inode, uint64_t block)
{
	uint32_t *bucket = bucket_of(cache, inode, block);
	uint32_t index;

	if (cache->free == NONE) {
		drop(cache, cache->oldest);
		cache->counts.evictions++;
	}
	index = cache->free;
	cache->free = cache->slots[index].chain;
	cache->slots[index].inode = inode;
	cache->slots[index].block = block;
	cache->slots[index].chain = *bucket;
	*bucket = index;
	link_newest(cache, index);
	cache->counts.entries++;
	cache->counts.bytes += CACHE_BLOCK_BYTES;
	return index;
}

int cache_manager_create(uint64_t capacity_bytes, struct cache **cache)
{
	uint64_t slot_count = capacity_bytes / CACHE_BLOCK_BYTES;
	uint32_t bucket_count = 16;
	struct cache *made;

	if (slot_count == 0 || slot_count >= NONE / 2)
		return -EINVAL;
	while (bucket_count < slot_count)
		bucket_count *= 2;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->slots = calloc(slot_count, sizeof(*made->slots));
	made->blocks = malloc(slot_count * CACHE_BLOCK_BYTES);
	made->buckets = malloc(bucket_count * sizeof(*made->buckets));
	if (!made->slots || !made->blocks || !made->buckets) {
		cache_manager_destroy(made);
		return -ENOMEM;
	}
	memset(made->buckets, 0xff, bucket_count * sizeof(*made->buckets));
	for (uint32_t i = 0; i < slot_count; i++)
		made->slots[i].chain = i + 1 < slot_count ? i + 1 : NONE;
	made->slot_count = (uint32_t)slot_count;
	made->bucket_mask = bucket_count - 1;
	made->newest = NONE;
	made->oldest = NONE;
	made->counts.capacity_bytes = slot_count * CACHE_BLOCK_BYTES;
	*cache = made;
	return 0;
}

void cache_manager_destroy(struct cache *cache)
{
	if (!cache)
		return;
	free(cache->slots);
	free(cache->blocks);
	free(cache->buckets);
	free(cache);
}

int64_t cache_manager_read(struct cache *cache, uint64_t inode, uint64_t first, uint32_t count,
			   void *out)
{
	uint32_t misses = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = find(cache, inode, first + i);

		if (index == NONE) {
			misses++;
			continue;
		}
		memcpy((uint8_t *)out + (size_t)i * CACHE_BLOCK_BYTES, content_of(cache, index),
		       CACHE_BLOCK_BYTES);
		if (cache->newest != index) {
			unlink_use(cache, index);
			link_newest(cache, index);
		}
	}
	cache->counts.misses += misses;
	cache->counts.hits += count - misses;
	return misses;
}

int cache_manager_fill(struct cache *cache, uint64_t inode, uint64_t first, uint32_t count,
		       const void *content, uint64_t content_bytes, void *out)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t start = (first + i) * CACHE_BLOCK_BYTES;
		uint64_t bytes = start < content_bytes ? content_bytes - start : 0;
		uint8_t *block;

		if (find(cache, inode, first + i) != NONE)
			continue;
		if (bytes > CACHE_BLOCK_BYTES)
			bytes = CACHE_BLOCK_BYTES;
		block = content_of(cache, take_slot(cache, inode, first + i));
		if (bytes)
			memcpy(block, (const uint8_t *)content + start, bytes);
		memset(block + bytes, 0, CACHE_BLOCK_BYTES - bytes);
		memcpy((uint8_t *)out + (size_t)i * CACHE_BLOCK_BYTES, block, CACHE_BLOCK_BYTES);
	}
	return 0;
}

void cache_manager_update(struct cache *cache, uint64_t inode, uint64_t offset, const void *data,
			  uint64_t bytes)
{
	const uint8_t *from = data;

	while (bytes > 0) {
		uint64_t within = offset % CACHE_BLOCK_BYTES;
		uint64_t piece = CACHE_BLOCK_BYTES - within;
		uint32_t index = find(cache, inode, offset / CACHE_BLOCK_BYTES);

		if (piece > bytes)
			piece = bytes;
		if (index != NONE)
			memcpy(content_of(cache, index) + within, from, piece);
		from += piece;
		offset += piece;
		bytes -= piece;
	}
}

int64_t cache_manager_invalidate(struct cache *cache, uint64_t inode, uint64_t first, uint64_t last)
{
	int64_t dropped = 0;

	if (first > last)
		return 0;
	/* A range wider than the cache is cheaper found by walking what is held. */
	if (last - first >= cache->slot_count) {
		uint32_t index = cache->newest;

		while (index != NONE) {
			struct slot *slot = &cache->slots[index];
			uint32_t older = slot->older;

			if (slot->inode == inode && slot->block >= first && slot->block <= last) {
				drop(cache, index);
				dropped++;
			}
			index = older;
		}
		return dropped;
	}
	for (uint64_t block = first; block <= last; block++) {
		uint32_t index = find(cache, inode, block);

		if (index != NONE) {
			drop(cache, index);
			dropped++;
		}
	}
	return dropped;
}

void cache_manager_counts(const struct cache *cache, struct cache_counts *counts)
{
	*counts = cache->counts;
}
