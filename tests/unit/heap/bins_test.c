/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: bins of one thread: refills, flushes, limits, and damage that is found there. */
#include <string.h>

#include "base/options.h"
#include "heap_ops.h"
#include "slab/holes.h"

static void h2_check(unsigned bin)
{
	const struct hk_bin *b = &hk_heap_here()->face.bin[bin];

	t_check_at(b->room <= b->limit || b->room == UINT32_MAX, bin);
	t_equal(h_count(b), b->limit - b->room);
}

/* Random lifetimes in a few classes of each kind. */
static void h2_h4_h5_random(void)
{
	static const size_t sizes[] = { 16, 48, 1000, 5000, 30000, 100000, 262144 };
	static struct {
		char *p;
		size_t n;
	} live[2000];
	size_t count = 0, steps = t_scale(60000, 6000);
	uint64_t seed = 1;

	for (size_t step = 0; step < steps; step++) {
		size_t n = sizes[t_below(&seed, step / 100 % 7 + 1)];
		bool grow = step / 4000 % 2 == 0; /* swings */

		if (count < T_COUNT(live) && t_below(&seed, 3) < (grow ? 2 : 1)) {
			live[count].p = h_malloc(n);
			live[count].n = n;
			t_need(live[count].p != NULL);
			t_fill(live[count].p, n, (uintptr_t)live[count].p);
			h2_check(hk_class_bin(n));
			count++;
		} else if (count != 0) {
			size_t i = t_below(&seed, count);

			t_check(t_holds(live[i].p, live[i].n, live[i].n, (uintptr_t)live[i].p));
			h_free(live[i].p);
			h2_check(hk_class_bin(live[i].n));
			live[i] = live[--count];
		}
		if (step % 1000 == 0)
			h_check();
	}
	while (count != 0)
		h_free(live[--count].p);
	h_check();
	hk_lock_take(&hk_heap_here()->lock);
	hk_heap_empty(hk_heap_here());
	hk_heap_shed(hk_heap_here());
	hk_lock_drop(&hk_heap_here()->lock);
	h_check();
	t_equal(hk_heap_here()->slabs, 0);
	t_equal(hk_heap_here()->out, 0);
	t_equal(hk_heap_here()->granted, 0);
	h_say_all();
	t_equal(atomic_load(&hk_out), 0);
	t_equal(atomic_load(&hk_granted), 0);
}

/* All of one class out and in: the limit doubles, and neither grows beyond the budget. */
static void swing(size_t n, size_t blocks)
{
	static void *p[70000];

	for (size_t i = 0; i < blocks; i++)
		p[i] = h_malloc(n);
	for (size_t i = 0; i < blocks; i++)
		h_free(p[i]);
}

static void h5_limits_double_within_the_budget(void)
{
	const struct hk_heap *h = hk_heap_here();
	const struct hk_bin *b = &h->face.bin[hk_class_bin(64)];
	uint32_t before;

	h_free(h_malloc(64));
	before = b->limit;
	t_equal(before, 16); /* 1 KiB at first */
	for (unsigned i = 0; i < 5; i++) {
		swing(64, 4000);
		t_check_at(b->limit >= before, i);
		before = b->limit;
	}
	t_check(before >= 128);
	h_check();
	t_equal(hk_option_set("BIN_BYTES", "300K"), 0);
	for (size_t n = 16; n <= 32 * T_KiB; n *= 2) {
		swing(n, T_MiB / n);
		t_check_at(h->granted <= hk_max(300 * T_KiB, before * 64), n);
		h_check();
	}
}

/* A thread that only frees: the fourth overflow in a row is the first that costs the bin its limit, which is
 * not less than 16 KiB in the end. */
static void h5_overflows_in_a_row(void)
{
	static void *p[4000];
	const struct hk_bin *b = &hk_heap_here()->face.bin[hk_class_bin(1024)];
	uint32_t limit, overflows = 0;

	t_equal(hk_option_set("BIN_BYTES", "256K"), 0);
	for (unsigned i = 0; i < 8; i++)
		swing(1024, 600);
	for (size_t i = 0; i < T_COUNT(p); i++)
		p[i] = h_malloc(1024);
	limit = b->limit;
	t_check(limit >= 128);
	for (size_t i = 0; i < T_COUNT(p); i++) {
		uint32_t held = b->limit - b->room;

		h_free(p[i]);
		if (b->limit - b->room > held)
			continue;
		overflows++;
		t_check_at(overflows > 3 ? b->limit == limit / 2 || limit <= 16 : b->limit >= limit,
			   overflows);
		limit = b->limit;
	}
	t_check(overflows > 8);
	t_equal(b->limit, 16);
	h_check();
}

