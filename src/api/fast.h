/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_FAST_H
#define HK_API_FAST_H
/* BOX fast - the hot path, whole.
 * Owns:       nothing: it moves blocks between the caller and the thread's bins.
 * Invariants: F1 every listed block carries HK_TAG, and the end of every list does not: one compare
 *                in malloc is the empty test and the integrity check
 *             F2 0 < word ^ front->match < 2048 means: a slab, and mine; and is its bin's byte offset
 * Threads:    the calling thread's own bins; the page map by relaxed loads (why that is enough:
 *             superslab/pagemap.h).
 * Locks:      none.
 * Fails:      everything that is not a hit goes to a slow function by tail call, so that its return
 *             address is the program's.
 *
 * Budget (x86-64): malloc <= 16 instructions and 2 branches, free <= 21 and 3 (tests/golden). */
#include "base/base.h"
#include "base/tele.h"
#include "heap/face.h"         /* hk_face, hk_bin, the thread's face */
#include "slab/class.h"        /* hk_class_bin */
#include "superslab/pagemap.h" /* hk_page_map, hk_arena_base */

HK_HIDDEN HK_NOINLINE void *hk_malloc_slow(size_t size);
HK_HIDDEN HK_NOINLINE void *hk_malloc_mid(size_t size);
HK_HIDDEN HK_NOINLINE void hk_free_slow(void *p);
HK_HIDDEN HK_NOINLINE void hk_free_flush(struct hk_bin *bin);

HK_INLINE void *hk_malloc(size_t size)
{
	struct hk_front *front = &hk_front;
	size_t last = size - 1; /* size 0 wraps, and goes slow */
	struct hk_bin *bin;
	struct hk_block *p;

	if (HK_UNLIKELY(last >= HK_LOAD_FOLDED(front->tiny_limit)))
		return hk_malloc_mid(size);
	bin = hk_bin_at(front->face, (last & -HK_BLOCK_ALIGN) + HK_BLOCK_ALIGN);
	p = bin->head;
	if (HK_UNLIKELY(p->tag != HK_TAG))
		return hk_malloc_slow(size); /* the end of the list, or damage */
	bin->head = p->link;
	p->tag = 0;
	bin->room++;
	HK_TELE(heap, malloc_fast, 1);
	return p;
}

HK_INLINE void hk_free(void *p)
{
	struct hk_front *front = &hk_front;
	size_t unit = hk_arena_offset(p) >> HK_UNIT_SHIFT;
	struct hk_block *block = p;
	struct hk_bin *bin;
	uint32_t e;

	HK_OPAQUE(unit);
	if (HK_UNLIKELY(unit >= HK_ARENA_UNITS)) {
		hk_free_slow(p); /* NULL, huge, further arenas, not ours */
		return;
	}
	e = hk_page_word((hk_unit)unit) ^ HK_LOAD_FOLDED(front->match);
	if (HK_UNLIKELY(e - 1 >= HK_FACE_BYTES - 1)) {
		hk_free_slow(p); /* another heap's, a span, not ours; 0: no heap and not ours */
		return;
	}
	bin = hk_bin_at(front->face, e);
	block->link = bin->head;
	block->tag = HK_TAG;
	bin->head = block;
	HK_TELE(heap, free_fast, 1);
	if (HK_UNLIKELY((int32_t)--bin->room < 0))
		hk_free_flush(bin);
}

#endif
