/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * fork copies the heap while other threads may be at any instruction. Their locks are taken before, so
 * what locks guard is in order. What only the threads themselves touch is not: bins, ways, BigCaches,
 * and units on their way between the pool and a span. In the child
 *
 *   - units that say "free" and are in nobody's hand go to the pool, at once (hk_span_sweep);
 *   - the heaps are parked as they are, FROZEN, and thawed when somebody wants them: most children
 *     call exec. A list of blocks is believed if it is whole: each block of it lies in its place and is
 *     sealed, and it ends after as many blocks as its count says, one more or less.
 *
 * So what is lost is the block that a thread held inside of malloc or free, and a list that the
 * program itself had damaged. */
#include "base/options.h"
#include "heap/life.h"
#include "slab/huge.h"
#include "superslab/meta.h"
#include "superslab/registry.h"
#include "superslab/release.h"
#include "superslab/squeeze.h"

/* Others hold one heap lock and only try a second: so taking all of them in a row can't deadlock. */
void hk_heap_lock_all(void)
{
	hk_heap_table_lock();
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		hk_lock_take_beside(&hk_heap_by_id(id)->lock);
	}
	hk_pool_lock();
	hk_registry_lock_settled();
	hk_meta_lock();
}

void hk_heap_unlock_all(void)
{
	hk_meta_unlock();
	hk_registry_unlock();
	hk_pool_unlock();
	for (uint32_t id = hk_heap_ids(); id-- > HK_FIRST_ID;)
		hk_lock_drop(&hk_heap_by_id(id)->lock);
	hk_heap_table_unlock();
}

/* What says "free" and is in a hand: whoever else comes to hold such units must mark them here. Returns
 * the bytes in the BigCache, which count as out. */
static size_t mark_held(const struct hk_heap *mine)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		const struct hk_heap *h = hk_heap_by_id(id);

		for (uint32_t i = 0; i < h->warm_units; i++)
			hk_page_mark(h->warm[i].unit);
	}
	if (mine == NULL)
		return 0;
	hk_bigcache_mark(&mine->bigcache);
	return mine->bigcache.units * HK_UNIT_BYTES;
}

/* O anew: a thread may have changed what is out, and not have said so yet. */
static void count_out(size_t span_bytes)
{
	int64_t out = (int64_t)(span_bytes + hk_huge_count().live_bytes);

	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		const struct hk_heap *h = hk_heap_by_id(id);

		out += h->out - h->out_unsaid;
	}
	atomic_store_explicit(&hk_out, out, memory_order_relaxed);
}

/* Spans in quarantine look as if nobody held them. */
static bool has_quarantine(void)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		if (hk_heap_by_id(id)->hardened)
			return true;
	}
	return false;
}

void hk_heap_reset_all(void)
{
	struct hk_heap *mine = hk_front.heap;
	bool others = hk_heap_disown_others(mine);

	hk_huge_reset();
	hk_meta_reset();
	hk_registry_reset();
	hk_pool_reset();
	for (uint32_t id = hk_heap_ids(); id-- > HK_FIRST_ID;)
		hk_lock_reset(&hk_heap_by_id(id)->lock);
	hk_heap_table_reset();
	hk_squeeze_reset();
	/* the thread of HAKMEM_BACKGROUND has no heap, but may have been purging */
	if ((others || hk_option(HK_OPT_BACKGROUND) != 0) && !has_quarantine()) {
		hk_pool_mark();
		count_out(mark_held(mine) + hk_span_sweep());
	}
}

void hk_heap_freeze(struct hk_heap *h)
{
	h->bigcache.count = h->bigcache.units = 0; /* the sweep has its spans */
	hk_heap_grant_bigcache(h, 0);
	h->frozen = true;
	/* so that adopters and helpers come by */
	atomic_store_explicit(&h->spare, true, memory_order_relaxed);
}

/* Is b the start of a sealed block in a unit that says `word`? Any address may be asked about; a slab
 * other than `only` won't do, if that is not NULL. */
static bool is_sealed(const struct hk_block *b, uint32_t word, const struct hk_slab *only,
		      bool *placed)
{
	hk_unit unit = hk_arena_unit(b);
	const struct hk_slab *s;

	*placed = false;
	if ((uintptr_t)b % HK_BLOCK_ALIGN != 0 || unit == HK_NO_UNIT || hk_page_word(unit) != word)
		return false;
	s = hk_slab_of(unit);
	if ((only != NULL && s != only) || hk_slab_inside(s, b) != 0)
		return false;
	*placed = true;
	return b->tag == HK_TAG;
}

/* Makes a chain of the list at `head`, of at most `most` blocks: empty when the list is not whole. */
static struct hk_chain believe(struct hk_block *head, uint32_t most, uint32_t word,
			       const struct hk_slab *only)
{
	struct hk_chain none = HK_CHAIN_EMPTY, chain = { head, NULL, 0 };
	bool placed;

	/* in the hand of a malloc, which has broken the seal and not yet moved the head; or of a free,
	 * which has not sealed it yet */
	if (head != HK_END && !is_sealed(head, word, only, &placed) && placed)
		chain.head = head->link;
	for (struct hk_block *b = chain.head; b != HK_END; b = b->link) {
		if (chain.count == most || !is_sealed(b, word, only, &placed))
			return none;
		chain.tail = b;
		chain.count++;
	}
	return chain;
}

static void thaw_bin(struct hk_heap *h, unsigned bin)
{
	struct hk_bin *b = &h->face.bin[bin];
	struct hk_chain chain =
		believe(b->head, b->limit - b->room + 1, hk_word_slab(h->id, bin), NULL);

	b->head = chain.head;
	b->room = b->limit - chain.count;
}

static void thaw_way(struct hk_way *way)
{
	const struct hk_slab *s = way->slab;
	uint32_t owner;

	if (s == NULL || way->chain.head == HK_END) {
		way->chain = (struct hk_chain)HK_CHAIN_EMPTY;
		return;
	}
	owner = atomic_load_explicit(&((struct hk_slab *)(uintptr_t)s)->owner,
				     memory_order_relaxed);
	way->chain = believe(way->chain.head, way->chain.count + 1, hk_word_slab(owner, s->bin), s);
}

void hk_heap_thaw_now(struct hk_heap *h)
{
	h->frozen = false;
	for (unsigned bin = 1; bin < HK_BINS; bin++)
		thaw_bin(h, bin);
	for (uint32_t i = 0; i < HK_WAYS; i++)
		thaw_way(&h->way[i]);
	hk_heap_empty(h);
}
