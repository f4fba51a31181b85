/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* huge: blocks mapped one by one, what is kept of them, and refusals at each step. */
#include "slab/huge.h"
#include "slab/kept.h"

#include <string.h>

#include "base/options.h"
#include "fake_os.h"
#include "slab/harden.h"
#include "superslab/pool.h"
#include "superslab/registry.h"
#include "superslab/release.h"
#include "unit.h"

static const struct hk_offence where = { "free", NULL };

static void set(const char *name, const char *value) { t_equal(hk_option_set(name, value), 0); }

static char *alloc(size_t bytes)
{
	char *p = hk_huge_alloc(bytes, 16, false, 0);

	t_need(p != NULL);
	return p;
}

static size_t usable(const void *p)
{
	uint32_t owner = 0;

	return hk_huge_usable(p, &owner);
}

static void hu1_alloc_and_free(void)
{
	uint32_t owner = 0;
	char *p = hk_huge_alloc(40 * T_MiB + 1, 16, true, 77);

	t_need(p != NULL);
	t_equal(hk_huge_usable(p, &owner), 40 * T_MiB + 4096);
	t_equal(owner, 77);
	t_equal(usable(p + 4096), 0);
	t_equal(atomic_load(&hk_out), 40 * T_MiB + 4096);
	t_equal(hk_huge_count().live_blocks, 1);
	p[40 * T_MiB] = 1;
	hk_huge_free(p, where);
	t_equal(usable(p), 0);
	t_equal(atomic_load(&hk_out), 0);
	t_equal(hk_huge_count().live_bytes, 0);
	t_equal(hk_huge_count().cached_bytes, 40 * T_MiB + 4096);
	t_equal(hk_huge_trim(), 0); /* purged already: over the bound */
	t_equal(hk_fake_mapped(), 0);
}

static void overflow(void)
{
	t_check(hk_huge_alloc(SIZE_MAX, 16, false, 0) == NULL);
	t_check(hk_huge_alloc(SIZE_MAX - 4096, 1 << 20, false, 0) == NULL);
	t_equal(hk_fake_mapped(), 0);
}

static void aligned(void)
{
	for (size_t align = 16; align <= 64 * T_MiB; align *= 4) {
		char *p = hk_huge_alloc(T_MiB, align, false, 0);

		t_need(p != NULL);
		t_check_at(t_aligned(p, align), align);
		t_equal(usable(p), T_MiB);
	}
	t_equal(hk_fake_mapped(), 12 * T_MiB); /* what was cut off is unmapped */
}

/* A cached range serves what is not much smaller, the best fit first. */
static void cache_fits(void)
{
	char *a = alloc(100 * T_MiB), *b = alloc(90 * T_MiB), *p;

	hk_huge_free(a, where);
	hk_huge_free(b, where);
	t_equal(hk_huge_count().cached_bytes, 190 * T_MiB);
	p = alloc(85 * T_MiB);
	t_check(p == b);
	t_equal(usable(p), 90 * T_MiB);
	t_equal(atomic_load(&hk_out), 90 * T_MiB);
	t_check(alloc(80 * T_MiB - 4096) != a); /* less than four fifths of it */
	p = alloc(80 * T_MiB);
	t_check(p == a);
	t_equal(hk_huge_count().cached_bytes, 0);
	hk_huge_free(p, where);
	t_check(hk_huge_alloc(90 * T_MiB, 512 * T_MiB, false, 0) != a || t_aligned(a, 512 * T_MiB));
}

/* HU3: dirty ranges are kept within the bound, and counted; a zero block is zero nevertheless. */
static void hu3_dirty(void)
{
	char *p;

	set("BOUND", "100M");
	p = alloc(64 * T_MiB);
	memset(p, 7, 5 * T_MiB);
	hk_huge_free(p, where);
	t_equal(hk_fake_counts().purge, 0);
	t_equal(hk_huge_count().dirty_bytes, 64 * T_MiB);
	t_equal(atomic_load(&hk_dirty), 64 * T_MiB);
	t_equal(hk_release_committed(), 64 * T_MiB);
	t_check(hk_huge_alloc(64 * T_MiB, 16, true, 0) == p && t_is_zero(p, 6 * T_MiB));
	t_equal(atomic_load(&hk_dirty), 0);
	memset(p, 7, 5 * T_MiB);
	hk_huge_free(p, where);
	hk_fake_refuse_purge(true);
	t_check(hk_huge_alloc(64 * T_MiB, 16, true, 0) == p && t_is_zero(p, 6 * T_MiB));
	memset(p, 7, 5 * T_MiB);
	hk_huge_free(p, where);
	t_equal(hk_huge_purge(UINT64_MAX), 0); /* refused: dirty still */
	t_equal(atomic_load(&hk_dirty), 64 * T_MiB);
	hk_fake_refuse_purge(false);
	t_equal(hk_huge_purge(hk_os_now_ns() - 1), 0); /* it is not that old */
	t_equal(hk_huge_purge(hk_os_now_ns()), 64 * T_MiB);
	t_equal(hk_huge_purge(UINT64_MAX), 0);
	t_equal(atomic_load(&hk_dirty), 0);
	t_equal(hk_release_committed(), 0);
	t_equal(hk_huge_count().dirty_bytes, 0);
	t_check(alloc(64 * T_MiB) == p && t_is_zero(p, 6 * T_MiB));
}

