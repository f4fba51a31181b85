/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/span.h"

#include <string.h>

#include "base/check.h"
#include "base/tele.h"
#include "os/os.h"
#include "superslab/release.h" /* hk_out */

/* A cached span serves requests that waste at most an eighth of what they ask for. */
#define FITS(have, want) ((have) >= (want) && (have) - (want) <= (want) / 8)

static void count_out(int64_t units)
{
	atomic_fetch_add_explicit(&hk_out, units * (int64_t)HK_UNIT_BYTES, memory_order_relaxed);
}

static void mark_inside(hk_unit unit, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++)
		hk_page_set(unit + i, hk_word_kind(HK_KIND_SPAN_INSIDE, 0));
}

static void mark_free(hk_unit unit, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++)
		hk_page_set(unit + i, hk_word_kind(HK_KIND_FREE, 0));
}

static void mark_start(const struct hk_span *s, bool live)
{
	uint32_t word =
		live ? hk_word_kind(HK_KIND_SPAN, 0) : hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN);

	atomic_store_explicit(&hk_page_map[s->unit], word, memory_order_release);
}

struct hk_span *hk_span_around(hk_unit unit)
{
	while (hk_word_id(hk_page_word(unit)) == HK_KIND_SPAN_INSIDE)
		unit--;
	return hk_span_at(unit);
}

struct hk_span *hk_span_take(uint32_t units, uint32_t align, bool want_zero, uint32_t owner,
			     bool *zero)
{
	struct hk_run run;
	struct hk_span *s;

	if (!hk_pool_take(units, align, want_zero ? HK_WISH_ZERO : HK_WISH_ANY, &run))
		return NULL;
	s = hk_span_at(run.unit);
	s->next = s->prev = NULL;
	s->unit = run.unit;
	atomic_store_explicit(&s->units, units, memory_order_relaxed);
	s->owner = owner;
	atomic_store_explicit(&s->hardened, false, memory_order_relaxed);
	mark_inside(run.unit + 1, units - 1);
	mark_start(s, true);
	count_out(units);
	*zero = run.zero;
	return s;
}

void hk_span_harden(struct hk_span *s)
{
	hk_harden_seal(hk_arena_address(s->unit), hk_span_bytes(s));
	atomic_store_explicit(&s->hardened, true, memory_order_relaxed);
}

void hk_span_bury(struct hk_span *s, struct hk_offence where)
{
	char *p = hk_arena_address(s->unit);
	size_t bytes = hk_span_bytes(s);
	uint32_t live = hk_word_kind(HK_KIND_SPAN, 0);

	if (HK_UNLIKELY(!atomic_compare_exchange_strong_explicit(
		    &hk_page_map[s->unit], &live, hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN),
		    memory_order_acq_rel, memory_order_relaxed)))
		hk_die(where, "%p (%zu bytes) is already free", (void *)p, hk_span_usable(s));
	/* only now: who comes second must not look at what is guarded by then */
	hk_harden_verify(p, hk_span_usable(s), where);
	mark_free(s->unit + 1, hk_span_units(s) - 1);
	count_out(-(int64_t)hk_span_units(s));
	s->dirty = false;
	s->guarded = hk_os_guard(p, bytes);
	if (s->guarded)
		return;
	hk_harden_unseal(p, bytes);
	if (!hk_os_purge(p, bytes)) {
		memset(p, 0, bytes);
		s->dirty = true;
	}
}

void hk_span_exhume(struct hk_span *s)
{
	struct hk_run run = { .unit = s->unit, .units = hk_span_units(s) };
	char *p = hk_arena_address(s->unit);
	size_t bytes = hk_span_bytes(s);

	if (s->guarded && !hk_os_unguard(p, bytes))
		return; /* lost: but who touches it faults for ever */
	if (!s->guarded && !hk_harden_is_zero(p, bytes))
		hk_die((struct hk_offence){ "free", NULL },
		       "block %p (%zu bytes) was freed twice or written after free", (void *)p,
		       hk_span_usable(s));
	if (s->dirty)
		hk_pool_give(run.unit, run.units, run.units);
	else
		hk_pool_give_purged(&run, HK_PURGED_ZERO);
}

void hk_span_give(struct hk_span *s)
{
	mark_start(s, false);
	mark_free(s->unit + 1, hk_span_units(s) - 1);
	count_out(-(int64_t)hk_span_units(s));
	hk_pool_give(s->unit, hk_span_units(s), hk_span_units(s));
}

struct hk_span *hk_bigcache_pop(struct hk_bigcache *cache, uint32_t units)
{
	for (uint32_t i = cache->count; i-- > 0;) {
		struct hk_span *s = cache->span[i];

		if (!FITS(s->units, units))
			continue;
		cache->count--;
		for (uint32_t j = i; j < cache->count; j++)
			cache->span[j] = cache->span[j + 1];
		cache->units -= hk_span_units(s);
		mark_start(s, true);
		HK_TELE(span, lifo_hit, 1);
		return s;
	}
	HK_TELE(span, lifo_miss, 1);
	return NULL;
}

static void drop_oldest(struct hk_bigcache *cache)
{
	struct hk_span *s = cache->span[0];

	cache->count--;
	for (uint32_t j = 0; j < cache->count; j++)
		cache->span[j] = cache->span[j + 1];
	cache->units -= hk_span_units(s);
	hk_span_give(s);
}

bool hk_bigcache_push(struct hk_bigcache *cache, struct hk_span *s, size_t *gave)
{
	*gave = 0;
	if (hk_span_units(s) > cache->limit)
		return false;
	while (cache->count == HK_BIGCACHE_SPANS ||
	       cache->units + hk_span_units(s) > cache->limit) {
		*gave += hk_span_bytes(cache->span[0]);
		drop_oldest(cache);
	}
	mark_start(s, false);
	cache->span[cache->count++] = s;
	cache->units += hk_span_units(s);
	return true;
}

void hk_bigcache_empty(struct hk_bigcache *cache)
{
	while (cache->count != 0)
		drop_oldest(cache);
}

bool hk_span_resize(struct hk_span *s, uint32_t units)
{
	uint32_t old = hk_span_units(s);
	struct hk_run run;

	if (units > old) {
		if (!hk_pool_extend(s->unit + old, units - old, &run))
			return false;
		mark_inside(s->unit + old, units - old);
		count_out((int64_t)units - old);
	} else if (units < old) {
		mark_free(s->unit + units, old - units);
		count_out((int64_t)units - old);
		hk_pool_give(s->unit + units, old - units, old - units);
	}
	atomic_store_explicit(&s->units, units, memory_order_relaxed);
	return true;
}
