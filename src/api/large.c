/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/large.h"

#include <string.h>

#include "api/hardened.h"
#include "heap/quarantine.h"
#include "slab/huge.h"
#include "superslab/release.h"

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
	struct hk_span *s = NULL;

	*zero = false;
	if (align == 1 && !want_zero && !hk_heap_is_direct(h))
		s = hk_bigcache_pop(&h->bigcache, units);
	if (s == NULL)
		s = hk_span_take(units, align, want_zero, owner_id(h), zero);
	if (s == NULL) {
		hk_huge_reclaim();
		s = hk_span_take(units, align, want_zero, owner_id(h), zero);
	}
	return s;
}

static void *alloc_span(struct hk_heap *h, uint32_t units, uint32_t align, bool want_zero)
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
		memset(p, 0, hk_span_bytes(s));
	if (h->hardened)
		hk_span_harden(s);
	hk_heap_note_blocks_out(h, 1);
	return p;
}

void *hk_large_alloc(struct hk_heap *h, size_t size, size_t align, bool want_zero)
{
	size_t units = hk_div_up(size, HK_UNIT_BYTES);
	size_t align_units = hk_max(align >> HK_UNIT_SHIFT, 1);
	void *p;

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
	return p;
}

/* The BigCache is too small for what the thread frees: it may grow to the heap's share. */
static HK_NOINLINE void grow_bigcache(struct hk_heap *h, uint32_t units)
{
	hk_lock_take(&h->lock);
	hk_heap_grant_bigcache(h, (uint32_t)hk_max(units, 2 * (size_t)h->bigcache.limit));
	hk_lock_drop(&h->lock);
}

/* Keeps s in the thread's BigCache, or gives it to the pool. Returns the bytes that went there. */
static size_t retire_span(struct hk_heap *h, struct hk_span *s)
{
	size_t bytes = hk_span_bytes(s), gave = 0;

	if (!hk_heap_is_direct(h)) {
		if (hk_span_units(s) > h->bigcache.limit)
			grow_bigcache(h, hk_span_units(s));
		if (hk_bigcache_push(&h->bigcache, s, &gave)) {
			if (gave != 0)
				grow_bigcache(h, 0);
			return gave;
		}
	}
	hk_span_give(s);
	return bytes;
}

/* Into the quarantine of the heap that serves the thread, whose heap it was. */
static void bury_span(struct hk_span *s, struct hk_offence where)
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

void hk_large_free_span(struct hk_heap *h, struct hk_span *s, struct hk_offence where)
{
	size_t gave = hk_span_bytes(s);

	if (hk_span_is_hardened(s)) {
		bury_span(s, where);
	} else if (s->owner != 0) {
		delist(hk_heap_by_id(s->owner), s);
		hk_span_give(s);
	} else {
		gave = retire_span(h, s);
	}
	if (gave != 0)
		hk_release_check(gave);
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
	return true;
}
