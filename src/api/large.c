/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/large.h"

#include <string.h>

#include "api/hardened.h"
#include "api/limit.h"
#include "heap/quarantine.h"
#include "os/os.h"
#include "slab/huge.h"
#include "superslab/release.h"

/* Clearing this much takes longer than a system call and a few page faults. */
#define PURGE_TO_CLEAR (8 * HK_MiB)

/* The owner of what is made in h; spans and huge blocks of threads have none. */
static uint32_t owner_id(const struct hk_heap *h) { return hk_heap_is_first_class(h) ? h->id : 0; }

static void enlist(struct hk_heap *h, struct hk_span *s)
{
	hk_lock_take(&h->lock);
	s->next = h->spans;
	if (s->next != NULL)
		s->next->prev = s;
	h->spans = s;
	hk_lock_drop(&h->lock);
}

static void delist(struct hk_heap *h, struct hk_span *s)
{
	hk_lock_take(&h->lock);
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		h->spans = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	hk_lock_drop(&h->lock);
}

static struct hk_span *take_span(struct hk_heap *h, uint32_t units, uint32_t align, bool want_zero,
				 bool *zero)
{
	struct hk_span *s = hk_span_take(units, align, want_zero, owner_id(h), zero);

	if (s == NULL) {
		hk_huge_reclaim();
		s = hk_span_take(units, align, want_zero, owner_id(h), zero);
	}
	return s;
}

/* By giving its pages back when it is large: most of what programs ask for in such pieces they don't
 * write to soon. */
static void clear(void *p, size_t bytes)
{
	if (bytes < PURGE_TO_CLEAR || !hk_os_purge(p, bytes))
		memset(p, 0, bytes);
}

static HK_NOINLINE void *alloc_span(struct hk_heap *h, uint32_t units, uint32_t align,
				    bool want_zero)
{
	bool zero;
	struct hk_span *s = take_span(h, units, align, want_zero, &zero);
	void *p;

	if (s == NULL)
		return NULL;
	if (hk_heap_is_first_class(h))
		enlist(h, s);
	p = hk_arena_address(s->unit);
	if (want_zero && !zero)
		clear(p, hk_span_bytes(s));
	if (h->hardened)
		hk_span_harden(s);
	hk_heap_note_blocks_out(h, 1);
	hk_limit_check();
	return p;
}

void *hk_large_alloc(struct hk_heap *h, size_t size, size_t align, bool want_zero)
{
	size_t units = hk_div_up(size, HK_UNIT_BYTES);
	size_t align_units = hk_max(align >> HK_UNIT_SHIFT, 1);
	struct hk_span *s = NULL;
	void *p;

	if (align_units == 1 && size <= HK_SPAN_MAX && !want_zero) /* direct heaps have none */
		s = hk_bigcache_pop(&h->bigcache, (uint32_t)units);
	if (HK_LIKELY(s != NULL))
		return hk_arena_address(s->unit);
	if (size > PTRDIFF_MAX || align > HK_MAX_ALIGN)
		return NULL;
	if (h->hardened)
		units = hk_div_up(size + hk_harden_tail(), HK_UNIT_BYTES);
	if (units + align_units - 1 <= HK_SPAN_MAX_UNITS)
		return alloc_span(h, (uint32_t)units, (uint32_t)align_units, want_zero);
	p = h->hardened ? hk_huge_alloc_hardened(size, align, owner_id(h))
			: hk_huge_alloc(size, align, want_zero, owner_id(h));
	if (p != NULL)
		hk_heap_note_blocks_out(h, 1);
	hk_limit_check();
	return p;
}

/* The BigCache is too small for what the thread frees: it may grow to the heap's share. */
static HK_NOINLINE void grow_bigcache(struct hk_heap *h, uint32_t units)
{
	hk_lock_take(&h->lock);
	hk_heap_grant_bigcache(h, (uint32_t)hk_max(units, 2 * (size_t)h->bigcache.limit));
	hk_lock_drop(&h->lock);
}

/* To the pool. */
static HK_NOINLINE void give_span(struct hk_heap *h, struct hk_span *s)
{
	size_t bytes = hk_span_bytes(s);

	hk_span_give(s);
	hk_heap_pass(h, bytes);
}

static HK_NOINLINE void free_owned(struct hk_heap *h, struct hk_span *s)
{
	delist(hk_heap_by_id(s->owner), s);
	give_span(h, s);
}

/* Spans have left the BigCache for the newest. */
static HK_NOINLINE void note_overflow(struct hk_heap *h, size_t gave)
{
	grow_bigcache(h, 0);
	hk_heap_pass(h, gave);
}

void hk_large_bury_span(struct hk_span *s, struct hk_offence where)
{
	struct hk_heap *h;

	hk_span_bury(s, where);
	if (s->owner != 0)
		delist(hk_heap_by_id(s->owner), s);
	h = hk_hardened_heap();
	if (h != NULL)
		hk_quarantine_add_span(h, s);
	else
		hk_span_exhume(s);
}

void hk_large_free_span(struct hk_heap *h, struct hk_span *s)
{
	size_t gave;

	if (HK_UNLIKELY(s->owner != 0)) {
		free_owned(h, s);
		return;
	}
	if (HK_UNLIKELY(hk_span_units(s) > h->bigcache.limit) && !hk_heap_is_direct(h))
		grow_bigcache(h, hk_span_units(s));
	if (HK_UNLIKELY(!hk_bigcache_push(&h->bigcache, s, &gave)))
		give_span(h, s);
	else if (HK_UNLIKELY(gave != 0))
		note_overflow(h, gave);
}

void *hk_large_promote(struct hk_span *s, size_t size)
{
	void *p = hk_huge_take_over(hk_arena_address(s->unit), hk_span_bytes(s), size, s->owner);

	if (p == NULL)
		return NULL;
	hk_verify(hk_span_claim(s));
	if (s->owner != 0)
		delist(hk_heap_by_id(s->owner), s);
	hk_span_give_empty(s);
	return p;
}

bool hk_large_resize_span(struct hk_span *s, size_t size)
{
	size_t units = hk_div_up(size, HK_UNIT_BYTES);
	size_t old = hk_span_bytes(s);

	if (hk_span_is_hardened(s)) /* as small blocks: larger ones move */
		return size > HK_CLASS_MAX && size <= hk_span_usable(s) &&
		       size > hk_span_usable(s) / 2;
	if (size <= HK_CLASS_MAX || units > HK_SPAN_MAX_UNITS ||
	    !hk_span_resize(s, (uint32_t)units))
		return false;
	if (hk_span_bytes(s) < old)
		hk_release_check(old - hk_span_bytes(s));
	else
		hk_limit_check();
	return true;
}
