/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/tele.h"
#include "heap/heap.h"
#include "heap/quarantine.h"
#include "slab/holes.h"

/* Blocks of a list that are looked at before they go: so many stay in the processor's first cache. */
#define VERIFIED 256u

/* The slab of a block, whose word must be `word`. */
HK_INLINE struct hk_slab *owner_slab(uint32_t word, const struct hk_block *b, const void *caller)
{
	size_t unit = hk_arena_offset(b) >> HK_UNIT_SHIFT;

	if (HK_UNLIKELY(unit >= HK_ARENA_UNITS))
		unit = hk_arena_unit_far(b);
	if (HK_UNLIKELY(unit == HK_NO_UNIT || hk_page_word((hk_unit)unit) != word))
		hk_die((struct hk_offence){ "free", caller }, "invalid pointer %p",
		       (const void *)b);
	return hk_slab_of((hk_unit)unit);
}

static void verify_tag(unsigned bin, const struct hk_block *b, const void *caller)
{
	if (HK_UNLIKELY(b == HK_END))
		hk_die((struct hk_offence){ NULL, caller },
		       "corrupted free list of %zu-byte blocks", hk_class_size(bin));
	if (HK_UNLIKELY(b->tag != HK_TAG))
		hk_heap_die_damaged((struct hk_offence){ "free", caller }, b, hk_class_size(bin));
}

static void verify_start(const struct hk_slab *s, unsigned bin, size_t offset,
			 const struct hk_block *b, const void *caller)
{
	size_t inside = hk_class_inside(bin, (uint32_t)offset);

	if (HK_UNLIKELY(inside != 0))
		hk_heap_die_inside((struct hk_offence){ "free", caller }, b, inside,
				   hk_class_size(bin));
	if (HK_UNLIKELY((s->flags & HK_SLAB_HOLES) != 0 && hk_holes_have(s, b)))
		hk_heap_die_already_free((struct hk_offence){ "free", caller }, b,
					 hk_class_size(bin));
}

/* The next `count` blocks, before anything is changed: a block that is in the list twice makes a ring of it,
 * which comes by where it has been (R. P. Brent, 1980). Returns the block behind them. */
static struct hk_block *verify_list(uint32_t word, unsigned bin, struct hk_block *b, uint32_t count,
				    const void *caller)
{
	const struct hk_block *been = NULL;

	for (uint32_t i = 0; i < count; i++) {
		verify_tag(bin, b, caller);
		if (HK_UNLIKELY(b == been))
			hk_slab_die(owner_slab(word, b, caller), caller);
		if ((i & (i - 1)) == 0)
			been = b;
		if (HK_LIKELY(hk_arena_offset(b) >> HK_UNIT_SHIFT <
			      HK_ARENA_UNITS)) /* wanted soon */
			__builtin_prefetch(
				hk_unit_meta((hk_unit)(hk_arena_offset(b) >> HK_UNIT_SHIFT)), 1);
		b = b->link;
	}
	return b;
}

/* Blocks of s have come back. As a rule it stays where it is: partial and in use. */
static void relist(struct hk_heap *h, struct hk_slab *s)
{
	if ((s->flags & (HK_SLAB_PARTIAL | HK_SLAB_IDLE)) != HK_SLAB_PARTIAL || s->used == 0)
		hk_heap_relist_slab_now(h, s);
}

/* Gives `count` blocks back to their slabs. What is looked up of a slab serves for all blocks of it that
 * are neighbours in the list. */
static void give_back(struct hk_heap *h, unsigned bin, struct hk_block *b, uint32_t count,
		      const void *caller)
{
	const uint32_t word = hk_word_slab(h->id, bin);
	const size_t bytes = (size_t)hk_classes[bin].units << HK_UNIT_SHIFT;
	struct hk_slab *s = owner_slab(word, b, caller);
	uintptr_t start = (uintptr_t)hk_slab_start(s);

	while (count != 0) {
		uint32_t part = (uint32_t)hk_min(count, VERIFIED);
		struct hk_block *end = verify_list(word, bin, b, part, caller), *next;

		for (count -= part; part != 0; part--, b = next) {
			next = b->link;
			if ((uintptr_t)b - start >= bytes) {
				relist(h, s);
				s = owner_slab(word, b, caller);
				start = (uintptr_t)hk_slab_start(s);
			}
			verify_start(s, bin, (uintptr_t)b - start, b, caller);
			hk_slab_put(s, b, caller);
		}
		if (HK_UNLIKELY(count == 0 && end != HK_END))
			hk_slab_die(s, caller);
	}
	relist(h, s);
}