static void purge_refused_at_free(void)
{
	char *p = alloc(64 * T_MiB);

	hk_fake_refuse_purge(true);
	p[1] = 1;
	hk_huge_free(p, where); /* too much to keep dirty, so it goes */
	t_equal(hk_fake_mapped(), 0);
	t_equal(hk_huge_count().cached_bytes, 0);
	t_equal(atomic_load(&hk_dirty), 0);
}

static void hu2_address_space(void)
{
	char *p[24];

	set("HUGE_KEEP", "200M");
	for (unsigned i = 0; i < 8; i++)
		p[i] = alloc(50 * T_MiB);
	for (unsigned i = 0; i < 8; i++) {
		hk_huge_free(p[i], where);
		t_check_at(hk_huge_count().cached_bytes <= 200 * T_MiB, i);
	}
	t_equal(hk_huge_count().cached_bytes, 200 * T_MiB);
	hk_huge_trim();
	t_equal(hk_fake_mapped(), 0);
	for (unsigned i = 0; i < 24; i++)
		p[i] = alloc(T_MiB);
	for (unsigned i = 0; i < 24; i++)
		hk_huge_free(p[i], where);
	t_equal(hk_huge_count().cached_bytes, HK_HUGE_RANGES * T_MiB);
	hk_release_all();
	hk_huge_trim();
	t_equal(hk_fake_mapped(), 0);
	t_equal(atomic_load(&hk_dirty), 0);
}

/* Pages of an arena's range become a huge block; refused, at whatever step, nothing has changed. */
static void take_over(void)
{
	char *from = hk_os_map(2 * T_MiB), *p = NULL;

	t_fill(from, 2 * T_MiB, 9);
	t_check(hk_huge_take_over(from, 2 * T_MiB, SIZE_MAX, 0) == NULL);
	for (unsigned n = 1; n <= 2; n++) {
		hk_fake_fail_after(n);
		t_check(hk_huge_take_over(from, 2 * T_MiB, 40 * T_MiB, 0) == NULL);
		hk_fake_fail_after(0);
		t_check_at(t_holds(from, 2 * T_MiB, 2 * T_MiB, 9), n);
		t_equal(hk_fake_mapped(), 2 * T_MiB);
		t_equal(hk_huge_count().live_blocks, 0);
	}
	p = hk_huge_take_over(from, 2 * T_MiB, 40 * T_MiB - 5, 77);
	t_need(p != NULL);
	t_equal(usable(p), 40 * T_MiB);
	t_check(t_holds(p, 2 * T_MiB, 2 * T_MiB, 9) && t_is_zero(p + 2 * T_MiB, 38 * T_MiB));
	t_check(t_is_zero(from, 2 * T_MiB));
	t_equal(hk_fake_mapped(), 42 * T_MiB);
	t_equal(atomic_load(&hk_out), 40 * T_MiB);
	hk_huge_free_all(77);
	t_equal(hk_huge_count().live_blocks, 0);
}

/* A range that is wanted again as soon as it was purged is kept as it is. */
static void earns(void)
{
	unsigned calls;

	for (unsigned i = 0; i < 3; i++)
		hk_huge_free(alloc(40 * T_MiB), where);
	calls = hk_fake_counts().purge;
	for (unsigned i = 0; i < 10; i++)
		hk_huge_free(alloc(40 * T_MiB), where);
	t_equal(hk_fake_counts().purge, calls);
	t_equal(hk_release_held(), 40 * T_MiB);
}

static void resize(void)
{
	char *p = alloc(10 * T_MiB), *q;

	t_fill(p, 10 * T_MiB, 5);
	q = hk_huge_resize(p, 30 * T_MiB - 5, where);
	t_need(q != NULL);
	t_equal(usable(q), 30 * T_MiB);
	t_check(t_holds(q, 10 * T_MiB, 10 * T_MiB, 5) && t_is_zero(q + 10 * T_MiB, 20 * T_MiB));
	t_check(q == p || usable(p) == 0);
	t_equal(atomic_load(&hk_out), 30 * T_MiB);
	p = hk_huge_resize(q, 4 * T_MiB, where);
	t_check(p == q && t_holds(p, 4 * T_MiB, 10 * T_MiB, 5));
	t_equal(hk_fake_mapped(), 4 * T_MiB);
	t_equal(atomic_load(&hk_out), 4 * T_MiB);
	t_check(hk_huge_resize(p, 4 * T_MiB - 1, where) == p);
	t_check(hk_huge_resize(p, SIZE_MAX, where) == NULL);
	t_equal(usable(p), 4 * T_MiB);
}

