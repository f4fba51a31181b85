/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/tele.h"
#include "heap/heap.h"
#include "heap/quarantine.h"

/* Slabs that one refill gathers blocks from. */
#define REFILL_SLABS 4u

static uint32_t gather(struct hk_heap *h, unsigned bin, uint32_t want, struct hk_chain *chain,
		       const void *caller)
{
	for (unsigned i = 0; i < REFILL_SLABS && chain->count < want; i++) {
		struct hk_slab *s = h->class[bin].partial.head;
		uint32_t count = chain->count, holes;

		if (s == NULL && chain->count == 0)
			s = hk_heap_find_slab(h, bin);
		if (s == NULL)
			break;
		holes = s->hole_blocks;
		hk_slab_take(s, want - chain->count, chain, caller);
		if (HK_UNLIKELY(s->hole_blocks != holes))
			hk_heap_note_reopened(h, (holes - s->hole_blocks) * hk_class_size(bin));
		hk_heap_relist_slab(h, s);
		if (chain->tail == NULL || chain->count == count)
			break;
	}
	return chain->count;
}

void hk_heap_note_blocks_out(struct hk_heap *h, uint32_t blocks)
{
	uint64_t sum = atomic_load_explicit(&h->blocks_out, memory_order_relaxed) + blocks;

	if (hk_heap_is_direct(h)) /* several threads may be here */
		atomic_fetch_add_explicit(&h->blocks_out, blocks, memory_order_relaxed);
	else
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
	hk_heap_adapt(h, bin, false);
	want = h->class[bin].flushed ? b->limit / 2 : b->limit;
	if (gather(h, bin, (uint32_t)hk_max(want, 1), &chain, where.caller) != 0) {
		h->class[bin].refilled = true; /* a refusal earns no limit */
		h->class[bin].overflows = 0;
		h->spent = false;
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

	if (h->hardened)
		return hk_hard_take(h, bin, where);
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