void hk_heap_flush(struct hk_heap *h, unsigned bin, uint32_t keep, const void *caller)
{
	struct hk_bin *b = &h->face.bin[bin];
	uint32_t count = b->limit - b->room;
	struct hk_block *last = NULL, *cold = b->head;

	if (count <= keep)
		return;
	for (uint32_t i = 0; i < keep; i++) {
		verify_tag(bin, cold, caller);
		last = cold;
		cold = cold->link;
	}
	if (last != NULL)
		last->link = HK_END;
	else
		b->head = HK_END;
	b->room += count - keep;
	give_back(h, bin, cold, count - keep, caller);
	hk_heap_count_out(h, -(int64_t)((count - keep) * hk_class_size(bin)));
}

void hk_heap_overflow(struct hk_heap *h, unsigned bin, const void *caller)
{
	struct hk_heap_class *class = &h->class[bin];
	struct hk_bin *b = &h->face.bin[bin];
	uint32_t count = b->limit - b->room, flushed;
	bool again = class->overflows != 0; /* the program only frees: less is kept */

	hk_lock_take(&h->lock);
	hk_heap_adapt(h, bin, true);
	class->refilled = false;
	if ((int32_t)b->room < 0) {
		class->flushed = true;
		class->overflows++;
		hk_heap_flush(h, bin, again ? b->limit / 8 : b->limit / 2, caller);
		HK_TELE(heap, flush, 1);
	}
	flushed = count - (b->limit - b->room);
	hk_heap_trim_fallen(h);
	hk_lock_drop(&h->lock);
	hk_heap_pass(h, flushed * hk_class_size(bin));
}

void hk_direct_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where)
{
	struct hk_block *b = p;

	if (h->hardened) {
		hk_hard_free(h, s, p, where);
		return;
	}
	hk_lock_take(&h->lock);
	if (HK_UNLIKELY((b->tag == HK_TAG && hk_heap_is_listed(s, b)) || hk_holes_have(s, b)))
		hk_heap_die_already_free(where, b, hk_slab_block_bytes(s));
	b->tag = HK_TAG;
	hk_slab_put(s, b, where.caller);
	hk_heap_count_out(h, -(int64_t)hk_slab_block_bytes(s));
	relist(h, s);
	hk_heap_trim_fallen(h);
	hk_lock_drop(&h->lock);
	hk_heap_pass(h, 0);
}

static bool is_in_list(const struct hk_block *list, const struct hk_block *b, uint32_t most)
{
	for (uint32_t i = 0; i < most && list != HK_END; i++, list = list->link) {
		if (list == b)
			return true;
	}
	return false;
}

bool hk_heap_is_listed(const struct hk_slab *s, const struct hk_block *b)
{
	return is_in_list(s->free, b, s->free_blocks) || is_in_list(s->mail, b, s->mail_blocks) ||
	       hk_remote_holds(s, b) || hk_holes_have(s, b);
}

void hk_heap_die_damaged(struct hk_offence where, const struct hk_block *b, size_t bytes)
{
	hk_die(where, "block %p (%zu bytes) was freed twice or written after free", (const void *)b,
	       bytes);
}

void hk_heap_die_already_free(struct hk_offence where, const void *p, size_t bytes)
{
	hk_die(where, "%p (%zu bytes) is already free", p, bytes);
}

void hk_heap_die_inside(struct hk_offence where, const void *p, size_t inside, size_t bytes)
{
	if (inside >= bytes)
		hk_die(where, "invalid pointer %p", p);
	hk_die(where, "%p is %zu bytes into a block of %zu bytes", p, inside, bytes);
}