static void refused_resize(void)
{
	char *p = alloc(10 * T_MiB);

	t_fill(p, 10 * T_MiB, 5);
	hk_fake_fail_after(1);
	t_check(hk_huge_resize(p, 30 * T_MiB, where) == NULL);
	t_equal(usable(p), 10 * T_MiB); /* HU1: as before */
	t_check(t_holds(p, 10 * T_MiB, 10 * T_MiB, 5));
	t_equal(atomic_load(&hk_out), 10 * T_MiB);
	t_equal(hk_huge_count().live_blocks, 1);
	t_check(hk_huge_resize(p, 5 * T_MiB, where) == p);
	hk_huge_free(p, where);
}

/* What is cached makes way before a refusal is passed on. */
static void refused_map(void)
{
	char *p = alloc(50 * T_MiB);

	hk_huge_free(p, where);
	hk_fake_limit(60 * T_MiB);
	p = alloc(58 * T_MiB);
	t_equal(hk_fake_mapped(), 58 * T_MiB);
	t_check(hk_huge_alloc(5 * T_MiB, 16, false, 0) == NULL);
	t_equal(hk_huge_count().live_blocks, 1);
	t_equal(atomic_load(&hk_out), 58 * T_MiB);
	hk_huge_free(p, where);
	t_check(hk_huge_alloc(60 * T_MiB, 16, false, 0) != NULL);
}

