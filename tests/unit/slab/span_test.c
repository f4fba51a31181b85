/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* span: words of live and cached spans, resizing in place, and the private BigCache. */
#include "slab/span.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "fake_os.h"
#include "superslab/release.h"
#include "unit.h"

static void check_pool(void)
{
	hk_pool_lock();
	hk_pool_check();
	hk_pool_unlock();
}

/* SP1, and what the pool may not see. */
static void check_live(const struct hk_span *s)
{
	t_check(hk_span_at(s->unit) == s);
	t_equal(hk_page_word(s->unit), hk_word_kind(HK_KIND_SPAN, 0));
	t_equal(hk_span_extent(s->unit), s->units);
	for (hk_unit u = s->unit + 1; u < s->unit + s->units; u++) {
		t_check_at(hk_page_word(u) == hk_word_kind(HK_KIND_SPAN_INSIDE, 0), u);
		t_check_at(hk_span_around(u) == s, u);
	}
}

static struct hk_span *take(uint32_t units)
{
	bool zero;
	struct hk_span *s = hk_span_take(units, 1, false, 0, &zero);

	t_need(s != NULL);
	t_equal(s->units, units);
	check_live(s);
	return s;
}

static void sp1_take_and_give(void)
{
	struct hk_span *s[6];

	for (uint32_t i = 0; i < 6; i++)
		s[i] = take(5 + 20 * i);
	t_equal(atomic_load(&hk_out), (5 + 25 + 45 + 65 + 85 + 105) * HK_UNIT_BYTES);
	for (uint32_t i = 0; i < 6; i++)
		check_live(s[i]);
	for (uint32_t i = 0; i < 6; i++) {
		hk_unit unit = s[i]->unit;

		hk_span_give(s[i]);
		t_check(hk_page_word(unit) ==
			hk_word_kind(HK_KIND_FREE, HK_WORD_POOLED | HK_WORD_WAS_SPAN));
		check_pool();
	}
	t_equal(atomic_load(&hk_out), 0);
	t_equal(atomic_load(&hk_dirty), 330 * HK_UNIT_BYTES);
}

static void zero_is_known(void)
{
	bool zero = false;
	struct hk_span *s = hk_span_take(8, 1, true, 0, &zero);

	t_check(zero);
	take(12); /* and four more are mapped with them */
	memset(hk_arena_address(s->unit), 1, hk_span_bytes(s));
	hk_span_give(s);
	s = hk_span_take(8, 1, false, 0, &zero);
	t_check(!zero); /* the dirty one first */
	hk_span_give(s);
	s = hk_span_take(4, 1, true, 0, &zero);
	t_check(zero && t_is_zero(hk_arena_address(s->unit), hk_span_bytes(s)));
	hk_span_give(s);
	hk_release_all();
	s = hk_span_take(8, 1, false, 0, &zero);
	t_check(zero && t_is_zero(hk_arena_address(s->unit), hk_span_bytes(s)));
}

static void aligned(void)
{
	bool zero;

	for (uint32_t align = 1; align <= 256; align *= 2) {
		struct hk_span *s = hk_span_take(3, align, false, 0, &zero);

		t_need(s != NULL);
		t_check_at(t_aligned(hk_arena_address(s->unit), align * HK_UNIT_BYTES), align);
		check_live(s);
	}
}

static void refused(void)
{
	struct hk_span *s = take(8);
	int64_t out = atomic_load(&hk_out);
	bool zero;

	hk_fake_fail_after(1);
	t_check(hk_span_take(512, 1, false, 0, &zero) == NULL);
	t_check(hk_span_take(512, 1, true, 0, &zero) == NULL);
	t_check(!hk_span_resize(s, 512));
	t_equal(s->units, 8);
	t_equal(atomic_load(&hk_out), out);
	check_live(s);
	check_pool();
}

static void sp1_resize(void)
{
	struct hk_span *s = take(20), *wall;

	hk_span_give(take(40)); /* behind it, free */
	t_check(hk_span_resize(s, 20));
	t_check(hk_span_resize(s, 33));
	check_live(s);
	t_equal(atomic_load(&hk_out), 33 * HK_UNIT_BYTES);
	wall = take(27);
	t_equal(wall->unit, s->unit + 33);
	t_check(!hk_span_resize(s, 34));
	t_equal(s->units, 33);
	t_check(hk_span_resize(s, 6));
	check_live(s);
	t_equal(atomic_load(&hk_out), 33 * HK_UNIT_BYTES);
	check_pool();
	t_check(hk_page_word(s->unit + 6) == hk_word_kind(HK_KIND_FREE, HK_WORD_POOLED));
	t_check(!hk_span_resize(s, 34));
	t_check(hk_span_resize(s, 33));
	check_live(s);
	check_live(wall);
	hk_span_give(wall);
	hk_span_give(s);
	check_pool();
	t_equal(atomic_load(&hk_out), 0);
}

