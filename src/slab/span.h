/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_SPAN_H
#define HK_SLAB_SPAN_H
/* BOX span - runs of units that are one large block each, and BigCache in front of the pool.
 * Owns:       struct hk_span; page-map words of spans; struct hk_bigcache.
 * Invariants: SP1 a live span's words are SPAN, which says whether it is hardened, then SPAN_INSIDE
 *                for its other units: a walk reads no record, which may be a slab's by then
 *             SP2 a cached span's first word is FREE | WAS_SPAN: a second free is seen at once
 *             SP3 the units in a BigCache are at most its limit
 *             SP4 a buried span's words are those of a cached one, and it is in no cache
 * Threads:    a span may be freed by any thread. Its first word is set by a release, for walks, and
 *             from live to free by a compare-and-swap: of two frees at once, one fails. A BigCache
 *             belongs to the thread that runs its heap.
 * Locks:      takes HK_RANK_POOL inside, when BigCache does not serve.
 * Fails:      NULL when the system refuses memory.
 *
 * BigCache (L2.5) has two levels: a private LIFO of a few spans, without lock or atomics, and behind
 * it the dirty side of the shared pool, where spans split and coalesce. Spans in the LIFO count as
 * out; its limit is a grant, as the bins' limits are. */
#include "base/base.h"
#include "base/tele.h"
#include "slab/harden.h"
#include "superslab/arena.h"
#include "superslab/pool.h"

struct hk_span {
	struct hk_span *next, *prev; /* spans of a first-class heap [lock of that heap] */
	hk_unit unit;                /* [const] */
	_Atomic uint32_t units;      /* [whoever owns the block, relaxed] */
	uint32_t owner;              /* id of a first-class heap, or 0 [const] */
	_Atomic bool hardened;       /* it has a tail behind its usable bytes (harden.h) [const] */
	bool guarded, dirty;         /* of a buried one [whoever buries it] */
};
static_assert(sizeof(struct hk_span) <= HK_UNIT_UPPER, "fits the upper part of a unit's record");

#define HK_BIGCACHE_SPANS 8u

struct hk_bigcache {
	struct hk_span *span[HK_BIGCACHE_SPANS]; /* the newest last */
	uint32_t count;
	uint32_t units; /* in all of them */
	uint32_t limit; /* units */
	bool used;      /* it served a request since hk_heap_age */
};

/* The span that begins at `unit`, which has a SPAN word. */
HK_INLINE struct hk_span *hk_span_at(hk_unit unit)
{
	return (struct hk_span *)(void *)hk_unit_meta(unit)->upper;
}
HK_INLINE uint32_t hk_span_units(const struct hk_span *s)
{
	return atomic_load_explicit(&((struct hk_span *)(uintptr_t)s)->units, memory_order_relaxed);
}
HK_INLINE size_t hk_span_bytes(const struct hk_span *s)
{
	return (size_t)hk_span_units(s) << HK_UNIT_SHIFT;
}

HK_INLINE bool hk_span_is_hardened(const struct hk_span *s)
{
	return atomic_load_explicit(&((struct hk_span *)(uintptr_t)s)->hardened,
				    memory_order_relaxed);
}
/* What the caller may write to. */
HK_INLINE size_t hk_span_usable(const struct hk_span *s)
{
	return hk_span_bytes(s) - (hk_span_is_hardened(s) ? hk_harden_tail() : 0);
}

/* SP1: its first word while the program has it. */
HK_INLINE uint32_t hk_span_live_word(const struct hk_span *s)
{
	return hk_word_kind(HK_KIND_SPAN, hk_span_is_hardened(s) ? HK_WORD_HARDENED : 0);
}

/* The units of a live span by the words alone, for walks: any thread, any moment. */
uint32_t hk_span_extent(hk_unit unit);
/* The span that a SPAN_INSIDE unit belongs to. */
struct hk_span *hk_span_around(hk_unit unit);

