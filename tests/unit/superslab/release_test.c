/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* release: the bound of each profile, instalments, refusals, and what a swinging program earns. */
#include "superslab/release.h"

#include <errno.h>

#include "base/options.h"
#include "fake_os.h"
#include "superslab/pool.h"
#include "unit.h"

/* `units` in a row become dirty, and are in the pool. */
static void make_dirty(uint32_t units)
{
	struct hk_run run;

	t_need(hk_pool_take(units, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, units, units);
}

static void set(const char *name, const char *value) { t_equal(hk_option_set(name, value), 0); }

static void r1_bound_of_each_profile(void)
{
	static const struct {
		const char *name;
		size_t bound, share;
	} profiles[] = { { "speed", 64 * T_MiB, 100 },
			 { "balanced", 6 * T_MiB, 25 },
			 { "lean", 2 * T_MiB, 5 },
			 { "hardened", 6 * T_MiB, 25 } };

	for (unsigned i = 0; i < T_COUNT(profiles); i++) {
		size_t bound = profiles[i].bound;

		set("PROFILE", profiles[i].name);
		atomic_store(&hk_out, 0);
		atomic_store(&hk_flying, 0);
		t_equal(hk_release_bound(), bound);
		atomic_store(&hk_out, 1000 * (int64_t)T_MiB);
		t_equal(hk_release_bound(), bound + 10 * T_MiB * profiles[i].share);
		atomic_store(&hk_flying, 900 * (int64_t)T_MiB);
		t_equal(hk_release_bound(), bound + T_MiB * profiles[i].share);
	}
}

static void accounts(void)
{
	hk_dirty_add(3000);
	atomic_store(&hk_granted, 500);
	t_equal(hk_release_held(), 3500);
	hk_dirty_add(-4000); /* sums of deltas may dip below zero */
	t_equal(hk_release_held(), 0);
	atomic_store(&hk_out, 100);
	atomic_store(&hk_flying, 130);
	t_equal(hk_release_live(), 0);
	atomic_store(&hk_flying, 30);
	t_equal(hk_release_live(), 70);
}

static uintptr_t line_of(const void *p) { return (uintptr_t)p / 64; }

/* Two cache lines, whatever order the compiler likes. */
static void accounts_share_lines(void)
{
	t_equal(line_of(&hk_dirty), line_of(&hk_granted));
	t_equal(line_of(&hk_out), line_of(&hk_flying));
	t_check(line_of(&hk_dirty) != line_of(&hk_out));
}

static void target_of_lean(void)
{
	set("SS_MEM_LEAN", "1");
	set("SS_MEM_LEAN_TARGET_MB", "10");
	t_equal(hk_release_bound(), 2 * T_MiB);
	atomic_store(&hk_out, 8 * (int64_t)T_MiB);
	t_equal(hk_release_bound(), 2 * T_MiB);
	atomic_store(&hk_out, 8 * (int64_t)T_MiB + 300);
	t_equal(hk_release_bound(), 2 * T_MiB - 300);
	atomic_store(&hk_out, 11 * (int64_t)T_MiB);
	t_equal(hk_release_bound(), 0);
}

/* What a check gives back, with `held` units dirty of a bound of 96. */
static size_t units_purged_by(uint32_t held, size_t added)
{
	size_t before;

	hk_release_all();
	hk_fake_advance_ms(2000); /* or it would earn */
	make_dirty(held);
	t_equal(hk_release_held(), held * HK_UNIT_BYTES);
	before = hk_fake_purged();
	hk_release_check(added);
	t_equal(hk_release_held(), held * HK_UNIT_BYTES - (hk_fake_purged() - before));
	return (hk_fake_purged() - before) / HK_UNIT_BYTES;
}

static void r2_instalments(void)
{
	static const struct {
		uint32_t held;
		size_t added, purged;
	} trials[] = {
		{ 96, 64 * T_MiB, 0 }, /* within the bound, whatever was added */
		{ 98, 0, 24 },         /* at least a quarter of the bound */
		{ 98, 100 * T_KiB, 24 },
		{ 110, 832 * T_KiB, 26 }, /* twice what was added */
		{ 110, 900 * T_KiB, 28 },
		{ 100, 8 * T_MiB, 32 }, /* at most 2 MiB, and down to three quarters */
		{ 128, 8 * T_MiB, 32 },
	};

	for (unsigned i = 0; i < T_COUNT(trials); i++) {
		size_t got = units_purged_by(trials[i].held, trials[i].added);
		size_t least = trials[i].purged;

		if (i == 5)
			t_check_at(got >= 28 && got <= 32, got);
		else
			t_check_at(got >= least && got <= least + 1, got);
	}
	t_equal(hk_release_purged(), hk_fake_purged());
}

/* Where runs are short, it ends at three quarters of the bound. */
static void down_to_three_quarters(void)
{
	struct hk_run run;

	t_need(hk_pool_take(200, 1, HK_WISH_ANY, &run));
	for (uint32_t i = 0; i < 200; i++)
		hk_page_set(run.unit + i, hk_word_kind(HK_KIND_FREE, 0));
	for (uint32_t i = 0; i < 200; i += 8)
		hk_pool_give(run.unit + i, 4, 4);
	t_equal(hk_release_held(), 100 * HK_UNIT_BYTES);
	hk_release_check(8 * T_MiB);
	t_equal(hk_release_held(), 72 * HK_UNIT_BYTES);
}

/* R1: after a check, held is at most 2 MiB over the bound, whatever the quota was. */
static void r1_holds_after_a_check(void)
{
	for (unsigned i = 1; i <= 4; i++) {
		unsigned calls = hk_fake_counts().purge;

		make_dirty(200 * i);
		errno = 77;
		hk_release_check(HK_UNIT_BYTES);
		t_check_at(hk_fake_counts().purge == calls + 1, i); /* in one piece */
		t_equal(errno, 77);
		t_check_at(hk_release_held() <= hk_release_bound() + 2 * T_MiB, i);
		t_check_at(hk_release_held() > 4 * T_MiB, i);
	}
}

static unsigned gathered;

static size_t gather_thrice(size_t bytes)
{
	t_check(bytes >= HK_UNIT_BYTES && bytes <= 12 * T_MiB);
	if (++gathered > 3)
		return 0;
	hk_dirty_add(-(int64_t)(16 * HK_UNIT_BYTES)); /* it was held outside the pool … */
	make_dirty(16);                               /* … and now is in it */
	return 16 * HK_UNIT_BYTES;
}

/* The pool has nothing: what the floors above hold is asked for, until they have no more. */
static void gathers(void)
{
	hk_release_hooks.gather = gather_thrice;
	hk_dirty_add(20 * (int64_t)T_MiB);
	hk_release_check(HK_UNIT_BYTES);
	t_equal(gathered, 4);
	t_equal(hk_fake_purged(), 48 * HK_UNIT_BYTES);
	t_equal(hk_release_held(), 20 * T_MiB - 48 * HK_UNIT_BYTES);
}

/* The kernel takes nothing: it ends, and everything stays as it was. */
static void refused_purge(void)
{
	size_t held;

	make_dirty(400);
	held = hk_release_held();
	hk_fake_refuse_purge(true);
	hk_release_check(T_MiB);
	t_equal(hk_release_held(), held);
	t_equal(hk_release_all(), 0);
	t_equal(hk_release_held(), held);
	t_equal(hk_release_purged(), 0);
	t_check(hk_fake_counts().purge <= 4);
	hk_pool_lock();
	hk_pool_check();
	hk_pool_unlock();
	hk_fake_refuse_purge(false);
	t_equal(hk_release_all(), held);
	t_equal(hk_release_held(), 0);
}

/* Memory that can't be given back is not asked for again and again. */
static void stuck(void)
{
	unsigned calls;

	make_dirty(400);
	hk_fake_refuse_purge(true);
	hk_release_check(T_MiB);
	calls = hk_fake_counts().purge;
	for (unsigned i = 0; i < 100; i++)
		hk_release_check(HK_UNIT_BYTES);
	t_equal(hk_fake_counts().purge, calls);
	make_dirty(400 + 64); /* there is more: another try */
	hk_release_check(T_MiB);
	t_check(hk_fake_counts().purge > calls);
	hk_fake_refuse_purge(false);
	make_dirty(400 + 128);
	hk_release_check(T_MiB);
	t_check(hk_release_held() <= hk_release_bound() + 2 * T_MiB);
}

/* Committed is what is in a hand, or dirty. */
static void committed(void)
{
	struct hk_run run;

	t_equal(hk_release_committed(), 0);
	t_need(hk_pool_take(20, 1, HK_WISH_ANY, &run));
	t_equal(hk_release_committed(), 20 * HK_UNIT_BYTES);
	hk_pool_give(run.unit, 20, 15);
	t_equal(hk_release_committed(), 15 * HK_UNIT_BYTES);
	t_equal(hk_release_all(), 15 * HK_UNIT_BYTES);
	t_equal(hk_release_committed(), 0);
}

/* A limit leaves what is not committed for other things; a container's, half of that. */
static void limits(void)
{
	struct hk_run run;

	t_need(hk_pool_take(160, 1, HK_WISH_ANY, &run)); /* 10 MiB that no block is in yet */
	t_equal(hk_release_bound(), 6 * T_MiB);
	set("LIMIT", "17M");
	t_equal(hk_release_bound(), 6 * T_MiB);
	set("LIMIT", "14M");
	t_equal(hk_release_bound(), 4 * T_MiB);
	set("SS_MEM_LEAN_TARGET_MB", "12");
	t_equal(hk_release_bound(), 2 * T_MiB);
	set("SS_MEM_LEAN_TARGET_MB", "13");
	set("LIMIT", "9M");
	t_equal(hk_release_bound(), 0);
	make_dirty(32); /* is held, and does not count against itself */
	set("LIMIT", "11M");
	t_equal(hk_release_bound(), T_MiB);
	for (unsigned i = 0; i < 4; i++)
		hk_release_check(0);
	t_check(hk_release_committed() <= 11 * T_MiB);
	set("LIMIT", "0");
	set("SS_MEM_LEAN_TARGET_MB", "0");
	t_equal(hk_release_bound(), 6 * T_MiB);
	atomic_store(&hk_release_ceiling, 14 * T_MiB);
	t_equal(hk_release_bound(), 2 * T_MiB);
	make_dirty(80);
	for (unsigned i = 0; i < 20; i++)
		hk_release_check(T_MiB);
	t_check(hk_release_held() <= 2 * T_MiB);
}

static void release_all(void)
{
	struct hk_run run;

	t_need(hk_pool_take(10, 1, HK_WISH_ANY, &run));
	make_dirty(700);
	hk_pool_give(run.unit, 10, 3);
	t_equal(hk_release_all(), 703 * HK_UNIT_BYTES);
	t_equal(hk_release_held(), 0);
	t_equal(hk_release_all(), 0);
}

static void purge_by_the_policy(void)
{
	char *p = hk_os_map(4 * T_KiB);

	p[5] = 1;
	t_check(hk_release_purge(p, 4 * T_KiB) == HK_PURGED_ZERO && p[5] == 0);
	set("SS_MEM_LEAN", "1");
	set("SS_MEM_LEAN_DECOMMIT", "OFF");
	p[5] = 1;
	t_check(hk_release_purge(p, 4 * T_KiB) == HK_PURGED_NOT && p[5] == 1);
	t_equal(hk_fake_counts().purge, 1);
	set("SS_MEM_LEAN_DECOMMIT", "FREE");
	t_equal(hk_release_purge(p, 4 * T_KiB), HK_PURGED_LAZILY);
	t_equal(hk_fake_counts().purge_lazily, 1);
	hk_fake_refuse_purge(true); /* a kernel without MADV_FREE */
	t_equal(hk_release_purge(p, 4 * T_KiB), HK_PURGED_NOT);
	hk_fake_refuse_purge(false);
	set("SS_MEM_LEAN_DECOMMIT", "DONTNEED");
	t_check(hk_release_purge(p, 4 * T_KiB) == HK_PURGED_ZERO && p[5] == 0);
	t_equal(hk_release_purged(), 8 * T_KiB);
}

/* 32 units go to the system, and come back `ms` later. */
static void swing(uint64_t ms)
{
	struct hk_run run;

	t_need(hk_pool_take(32, 32, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 32, 32);
	t_equal(hk_release_all(), 32 * HK_UNIT_BYTES);
	hk_fake_advance_ms(ms);
	t_need(hk_pool_take(32, 32, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 32, 0);
}

static void earned(void)
{
	size_t bound;

	atomic_store(&hk_out, 200 * (int64_t)T_MiB);
	bound = hk_release_bound();
	for (unsigned i = 0; i < 5; i++)
		swing(1500); /* too late to count */
	t_equal(hk_release_bound(), bound);
	swing(500);
	t_equal(hk_release_bound(), bound); /* the first in a row */
	swing(500);
	t_equal(hk_release_bound(), bound + 4 * T_MiB); /* what came back counts twice */
	swing(1001);
	t_equal(hk_release_bound(), bound + 4 * T_MiB);
	swing(999); /* the row is broken */
	t_equal(hk_release_bound(), bound + 4 * T_MiB);
	for (unsigned i = 0; i < 100; i++)
		swing(100);
	t_equal(hk_release_bound(), bound + 128 * T_MiB); /* balanced: no more */
	hk_release_forget_earned();
	t_equal(hk_release_bound(), bound);
}

static void earned_at_most_what_was_live(void)
{
	size_t live = 6 * T_MiB;

	atomic_store(&hk_out, (int64_t)live);
	for (unsigned i = 0; i < 20; i++)
		swing(100);
	t_equal(hk_release_bound(), 6 * T_MiB + live / 100 * 25 + 8 * T_MiB);
	atomic_store(&hk_out, 2 * T_MiB);
	t_equal(hk_release_bound(), 6 * T_MiB + 2 * T_MiB / 100 * 25 + 8 * T_MiB);
}

/* Four times what the program has, or eight times BOUND. */
static void earned_beside_little(void)
{
	set("BOUND", "1M");
	atomic_store(&hk_out, 200 * (int64_t)T_MiB);
	for (unsigned i = 0; i < 40; i++)
		swing(100);
	t_equal(hk_release_bound(), 51 * T_MiB + 128 * T_MiB);
	atomic_store(&hk_out, 10 * (int64_t)T_MiB);
	t_equal(hk_release_bound(), T_MiB + 10 * T_MiB / 100 * 25 + 40 * T_MiB);
	atomic_store(&hk_granted, 4 * (int64_t)T_MiB);
	t_equal(hk_release_bound(), T_MiB + 10 * T_MiB / 100 * 25 + 24 * T_MiB);
	atomic_store(&hk_out, 0);
	t_equal(hk_release_bound(), T_MiB + 8 * T_MiB);
}

static void lean_earns_less(void)
{
	set("PROFILE", "lean");
	atomic_store(&hk_out, 100 * (int64_t)T_MiB);
	for (unsigned i = 0; i < 40; i++)
		swing(100);
	t_equal(hk_release_bound(), 2 * T_MiB + 5 * T_MiB + 64 * T_MiB);
}

static void earned_decays(void)
{
	atomic_store(&hk_out, 100 * (int64_t)T_MiB);
	for (unsigned i = 0; i < 5; i++)
		swing(100);
	t_equal(hk_release_bound(), 31 * T_MiB + 16 * T_MiB);
	for (size_t left = 16; left > 1; left /= 2) {
		hk_fake_advance_ms(9000);
		make_dirty(1200); /* over the bound: a slow tick */
		hk_release_check(0);
		t_equal(hk_release_bound(), (31 + left) * T_MiB);
		hk_fake_advance_ms(1100);
		make_dirty(1200);
		hk_release_check(0);
		t_equal(hk_release_bound(), (31 + left / 2) * T_MiB);
	}
	hk_fake_advance_ms(1000000);
	make_dirty(1200);
	hk_release_check(0);
	t_equal(hk_release_bound(), 31 * T_MiB);
}

U_MAIN(T_CASE(r1_bound_of_each_profile), T_CASE(accounts), T_CASE(accounts_share_lines),
       T_CASE(target_of_lean), T_CASE(r2_instalments), T_CASE(down_to_three_quarters),
       T_CASE(r1_holds_after_a_check), T_CASE(gathers), T_CASE(refused_purge), T_CASE(stuck),
       T_CASE(committed), T_CASE(limits), T_CASE(release_all), T_CASE(purge_by_the_policy),
       T_CASE(earned), T_CASE(earned_at_most_what_was_live), T_CASE(earned_beside_little),
       T_CASE(lean_earns_less), T_CASE(earned_decays))