/* Its pages were moved away: what comes back is not dirty, and known to be zero. */
static void give_empty(void)
{
	struct hk_span *s = take(20);
	int64_t dirty = atomic_load(&hk_dirty);
	hk_unit unit = s->unit;
	bool zero = false;

	hk_span_give_empty(s);
	t_equal(atomic_load(&hk_dirty), dirty);
	t_equal(atomic_load(&hk_out), 0);
	t_equal(hk_page_word(unit), hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN | HK_WORD_POOLED));
	check_pool();
	s = hk_span_take(20, 1, true, 0, &zero);
	t_check(s != NULL && zero);
	hk_span_give(s);
}

/* ---- BigCache ---- */

static bool push(struct hk_bigcache *cache, struct hk_span *s, size_t *gave)
{
	t_check(hk_span_claim(s));
	return hk_bigcache_push(cache, s, gave);
}

static void sp2_push_and_pop(void)
{
	struct hk_bigcache cache = { .limit = 100 };
	struct hk_span *a = take(16), *b = take(17), *c = take(40);
	size_t gave = 1;

	t_check(hk_bigcache_pop(&cache, 16) == NULL);
	t_check(push(&cache, a, &gave) && gave == 0);
	t_check(push(&cache, b, &gave) && gave == 0);
	t_check(push(&cache, c, &gave) && gave == 0);
	t_check(cache.count == 3 && cache.units == 73);
	/* SP2: a second free is seen at once */
	t_equal(hk_page_word(a->unit), hk_word_kind(HK_KIND_FREE, HK_WORD_WAS_SPAN));
	t_check(hk_bigcache_pop(&cache, 16) == b); /* the newest that fits: down to seven eighths */
	check_live(b);
	t_check(hk_bigcache_pop(&cache, 15) == a);
	t_check(hk_bigcache_pop(&cache, 15) == NULL); /* 40 is too long */
	t_check(hk_bigcache_pop(&cache, 41) == NULL);
	t_check(hk_bigcache_pop(&cache, 36) == c);
	t_check(cache.count == 0 && cache.units == 0);
}

static void sp3_limit(void)
{
	struct hk_bigcache cache = { .limit = 30 };
	struct hk_span *s[4] = { take(10), take(10), take(10), take(25) };
	struct hk_span *long_one = take(31);
	size_t gave = 0;

	t_check(!push(&cache, long_one, &gave)); /* still the caller's */
	for (unsigned i = 0; i < 3; i++)
		t_check(push(&cache, s[i], &gave) && gave == 0);
	t_check(push(&cache, s[3], &gave)); /* the oldest leave, till it fits */
	t_equal(gave, 30 * HK_UNIT_BYTES);
	t_check(cache.count == 1 && cache.units == 25);
	check_pool();
	hk_bigcache_empty(&cache);
	t_check(cache.count == 0 && cache.units == 0);
	t_equal(atomic_load(&hk_out), 31 * HK_UNIT_BYTES);
	check_pool();
}

static void sp3_number(void)
{
	struct hk_bigcache cache = { .limit = 1000 };
	struct hk_span *s[12];
	size_t gave;

	for (uint32_t i = 0; i < 12; i++)
		s[i] = take(5 + i);
	for (uint32_t i = 0; i < 12; i++) {
		t_check(push(&cache, s[i], &gave));
		t_equal(gave, i < 8 ? 0 : (i - 3) * HK_UNIT_BYTES);
		t_check(cache.count <= HK_BIGCACHE_SPANS);
	}
	t_check(cache.span[0] == s[4] && cache.span[7] == s[11]);
	hk_bigcache_empty(&cache);
	check_pool();
	t_equal(atomic_load(&hk_out), 0);
}

static void sp3_random(void)
{
	struct hk_bigcache cache = { .limit = 64 };
	struct hk_span *held[64];
	uint64_t seed = 3;
	unsigned count = 0;

	for (unsigned step = 0; step < 3000; step++) {
		uint32_t units = 5 + (uint32_t)t_below(&seed, 30), sum = 0;
		size_t gave;

		if (count < 64 && t_below(&seed, 2) == 0) {
			struct hk_span *s = hk_bigcache_pop(&cache, units);

			t_check(s == NULL || (s->units >= units && s->units <= units + units / 8));
			held[count++] = s != NULL ? s : take(units);
		} else if (count != 0) {
			unsigned i = (unsigned)t_below(&seed, count);

			if (!push(&cache, held[i], &gave))
				t_check(false);
			held[i] = held[--count];
		}
		for (uint32_t i = 0; i < cache.count; i++)
			sum += cache.span[i]->units;
		t_check(sum == cache.units && sum <= cache.limit);
	}
	check_pool();
}

