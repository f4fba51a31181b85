/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/alloc.h"
#include "api/api.h"
#include "api/fast.h"
#include "api/large.h"
#include "api/locate.h"
#include "api/mode.h"
#include "slab/huge.h"

/* The thread's own block, which the fast path could not take: starved, or in a further arena. */
static void free_own(struct hk_heap *h, unsigned bin, struct hk_block *block, const void *caller)
{
	struct hk_bin *b = &h->face.bin[bin];

	block->link = b->head;
	block->tag = HK_TAG;
	b->head = block;
	if ((int32_t)--b->room < 0)
		hk_heap_overflow(h, bin, caller);
}

static void free_in_slab(struct hk_heap *h, void *p, const struct hk_located *at,
			 struct hk_offence where)
{
	struct hk_heap *owner = hk_heap_by_id(at->owner);

	if (hk_heap_is_direct(owner))
		hk_direct_free(owner, at->slab, p, where);
	else if (owner == h)
		free_own(h, at->slab->bin, p, where.caller);
	else
		hk_mail_free(h, at->slab, p, where);
}

/* The live span that p is the start of; NULL: it is something else. */
HK_INLINE struct hk_span *span_at_start(const void *p)
{
	hk_unit unit = hk_arena_unit(p);

	if (unit == HK_NO_UNIT || hk_page_word(unit) != hk_word_kind(HK_KIND_SPAN, 0) ||
	    ((uintptr_t)p & (HK_UNIT_BYTES - 1)) != 0)
		return NULL;
	return hk_span_at(unit);
}

static void free_span(struct hk_heap *h, struct hk_span *s, const void *p, struct hk_offence where)
{
	if (HK_UNLIKELY(hk_span_is_hardened(s)))
		hk_large_bury_span(s, where);
	else if (HK_LIKELY(hk_span_claim(s)))
		hk_large_free_span(h, s);
	else /* two threads free it at once */
		hk_heap_die_already_free(where, p, hk_span_usable(s));
}

void hk_free_at(void *p, struct hk_offence where)
{
	/* The heap comes first: a thread that is born may get the heap that the slab belonged to when
	 * it was looked up, and does no more. */
	struct hk_heap *h = hk_heap_here();
	struct hk_span *span = span_at_start(p);
	struct hk_located at;

	if (span != NULL) {
		free_span(h, span, p, where);
		return;
	}
	at = hk_locate(p, where);
	switch (at.place) {
	case HK_AT_SLAB:
		free_in_slab(h, p, &at, where);
		return;
	case HK_AT_SPAN:
		free_span(h, at.span, p, where);
		return;
	case HK_AT_HUGE:
		hk_huge_free(p, where);
		hk_heap_pass(h, HK_SPAN_MAX);
		return;
	case HK_AT_FOREIGN:
		hk_locate_foreign(p, where);
		hk_libc->free(p);
		return;
	}
}

/* A block of another thread that goes where the last one went. */
HK_INLINE bool free_along(void *p)
{
	struct hk_heap *h = hk_front.heap;
	size_t unit = hk_arena_offset(p) >> HK_UNIT_SHIFT;
	uint32_t word;

	if (h == NULL || unit >= HK_ARENA_UNITS)
		return false;
	word = hk_page_word((hk_unit)unit);
	return hk_word_is_slab(word) && hk_word_id(word) != h->id &&
	       hk_mail_try_push(h, (hk_unit)unit, p);
}

void hk_free_slow(void *p)
{
	if (p != NULL && !free_along(p))
		hk_free_at(p, (struct hk_offence){ "free", HK_CALLER() });
}

void hk_free_flush(struct hk_bin *bin)
{
	struct hk_heap *h = hk_front.heap;

	hk_heap_overflow(h, (unsigned)(bin - h->face.bin), HK_CALLER());
}

void hak_free(void *p) { hk_free(p); }

void hak_free_batch(size_t count, void *const *ptrs)
{
	for (size_t i = 0; i < count; i++)
		hk_free(ptrs[i]);
}

/* Could a request for `size` have got this block? One that realloc has shrunk in place is up to twice
 * as large; one of a larger alignment may be of any class above; small spans are WRAP_TINY=0. */
static bool is_plausible(const struct hk_located *at, size_t alignment, size_t size)
{
	if (size > at->bytes)
		return false;
	if (alignment > HK_BLOCK_ALIGN || at->bytes <= HK_BLOCK_ALIGN)
		return true;
	if (at->place == HK_AT_SLAB)
		return size > at->bytes / 4;
	return size > HK_CLASS_MAX - (at->hardened ? HK_CANARY_BYTES : 0) ||
	       hk_mode() == HK_MODE_SPANS;
}

static void free_checked(void *p, size_t alignment, size_t size, struct hk_offence where)
{
	struct hk_located at = hk_locate(p, where);

	if (at.place != HK_AT_FOREIGN && !is_plausible(&at, alignment, size))
		hk_die(where, "%p has %zu bytes, not %zu", p, at.bytes, size);
	if (at.place != HK_AT_FOREIGN && ((uintptr_t)p & (alignment - 1)) != 0)
		hk_die(where, "%p is not aligned to %zu bytes", p, alignment);
	hk_free_at(p, where);
}

/* The class that the size asks for is the one that it is in: no need to look further. */
HK_INLINE bool is_exact(const void *p, size_t size)
{
	size_t unit = hk_arena_offset(p) >> HK_UNIT_SHIFT;
	uint32_t word;

	if (unit >= HK_ARENA_UNITS || size - 1 >= HK_CLASS_MAX)
		return false;
	word = hk_page_word((hk_unit)unit);
	/* a hardened slab's word is never equal, and its classes hold less */
	return hk_word_is_slab(word) && word == hk_word_slab(hk_word_id(word), hk_class_bin(size));
}

void hak_free_sized(void *p, size_t size)
{
	if (HK_LIKELY(is_exact(p, size)))
		hk_free(p);
	else if (p != NULL)
		free_checked(p, 1, size, (struct hk_offence){ "free_sized", HK_CALLER() });
}

void hak_free_aligned_sized(void *p, size_t alignment, size_t size)
{
	if (p != NULL)
		free_checked(p, hk_is_pow2(alignment) ? alignment : 1, size,
			     (struct hk_offence){ "free_aligned_sized", HK_CALLER() });
}
