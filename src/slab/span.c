/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/span.h"

#include <string.h>

#include "base/check.h"
#include "base/tele.h"
#include "os/os.h"
#include "superslab/release.h" /* hk_out */

static void count_out(int64_t units) { hk_out_add(units * (int64_t)HK_UNIT_BYTES); }

/* The program may have written to all of it. */
static void give(hk_unit unit, uint32_t units)
{
	hk_arena_note_touched(unit, units * HK_UNIT_BYTES);
	hk_pool_give(unit, units, units);
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

uint32_t hk_span_extent(hk_unit unit)
{
	uint32_t units = 1;

	while (unit + units < HK_MAP_UNITS &&
	       hk_word_id(hk_page_word(unit + units)) == HK_KIND_SPAN_INSIDE)
		units++;
	return units;
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
	hk_span_mark(s, true);
	count_out(units);
	HK_TELE(span, lifo_miss, 1);
	*zero = run.zero;
	return s;
}

void hk_span_harden(struct hk_span *s)
{
	hk_harden_seal(hk_arena_address(s->unit), hk_span_bytes(s));
	atomic_store_explicit(&s->hardened, true, memory_order_relaxed);
	hk_span_mark(s, true);
}

void hk_span_bury(struct hk_span *s, struct hk_offence where)
{
	char *p = hk_arena_address(s->unit);
	size_t bytes = hk_span_bytes(s);

	if (HK_UNLIKELY(!hk_span_claim(s)))
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
		give(run.unit, run.units);
	else
		hk_pool_give_purged(&run, HK_PURGED_ZERO);
}

static void leave(const struct hk_span *s)
{
	hk_span_mark(s, false);
	mark_free(s->unit + 1, hk_span_units(s) - 1);
	count_out(-(int64_t)hk_span_units(s));
}

void hk_span_give(struct hk_span *s)
{
	leave(s);
	give(s->unit, hk_span_units(s));
}

void hk_span_give_empty(struct hk_span *s)
{
	struct hk_run run = { .unit = s->unit, .units = hk_span_units(s) };

	leave(s);
	hk_pool_give_purged(&run, HK_PURGED_ZERO);
}

static struct hk_span *remove_at(struct hk_bigcache *cache, uint32_t i)
{
	struct hk_span *s = cache->span[i];

	cache->count--;
	for (uint32_t j = i; j < cache->count; j++)
		cache->span[j] = cache->span[j + 1];
	cache->units -= hk_span_units(s);
	return s;
}

struct hk_span *hk_bigcache_search(struct hk_bigcache *cache, uint32_t units)
{
	uint32_t i = cache->count;
	struct hk_span *s;

	while (i > 0 && !hk_span_fits(cache->span[i - 1], units))
		i--;
	if (i == 0)
		return NULL;
	s = remove_at(cache, i - 1);
	cache->used = true;
	hk_span_mark(s, true);
	HK_TELE(span, lifo_hit, 1);
	return s;
}

bool hk_bigcache_make_room(struct hk_bigcache *cache, uint32_t units, size_t *gave)
{
	if (units > cache->limit)
		return false;
	while (cache->count == HK_BIGCACHE_SPANS || cache->units + units > cache->limit) {
		struct hk_span *oldest = remove_at(cache, 0);

		*gave += hk_span_bytes(oldest);
		hk_span_give(oldest);
	}
	return true;
}

void hk_bigcache_empty(struct hk_bigcache *cache)
{
	while (cache->count != 0)
		hk_span_give(remove_at(cache, 0));
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
		/* first: a fork may come between, and the child must not find these units twice */
		atomic_store_explicit(&s->units, units, memory_order_release);
		mark_free(s->unit + units, old - units);
		count_out((int64_t)units - old);
		give(s->unit + units, old - units);
	}
	atomic_store_explicit(&s->units, units, memory_order_relaxed);
	return true;
}

void hk_bigcache_mark(const struct hk_bigcache *cache)
{
	for (uint32_t i = 0; i < cache->count; i++) {
		const struct hk_span *s = cache->span[i];

		for (uint32_t j = 0; j < hk_span_units(s); j++)
			hk_page_mark(s->unit + j);
	}
}

static void give_lost(hk_unit unit, uint32_t units)
{
	if (units == 0)
		return;
	mark_free(unit, units);
	give(unit, units);
}

/* Returns the units in live spans. */
static size_t sweep(hk_unit unit, hk_unit end)
{
	hk_unit covered = unit; /* up to here, units are inside of a live span */
	uint32_t lost = 0;      /* so many in a row, before `unit` */
	size_t live = 0;

	for (; unit < end; unit++) {
		uint32_t word = hk_page_word(unit), kind = hk_word_id(word);
		bool is_lost =
			kind == HK_KIND_FREE || (kind == HK_KIND_SPAN_INSIDE && unit >= covered);

		if ((word & HK_WORD_MARK) != 0) {
			hk_page_set(unit, word & ~HK_WORD_MARK);
			is_lost = false;
		} else if (kind == HK_KIND_SPAN) {
			covered = unit + hk_span_units(hk_span_at(unit));
			live += hk_span_units(hk_span_at(unit));
		}
		if (!is_lost || unit % HK_WINDOW_UNITS == 0) {
			give_lost(unit - lost, lost);
			lost = 0;
		}
		lost += is_lost;
	}
	give_lost(end - lost, lost);
	return live;
}

size_t hk_span_sweep(void)
{
	hk_unit windows = hk_arena_windows() * HK_WINDOW_UNITS;

	return (sweep(0, hk_arena_end()) + sweep(HK_ARENA_UNITS, HK_ARENA_UNITS + windows))
	       << HK_UNIT_SHIFT;
}
