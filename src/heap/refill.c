/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"
#include "base/tele.h"
#include "heap/heap.h"
#include "superslab/release.h"

/* A bin begins with this many bytes, at least one block. */
#define FIRST_BYTES ((size_t)1024)
/* The budget of a heap's bins: an eighth of what is out; or its share in an eighth of the bound, at
 * least this much. */
#define MIN_BUDGET (64 * HK_KiB)
/* Refused grants between two looks for bins that idle. */
#define REFUSALS 16u
/* Slabs that one refill gathers blocks from. */
#define REFILL_SLABS 4u

static size_t budget(const struct hk_heap *h)
{
	size_t out = h->out > 0 ? (size_t)h->out : 0;
	size_t share = hk_option(HK_OPT_BOUND) / 8 / hk_max(hk_heaps_running(), 1);

	return hk_min(hk_max(hk_max(out / 8, share), MIN_BUDGET), hk_option(HK_OPT_BIN_BYTES));
}

/* H5: every change of a limit goes through here. */
static void set_limit(struct hk_heap *h, unsigned bin, uint32_t blocks)
{
	struct hk_bin *b = &h->face.bin[bin];
	int64_t bytes = ((int64_t)blocks - b->limit) * (int64_t)hk_class_size(bin);

	b->room += blocks - b->limit;
	b->limit = blocks;
	h->granted += (size_t)bytes;
	atomic_fetch_add_explicit(&hk_granted, bytes, memory_order_relaxed);
}

/* Bins that were neither filled nor flushed since the last look give up half of their limit. */
static void take_from_idle(struct hk_heap *h)
{
	h->refusals = 0;
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		struct hk_heap_class *class = &h->class[bin];
		struct hk_bin *b = &h->face.bin[bin];

		if (!class->refilled && !class->flushed && b->limit != 0) {
			uint32_t half = b->limit / 2;

			if (b->limit - b->room > half)
				hk_heap_flush(h, bin, half, NULL);
			set_limit(h, bin, half);
		}
		class->refilled = class->flushed = false;
	}
}

void hk_heap_grant(struct hk_heap *h, unsigned bin, uint32_t blocks)
{
	uint32_t limit = h->face.bin[bin].limit;
	size_t size = hk_class_size(bin);
	size_t left = budget(h) - hk_min(budget(h), h->granted);

	if (hk_option(HK_OPT_TINY_TCACHE_CAP) != 0 && blocks != 0) {
		set_limit(h, bin, (uint32_t)hk_option(HK_OPT_TINY_TCACHE_CAP));
		return;
	}
	if (blocks > limit && (blocks - limit) * size > left) {
		if (++h->refusals >= REFUSALS)
			take_from_idle(h);
		return;
	}
	set_limit(h, bin, blocks);
}

/* Twice as many, when the bin is refilled again before it was ever flushed, or both happens. */
static void adapt(struct hk_heap *h, unsigned bin)
{
	uint32_t limit = h->face.bin[bin].limit;
	size_t first = hk_max(FIRST_BYTES / hk_class_size(bin), 1);

	if (limit == 0)
		hk_heap_grant(h, bin, (uint32_t)first);
	else if (h->class[bin].refilled)
		hk_heap_grant(h, bin, 2 * limit);
}

void hk_heap_grant_bigcache(struct hk_heap *h, uint32_t units)
{
	size_t share = hk_option(HK_OPT_BOUND) / 2 / hk_max(hk_heaps_running(), 1);
	int64_t bytes;

	if (!hk_option(HK_OPT_BIGCACHE_L25))
		share = 0;
	units = (uint32_t)hk_min(units, share >> HK_UNIT_SHIFT);
	if (units < h->bigcache.units)
		hk_bigcache_empty(&h->bigcache);
	bytes = ((int64_t)units - h->bigcache.limit) * (int64_t)HK_UNIT_BYTES;
	h->bigcache.limit = units;
	h->granted += (size_t)bytes;
	atomic_fetch_add_explicit(&hk_granted, bytes, memory_order_relaxed);
}

static uint32_t gather(struct hk_heap *h, unsigned bin, uint32_t want, struct hk_chain *chain,
		       const void *caller)
{
	for (unsigned i = 0; i < REFILL_SLABS && chain->count < want; i++) {
		struct hk_slab *s = h->class[bin].partial.head;

		if (s == NULL && chain->count == 0)
			s = hk_heap_find_slab(h, bin);
		if (s == NULL)
			break;
		hk_slab_take(s, want - chain->count, chain, caller);
		hk_heap_relist_slab(h, s);
		if (chain->tail == NULL)
			break;
	}
	return chain->count;
}

void hk_heap_note_blocks_out(struct hk_heap *h, uint32_t blocks)
{
	uint64_t sum = atomic_load_explicit(&h->blocks_out, memory_order_relaxed) + blocks;

	atomic_store_explicit(&h->blocks_out, sum, memory_order_relaxed);
}

bool hk_heap_refill(struct hk_heap *h, unsigned bin, struct hk_offence where)
{
	struct hk_bin *b = &h->face.bin[bin];
	struct hk_chain chain = HK_CHAIN_EMPTY;
	uint32_t want;

	if (HK_UNLIKELY(b->room != b->limit)) /* H2: it ended before all of its blocks came */
		hk_die((struct hk_offence){ NULL, where.caller },
		       "corrupted free list of %zu-byte blocks", hk_class_size(bin));
	hk_lock_take(&h->lock);
	adapt(h, bin);
	want = h->class[bin].flushed ? b->limit / 2 : b->limit;
	h->class[bin].refilled = true;
	if (gather(h, bin, (uint32_t)hk_max(want, 1), &chain, where.caller) != 0) {
		hk_heap_count_out(h, (int64_t)(chain.count * hk_class_size(bin)));
		hk_heap_note_blocks_out(h, chain.count);
		b->head = chain.head;
		b->room -= chain.count;
	}
	hk_lock_drop(&h->lock);
	HK_TELE(heap, refill, 1);
	return chain.count != 0;
}

struct hk_block *hk_heap_take_zero(struct hk_heap *h, unsigned bin)
{
	struct hk_slab *s;
	struct hk_block *block = NULL;

	hk_lock_take(&h->lock);
	s = hk_heap_find_slab(h, bin);
	if (s != NULL)
		block = hk_slab_take_zero(s);
	if (block != NULL) {
		hk_heap_relist_slab(h, s);
		hk_heap_count_out(h, (int64_t)hk_class_size(bin));
		hk_heap_note_blocks_out(h, 1);
	}
	hk_lock_drop(&h->lock);
	return block;
}

struct hk_block *hk_direct_take(struct hk_heap *h, unsigned bin, struct hk_offence where)
{
	struct hk_chain chain = HK_CHAIN_EMPTY;

	hk_lock_take(&h->lock);
	if (gather(h, bin, 1, &chain, where.caller) != 0) {
		hk_heap_count_out(h, (int64_t)hk_class_size(bin));
		hk_heap_note_blocks_out(h, 1);
	}
	hk_lock_drop(&h->lock);
	if (chain.count == 0)
		return NULL;
	if (HK_UNLIKELY(chain.head->tag != HK_TAG))
		hk_heap_die_damaged(where, chain.head, hk_class_size(bin));
	chain.head->tag = 0;
	return chain.head;
}