/* ---- Two frees at once ---- */

static struct hk_span *contested;
static _Atomic unsigned claims, racers;

static void *claim(void *arg)
{
	atomic_fetch_add(&racers, 1);
	while (atomic_load(&racers) < 2)
		sched_yield();
	atomic_fetch_add(&claims, hk_span_claim(contested));
	return arg;
}

static void only_one_claims(void)
{
	for (unsigned i = 0; i < 200; i++) {
		pthread_t other;

		contested = take(5);
		atomic_store(&claims, 0);
		atomic_store(&racers, 0);
		other = t_thread(claim, NULL);
		claim(NULL);
		t_join(other);
		t_equal(atomic_load(&claims), 1);
		t_check(!hk_span_claim(contested));
		hk_span_give(contested);
	}
	check_pool();
}

/* The program may have written to all of a span, whatever its units were before. */
static void freed_spans_have_all_pages(void)
{
	struct hk_span *s = take(40);

	for (unsigned i = 0; i < 40; i++) /* as slabs leave them */
		hk_arena_note_touched(s->unit + i, 5000);
	t_equal(hk_arena_pages(s->unit, 40, 0), 40 * 8192);
	t_check(hk_span_resize(s, 30));
	t_equal(hk_pool_pages().dirty, 10 * HK_UNIT_BYTES);
	hk_span_give(s);
	t_equal(hk_pool_pages().dirty, 40 * HK_UNIT_BYTES);
	s = take(40);
	hk_span_give_empty(s);
	t_equal(hk_pool_pages().dirty, 0);
}

/* ---- The sweep after a fork ---- */

static void mark(struct hk_run *run)
{
	for (uint32_t i = 0; i < run->units; i++)
		hk_page_mark(run->unit + i);
}

static void sweep_finds_what_nobody_holds(void)
{
	struct hk_bigcache mine = { .limit = 100 }, gone = { .limit = 100 };
	struct hk_span *a = take(16), *b = take(17), *c = take(20), *d = take(5);
	struct hk_run warm, purging;
	size_t gave, free_before, free_units, dirty;

	push(&mine, a, &gave);
	push(&gone, c, &gave);
	hk_span_give(take(9));
	t_need(hk_pool_take(1, 1, HK_WISH_ANY, &warm));
	t_need(hk_pool_take_dirty(4, &purging)); /* its interior still says "in the pool" */
	hk_page_set(d->unit, hk_word_kind(HK_KIND_FREE, 0)); /* frozen half way to a span */
	hk_page_set(d->unit + 2, hk_word_kind(HK_KIND_FREE, HK_WORD_POOLED));
	hk_pool_count(&free_before, &dirty);

	hk_pool_mark();
	mark(&warm);
	hk_bigcache_mark(&mine);
	t_equal(hk_span_sweep(), 17 * HK_UNIT_BYTES);

	hk_pool_count(&free_units, &dirty);
	t_equal(free_units, free_before + 20 + 5 + purging.units);
	check_live(b);
	t_check(hk_bigcache_pop(&mine, 16) == a);
	check_live(a);
	t_equal(hk_page_word(warm.unit) & (HK_WORD_POOLED | HK_WORD_MARK), 0);
	check_pool();
	/* a second one finds nothing */
	hk_pool_mark();
	mark(&warm);
	t_equal(hk_span_sweep(), 33 * HK_UNIT_BYTES);
	t_equal((hk_pool_count(&free_before, &dirty), free_before), free_units);
	for (hk_unit u = 0; u < hk_arena_end(); u++)
		t_check_at(hk_word_is_slab(hk_page_word(u)) ||
				   (hk_page_word(u) & HK_WORD_MARK) == 0,
			   u);
}

U_MAIN(T_CASE(freed_spans_have_all_pages), T_CASE(sp1_take_and_give), T_CASE(zero_is_known),
       T_CASE(aligned), T_CASE(refused), T_CASE(sp1_resize), T_CASE(give_empty),
       T_CASE(sp2_push_and_pop), T_CASE(sp3_limit), T_CASE(sp3_number), T_CASE(sp3_random),
       T_CASE(only_one_claims), T_CASE(sweep_finds_what_nobody_holds))
