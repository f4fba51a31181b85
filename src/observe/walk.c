/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include <string.h>

#include "hakmem/hakmem.h"
#include "heap/heap.h"
#include "slab/hard_slab.h"
#include "slab/holes.h"
#include "slab/huge.h"

struct walk {
	hak_walk_fn fn;
	void *arg;
	uint32_t only; /* a heap's id, or 0: all */
};

/* Bit a block: it is in one of the slab's lists. */
struct free_set {
	uint64_t bits[HK_SLAB_MAX_BLOCKS / 64];
};

static void add_list(const struct hk_slab *s, const struct hk_block *b, uint32_t count,
		     struct free_set *set)
{
	for (uint32_t i = 0; i < count && b != HK_END; i++, b = b->link) {
		uint32_t offset = (uint32_t)((const char *)b - hk_slab_start(s));
		uint32_t index = hk_class_index(s->bin, offset);

		set->bits[index / 64] |= 1ull << index % 64;
	}
}

static bool visit(const struct walk *w, void *p, size_t bytes, uint32_t id)
{
	struct hak_block_info info = { p, bytes, id };

	return w->fn(&info, w->arg);
}

static bool walk_hardened(const struct hk_slab *s, uint32_t id, const struct walk *w)
{
	size_t size = hk_slab_block_bytes(s);

	for (uint32_t i = 0; i < s->carved; i++) {
		char *p = hk_slab_start(s) + i * size;

		if (hk_hard_slab_is_out(s, p) && !visit(w, p, hk_hard_slab_usable(s), id))
			return false;
	}
	return true;
}

static bool walk_slab(const struct hk_slab *s, uint32_t id, const struct walk *w)
{
	struct free_set set;
	size_t size = hk_slab_block_bytes(s);

	if ((s->flags & HK_SLAB_HARDENED) != 0)
		return walk_hardened(s, id, w);
	memset(&set, 0, sizeof(set));
	add_list(s, s->free, s->free_blocks, &set);
	add_list(s, s->mail, s->mail_blocks, &set);
	for (uint32_t i = 0; i < s->carved; i++) {
		char *p = hk_slab_start(s) + i * size;

		if ((set.bits[i / 64] >> i % 64 & 1) == 0 && !hk_holes_have(s, p) &&
		    !visit(w, p, size, id))
			return false;
	}
	return true;
}

static bool walk_slabs(const struct hk_slab *s, uint32_t id, const struct walk *w)
{
	for (; s != NULL; s = s->next) {
		if (!walk_slab(s, id, w))
			return false;
	}
	return true;
}

static bool walk_heap(const struct hk_heap *h, const struct walk *w)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		if (!walk_slabs(h->class[bin].partial.head, h->id, w) ||
		    !walk_slabs(h->class[bin].full.head, h->id, w))
			return false;
	}
	return true;
}

static bool walk_heaps(const struct walk *w)
{
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		if ((w->only == 0 || w->only == id) && !walk_heap(hk_heap_by_id(id), w))
			return false;
	}
	return true;
}

static bool walk_spans_in(hk_unit unit, hk_unit end, const struct walk *w)
{
	for (; unit < end; unit++) {
		const struct hk_span *s;

		uint32_t word = atomic_load_explicit(&hk_page_map[unit], memory_order_acquire);

		if (hk_word_id(word) != HK_KIND_SPAN)
			continue;
		s = hk_span_at(unit);
		if ((w->only == 0 || w->only == s->owner) &&
		    !visit(w, hk_arena_address(unit), hk_span_usable(s), s->owner))
			return false;
	}
	return true;
}

static bool walk_spans(const struct walk *w)
{
	hk_unit windows = hk_arena_windows() * HK_WINDOW_UNITS;

	return walk_spans_in(0, hk_arena_end(), w) &&
	       walk_spans_in(HK_ARENA_UNITS, HK_ARENA_UNITS + windows, w);
}

static bool visit_huge(void *p, size_t bytes, uint32_t owner, void *arg)
{
	const struct walk *w = arg;

	return (w->only != 0 && w->only != owner) || visit(w, p, bytes, owner);
}

/* Blocks on their way home come home first, so that they don't look live. */
static void collect_mail(void)
{
	struct hk_heap *mine = hk_heap_here();

	hk_lock_take(&mine->lock);
	if (!hk_heap_is_direct(mine))
		hk_heap_empty(mine);
	hk_lock_drop(&mine->lock);
	/* twice: what is thawed or forwarded may go to a heap that was visited before */
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
			struct hk_heap *h = hk_heap_by_id(id);

			hk_lock_take(&h->lock);
			hk_heap_thaw(h);
			hk_mail_drain(h);
			hk_lock_drop(&h->lock);
		}
	}
}

bool hak_heap_walk(hak_heap *heap, hak_walk_fn fn, void *arg)
{
	const struct hk_heap *h = (const struct hk_heap *)(void *)heap;
	struct walk w = { fn, arg, h != NULL ? h->id : 0 };
	bool whole;

	collect_mail();
	hk_heap_lock_all();
	whole = walk_heaps(&w) && walk_spans(&w) && hk_huge_walk(visit_huge, &w);
	hk_heap_unlock_all();
	return whole;
}