/* A bin that is out of use gives its limit up to those that are refused one. */
static void h5_idle_bins_give_up(void)
{
	const struct hk_bin *b = &hk_heap_here()->face.bin[hk_class_bin(64)];
	uint32_t limit;

	t_equal(hk_option_set("BIN_BYTES", "64K"), 0);
	for (unsigned i = 0; i < 8; i++)
		swing(64, 3000);
	limit = b->limit;
	t_check(limit >= 256);
	for (unsigned i = 0; i < 200 && b->limit != 0; i++) {
		swing(256, 1000);
		swing(4096, 100);
		h2_check(hk_class_bin(64));
	}
	t_check(b->limit < limit / 4);
	h_check();
}

static void fixed_limit(void)
{
	const struct hk_bin *b = &hk_heap_here()->face.bin[hk_class_bin(100)];

	t_equal(hk_option_set("TINY_TCACHE_CAP", "7"), 0);
	for (unsigned i = 0; i < 4; i++)
		swing(100, 3000);
	t_equal(b->limit, 7);
	t_equal(hk_option_set("TINY_TCACHE_CAP", "3"), 0); /* while more is in it */
	swing(100, 3000);
	t_equal(b->limit, 3);
	h2_check(hk_class_bin(100));
	h_check();
}

/* A flush leaves the warm half: what was freed last. */
static void flush_gives_the_colder_half(void)
{
	struct hk_heap *h = hk_heap_here();
	unsigned bin = hk_class_bin(64);
	void *p[12], *rest[4];

	t_equal(hk_option_set("TINY_TCACHE_CAP", "8"), 0);
	for (unsigned i = 0; i < 12; i++)
		p[i] = h_malloc(64);
	for (unsigned i = 0; i < 4; i++) /* the bin is empty */
		rest[i] = h_malloc(64);
	t_check(rest[3] != NULL && h->face.bin[bin].head == HK_END);
	for (unsigned i = 0; i < 9; i++)
		h_free(p[i]);
	t_equal(h_count(&h->face.bin[bin]), 4);
	t_equal(h_slab(p[0])->used, 16 - 5);
	for (unsigned i = 9; i-- > 5;)
		t_check_at(h_malloc(64) == p[i], i);
	h_check();
}

static void zero_blocks(void)
{
	struct hk_heap *h = hk_heap_here();
	unsigned bin = hk_class_bin(2048);
	char *a = (char *)hk_heap_take_zero(h, bin), *b = (char *)hk_heap_take_zero(h, bin);

	t_need(a != NULL && b != NULL && a != b);
	t_check(t_is_zero(a, 2048) && t_is_zero(b, 2048));
	t_equal(h->out, 4096);
	t_equal(atomic_load(&h->blocks_out), 2);
	h_check();
	h_free(a);
	h_free(b);
	h_check();
}

/* Empty slabs: the last of a class waits, others go to warm units and then to the pool. */
static void empty_slabs_go_back(void)
{
	struct hk_heap *h = hk_heap_here();
	size_t free_units, dirty;

	swing(1024, 64 * 20); /* 20 slabs */
	h_check();
	hk_lock_take(&h->lock);
	hk_heap_empty(h);
	hk_lock_drop(&h->lock);
	h_check();
	t_equal(h->slabs, 1);
	t_equal(h->warm_units, hk_option(HK_OPT_WARM_UNITS));
	hk_pool_count(&free_units, &dirty);
	t_check(dirty >= 20 - 1 - hk_option(HK_OPT_WARM_UNITS));
	hk_lock_take(&h->lock);
	t_equal(hk_heap_shed(h), (1 + hk_option(HK_OPT_WARM_UNITS)) * HK_UNIT_BYTES);
	hk_lock_drop(&h->lock);
	h_check();
	t_check(h->slabs == 0 && h->warm_units == 0);
}

/* ---- Damage ---- */

static void fill_bin(void *p[8])
{
	t_equal(hk_option_set("TINY_TCACHE_CAP", "8"), 0);
	for (unsigned i = 0; i < 8; i++)
		p[i] = h_malloc(48);
	for (unsigned i = 0; i < 8; i++)
		h_free(p[i]);
}

static void flush_all(void)
{
	struct hk_heap *h = hk_heap_here();

	hk_lock_take(&h->lock);
	hk_heap_flush(h, hk_class_bin(48), 0, NULL);
	hk_lock_drop(&h->lock);
}

static void pop_after_write(void *arg)
{
	void *p[8];

	(void)arg;
	fill_bin(p);
	((struct hk_block *)p[7])->tag++;
	h_malloc(48);
}

static void flush_after_write(void *arg)
{
	void *p[8];

	fill_bin(p);
	((struct hk_block *)p[(uintptr_t)arg])->tag++;
	flush_all();
}