/* From the pool, for heap `owner` (0: for nobody). *zero: every byte is known to be zero. align in
 * units. */
struct hk_span *hk_span_take(uint32_t units, uint32_t align, bool want_zero, uint32_t owner,
			     bool *zero);
/* The first step of a free, which only one of several threads can make: a live span is free from now
 * on, and the caller's. */
HK_INLINE bool hk_span_claim(const struct hk_span *s)
{
	uint32_t live = hk_span_live_word(s);

	HK_LINE_WRITE(span, &hk_page_map[s->unit]);
	return atomic_compare_exchange_strong_explicit(&hk_page_map[s->unit], &live,
						       hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN),
						       memory_order_release, memory_order_relaxed);
}
/* To the pool. */
void hk_span_give(struct hk_span *s);
/* The same, when none of its pages are there any more. */
void hk_span_give_empty(struct hk_span *s);

/* Makes a span that was just taken a hardened one: canary and guard. */
void hk_span_harden(struct hk_span *s);
/* Frees a hardened span without giving it back: its pages are gone, and guarded where there are
 * guards. Aborts when its canary is damaged, or another thread frees it at the same time. */
void hk_span_bury(struct hk_span *s, struct hk_offence where);
/* A buried one goes to the pool. Aborts when it was written to. */
void hk_span_exhume(struct hk_span *s);

/* SP1, SP2: the first word, by whether the program has it. */
HK_INLINE void hk_span_mark(const struct hk_span *s, bool live)
{
	uint32_t word = live ? hk_span_live_word(s) : hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN);

	HK_LINE_WRITE(map, &hk_page_map[s->unit]);
	atomic_store_explicit(&hk_page_map[s->unit], word, memory_order_release);
}

/* A cached span serves requests that waste at most an eighth of what they ask for. */
HK_INLINE bool hk_span_fits(const struct hk_span *s, uint32_t units)
{
	return hk_span_units(s) - units <= units / 8;
}

struct hk_span *hk_bigcache_search(struct hk_bigcache *cache, uint32_t units);
bool hk_bigcache_make_room(struct hk_bigcache *cache, uint32_t units, size_t *gave);

/* From the private LIFO, the newest that fits; NULL when none does. */
HK_INLINE struct hk_span *hk_bigcache_pop(struct hk_bigcache *cache, uint32_t units)
{
	struct hk_span *s;

	if (cache->count == 0)
		return NULL;
	s = cache->span[cache->count - 1];
	if (HK_UNLIKELY(!hk_span_fits(s, units)))
		return hk_bigcache_search(cache, units);
	cache->count--;
	cache->units -= hk_span_units(s);
	cache->used = true;
	hk_span_mark(s, true);
	HK_TELE(span, lifo_hit, 1);
	return s;
}

/* Into it, when s is claimed; spans that must leave for it go to the pool, *gave is their bytes.
 * false: s is larger than
 * the limit, and still the caller's. */
HK_INLINE bool hk_bigcache_push(struct hk_bigcache *cache, struct hk_span *s, size_t *gave)
{
	uint32_t units = hk_span_units(s);

	*gave = 0;
	if (HK_UNLIKELY(cache->count == HK_BIGCACHE_SPANS || cache->units + units > cache->limit) &&
	    !hk_bigcache_make_room(cache, units, gave))
		return false;
	cache->span[cache->count++] = s;
	cache->units += units;
	return true;
}
/* Gives all to the pool. */
void hk_bigcache_empty(struct hk_bigcache *cache);

/* In the child of a fork: marks the units of its spans as held (HK_WORD_MARK). */
void hk_bigcache_mark(const struct hk_bigcache *cache);
/* Then, by the only thread: gives every unit to the pool that says free, or inside of a span that has
 * no start, and is not marked; takes the marks away. Returns the bytes in live spans. */
size_t hk_span_sweep(void);

/* Grows into the free units behind it, or gives back the units beyond `units`. */
bool hk_span_resize(struct hk_span *s, uint32_t units);

#endif