static void reclaim(void)
{
	struct hk_run run;
	char *p;

	set("BOUND", "100M");
	p = alloc(64 * T_MiB);
	hk_huge_free(p, where); /* cached, and counts as dirty */
	t_need(hk_pool_take(64, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 64, 64);
	hk_huge_reclaim();
	t_equal(hk_huge_count().cached_bytes, 0);
	t_equal(atomic_load(&hk_dirty), 0);
	t_equal(hk_arena_mapped(), 0);
}

/* A block that can't be remembered is no block. */
static void refused_registry(void)
{
	for (unsigned i = 0; i < 32; i++)
		alloc(T_MiB);
	for (unsigned i = 32; i < 56; i++) { /* a fuller table will do */
		hk_fake_fail_after(2);
		alloc(T_MiB);
		hk_fake_fail_after(0);
	}
	hk_fake_fail_after(2);
	t_check(hk_huge_alloc(T_MiB, 16, false, 0) == NULL);
	hk_fake_fail_after(0);
	t_equal(hk_fake_mapped(), 56 * T_MiB);
	t_equal(hk_huge_count().live_blocks, 56);
	t_equal(atomic_load(&hk_out), 56 * T_MiB);
	alloc(T_MiB);
}

static void free_twice(void *arg)
{
	char *p = alloc(40 * T_MiB);

	(void)arg;
	hk_huge_free(p, where);
	hk_huge_free(p, where);
}

static void free_trimmed(void *arg)
{
	char *p = alloc(40 * T_MiB);

	(void)arg;
	hk_huge_free(p, where);
	hk_huge_trim();
	hk_huge_explain(p, where);
}

static void free_inside(void *arg) { hk_huge_explain(alloc(40 * T_MiB) + (uintptr_t)arg, where); }

static void free_inside_freed(void *arg)
{
	char *p = alloc(40 * T_MiB);

	hk_huge_free(p, where);
	hk_huge_explain(p + (uintptr_t)arg, where);
}

static void explain_foreign(void *arg)
{
	alloc(40 * T_MiB);
	hk_huge_explain(arg, where);
}

static void messages(void)
{
	t_check(u_dies(free_twice, NULL, " (41943040 bytes) is already free\n"));
	t_check(u_dies(free_trimmed, NULL, " (41943040 bytes) is already free\n"));
	t_check(u_dies(free_inside, (void *)24, " is 24 bytes into a block of 41943040 bytes\n"));
	t_check(u_dies(free_inside_freed, (void *)24, "free(): invalid pointer 0x"));
	t_check(u_lives(explain_foreign, (void *)24));
}

static bool count_blocks(void *p, size_t bytes, uint32_t owner, void *arg)
{
	*(size_t *)arg += bytes;
	t_check(p != NULL && owner == 4);
	return *(size_t *)arg < 4 * T_MiB;
}

static void free_all_of_an_owner(void)
{
	size_t sum = 0;
	char *p[20];

	for (unsigned i = 0; i < 20; i++)
		p[i] = hk_huge_alloc(T_MiB, 16, false, 3 + i % 2);
	hk_huge_free_all(3);
	for (unsigned i = 0; i < 20; i++)
		t_check_at((usable(p[i]) == 0) == (i % 2 == 0), i);
	hk_registry_lock();
	t_check(!hk_huge_walk(count_blocks, &sum));
	hk_registry_unlock();
	t_equal(sum, 4 * T_MiB);
	t_equal(hk_huge_count().live_bytes, 10 * T_MiB);
}

static char *hardened(size_t bytes)
{
	char *p = hk_huge_alloc_hardened(bytes, 16, 0);

	t_need(p != NULL);
	t_check(usable(p) >= bytes && t_is_zero(p, usable(p)));
	memset(p + usable(p) - 1000, 1, 1000);
	return p;
}

static void damage_and_free(void *p)
{
	((char *)p)[usable(p)] ^= 1;
	hk_huge_free(p, where);
}

static void damage_and_resize(void *p)
{
	((char *)p)[usable(p)] ^= 1;
	hk_huge_resize(p, 30 * T_MiB, where);
}

static void touch(void *p) { *(volatile char *)p = 1; }

/* The tail goes with the end, wherever that goes; what is cut off or moved from is gone. */
static void hardened_tail(void)
{
	char *p, *q;
	struct u_end end;

	hk_harden_init();
	p = hardened(10 * T_MiB - hk_harden_tail());
	t_equal(usable(p), 10 * T_MiB - 4096 - 8);
	t_check(u_dies(damage_and_free, p, "overflow behind block"));
	t_check(u_dies(damage_and_resize, p, "overflow behind block"));
	u_child(touch, p + 10 * T_MiB - 1, &end);
	t_check(end.status != 0);
	q = hk_huge_resize(p, 30 * T_MiB, where);
	t_need(q != NULL);
	t_check(usable(q) >= 30 * T_MiB);
	t_equal(q[10 * T_MiB - 4096 - 9], 1);
	t_check(t_is_zero(q + 10 * T_MiB - 4096 - 8, 20 * T_MiB));
	t_check(u_dies(damage_and_free, q, "overflow behind block"));
	p = hk_huge_resize(q, 4 * T_MiB, where);
	t_need(p != NULL);
	t_check(u_dies(damage_and_free, p, "overflow behind block"));
	hk_fake_limit(hk_fake_mapped());
	t_check(hk_huge_resize(p, 50 * T_MiB, where) == NULL);
	t_check(u_dies(damage_and_free, p, "overflow behind block")); /* sealed again */
	hk_huge_free(p, where);
	hk_huge_trim();
	t_equal(hk_fake_mapped(), 0);
}

/* HU4: not used again, no pages, and no more than other ranges. */
static void hu4_quarantine(void)
{
	struct u_end end;
	char *p;

	hk_harden_init();
	for (unsigned i = 0; i < 3 * HK_HUGE_RANGES; i++) {
		p = hardened(T_MiB);
		hk_huge_free(p, where);
		t_check_at(hk_huge_count().cached_bytes <= HK_HUGE_RANGES * (T_MiB + 8192), i);
		t_check_at(hk_huge_count().cached_bytes >= hk_min(i + 1, HK_HUGE_RANGES) * T_MiB,
			   i);
	}
	t_equal(hk_huge_count().dirty_bytes, 0);
	p = hardened(T_MiB);
	hk_huge_free(p, where);
	u_child(touch, p, &end);
	t_check(end.status != 0);
	t_check(alloc(T_MiB) != p && hardened(T_MiB) != p);
	set("HUGE_KEEP", "0");
	hk_huge_free(hardened(T_MiB), where);
	t_equal(hk_huge_count().cached_bytes, 0);
	t_equal(atomic_load(&hk_dirty), 0);
}

/* Without guards a freed one is unmapped at once. */
static void hardened_without_guards(void)
{
	size_t mapped;
	char *p;

	hk_fake_no_guards(true);
	hk_harden_init();
	mapped = hk_fake_mapped();
	p = hardened(T_MiB - 8);
	t_equal(usable(p), T_MiB - 8);
	t_check(u_dies(damage_and_free, p, "overflow behind block"));
	hk_huge_free(p, where);
	t_equal(hk_fake_mapped(), mapped);
}

U_MAIN(T_CASE(hu1_alloc_and_free), T_CASE(overflow), T_CASE(aligned), T_CASE(cache_fits),
       T_CASE(hu3_dirty), T_CASE(purge_refused_at_free), T_CASE(hu2_address_space), T_CASE(resize),
       T_CASE(take_over), T_CASE(earns), T_CASE(refused_resize), T_CASE(refused_map),
       T_CASE(reclaim), T_CASE(refused_registry), T_CASE(messages), T_CASE(free_all_of_an_owner),
       T_CASE(hardened_tail), T_CASE(hu4_quarantine), T_CASE(hardened_without_guards))