static void flush_ring(void *arg)
{
	void *p[8];

	fill_bin(p);
	((struct hk_block *)p[0])->link = p[(uintptr_t)arg];
	flush_all();
}

static void flush_short(void *arg)
{
	void *p[8];

	fill_bin(p);
	((struct hk_block *)p[(uintptr_t)arg])->link = HK_END;
	flush_all();
}

static void refill_short(void *arg)
{
	void *p[8];

	fill_bin(p);
	((struct hk_block *)p[(uintptr_t)arg])->link = HK_END;
	for (unsigned i = 0; i < 9; i++)
		h_malloc(48);
}

static void flush_interior(void *arg)
{
	void *p[8];
	struct hk_block *b;

	fill_bin(p);
	b = (struct hk_block *)(void *)((char *)p[3] + (uintptr_t)arg);
	b->link = ((struct hk_block *)p[5])->link;
	b->tag = HK_TAG;
	((struct hk_block *)p[6])->link = b;
	flush_all();
}

static void flush_foreign(void *arg)
{
	static struct hk_block mine = { HK_END, HK_TAG };
	void *p[8];

	(void)arg;
	fill_bin(p);
	mine.link = ((struct hk_block *)p[6])->link->link;
	((struct hk_block *)p[6])->link = &mine;
	flush_all();
}

static void damage_dies(void)
{
	t_check(u_dies(pop_after_write, NULL,
		       " (48 bytes) was freed twice or written after free\n"));
	for (uintptr_t i = 0; i < 8; i++)
		t_check_at(u_dies(flush_after_write, (void *)i, "free(): block 0x"), i);
	for (uintptr_t i = 0; i < 8; i++)
		t_check_at(u_dies(flush_ring, (void *)i, "corrupted free list in slab 0x"), i);
	for (uintptr_t i = 1; i < 8; i++) {
		t_check_at(u_dies(flush_short, (void *)i, "corrupted free list of 48-byte blocks"),
			   i);
		t_check_at(u_dies(refill_short, (void *)i, "corrupted free list of 48-byte blocks"),
			   i);
	}
	t_check(u_dies(flush_interior, (void *)16, " is 16 bytes into a block of 48 bytes\n"));
	t_check(u_dies(flush_foreign, NULL, "free(): invalid pointer 0x"));
}

static void *many[640];

/* What a bin holds goes to its slabs. */
static void empty_bins(void)
{
	struct hk_heap *h = hk_heap_here();

	hk_lock_take(&h->lock);
	hk_heap_empty(h);
	hk_lock_drop(&h->lock);
}

static void free_all_but_some(void)
{
	for (unsigned i = 0; i < T_COUNT(many); i++) {
		many[i] = h_malloc(1000);
		memset(many[i], 1, 1000);
	}
	for (unsigned i = 0; i < T_COUNT(many); i++)
		if (i % 20 != 0)
			h_free(many[i]);
	empty_bins();
}

static void free_again(void *which)
{
	h_free(which);
	empty_bins();
}

static void write_behind(void *which)
{
	memset(which, 1, 1000);
	for (unsigned i = 0; i < T_COUNT(many); i++)
		h_malloc(1000);
}

/* HO1: pages that nothing but free blocks lie in go, come back, and keep no mistake a secret. */
static void trim_of_part_used_slabs(void)
{
	unsigned holes = 0, last = 0;

	free_all_but_some();
	h_check();
	t_check(hk_heap_trim_slabs() > 300 * T_KiB);
	t_equal(hk_heap_trim_slabs(), 0);
	h_check();
	for (unsigned i = 0; i < T_COUNT(many); i++)
		if (i % 20 != 0 && hk_holes_have(h_slab(many[i]), many[i])) {
			holes++;
			last = i;
		}
	t_check_at(holes > 300, holes);
	t_check(u_dies(free_again, many[last], " (1008 bytes) is already free\n"));
	t_check(u_dies(write_behind, many[last], "was freed twice or written after free"));
	for (unsigned i = 0; i < T_COUNT(many); i++)
		if (i % 20 != 0) {
			many[i] = h_malloc(1000);
			memset(many[i], 2, 1000);
		}
	h_check();
	for (unsigned i = 0; i < T_COUNT(many); i++) {
		t_equal(((char *)many[i])[999], (i % 20 != 0) + 1);
		h_free(many[i]);
	}
	empty_bins();
	h_check();
}

U_MAIN(T_CASE(h2_h4_h5_random), T_CASE(h5_limits_double_within_the_budget),
       T_CASE(h5_overflows_in_a_row), T_CASE(h5_idle_bins_give_up), T_CASE(fixed_limit),
       T_CASE(flush_gives_the_colder_half), T_CASE(zero_blocks), T_CASE(empty_slabs_go_back),
       T_CASE(damage_dies), T_CASE(trim_of_part_used_slabs))
