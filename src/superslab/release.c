/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/release.h"

#include "base/options.h"
#include "base/tele.h"
#include "os/os.h"
#include "superslab/pool.h"

#define MIN_INSTALMENT (256 * HK_KiB)
#define MAX_INSTALMENT (2 * HK_MiB)
/* A unit that is wanted again this soon should not have been purged. */
#define REFAULT_NS 1000000000ull
/* Twice in a row, before it counts. */
#define REFAULT_STREAK 2u
/* Of in_vain: the last payment was not. */
#define NOT_IN_VAIN INT64_MIN
/* earned falls by half in this time. */
#define EARNED_HALF_LIFE_NS 10000000000ull

struct hk_release_hooks hk_release_hooks HK_NEAR;
/* Written by all threads: what is looked at together is on one cache line (release_test). */
alignas(64) _Atomic int64_t hk_dirty HK_NEAR_IN_ORDER;
_Atomic int64_t hk_granted HK_NEAR_IN_ORDER;
alignas(64) _Atomic int64_t hk_out HK_NEAR_IN_ORDER;
_Atomic int64_t hk_flying HK_NEAR_IN_ORDER;

static alignas(64) struct {
	_Atomic size_t earned;      /* bytes */
	_Atomic uint64_t earned_at; /* coarse ns of the last change */
	_Atomic size_t peak_live;   /* recent */
	_Atomic uint64_t purged;
	_Atomic int64_t in_vain; /* D, when nothing could be given back; lowered as D falls */
} release HK_NEAR_IN_ORDER = { .in_vain = NOT_IN_VAIN };

/* Sums of deltas may dip below zero for a moment. */
static size_t positive(int64_t n) { return n > 0 ? (size_t)n : 0; }

static int64_t load(_Atomic int64_t *account)
{
	return atomic_load_explicit(account, memory_order_relaxed);
}

size_t hk_release_live(void) { return positive(load(&hk_out) - load(&hk_flying)); }

/* Half of what was live of late; or more, while live and held together stay below that. */
static size_t earned_cap(size_t live)
{
	size_t peak = atomic_load_explicit(&release.peak_live, memory_order_relaxed);
	size_t valley = peak - hk_min(peak, live);

	return hk_min(hk_max(peak / 2, valley), (size_t)hk_option(HK_OPT_EARNED));
}

size_t hk_release_bound(void)
{
	size_t target = (size_t)hk_option(HK_OPT_SS_MEM_LEAN_TARGET_MB) * HK_MiB;
	size_t live = hk_release_live();
	size_t earned = atomic_load_explicit(&release.earned, memory_order_relaxed);
	size_t bound = hk_option(HK_OPT_BOUND) + live / 100 * hk_option(HK_OPT_BOUND_SHARE) +
		       hk_min(earned, earned_cap(live));

	if (target != 0 && live + bound > target)
		return target > live ? target - live : 0;
	return bound;
}

/* Halves `earned` for each half-life that has passed. */
static void decay_earned(uint64_t now)
{
	uint64_t since = now - atomic_load_explicit(&release.earned_at, memory_order_relaxed);
	size_t earned = atomic_load_explicit(&release.earned, memory_order_relaxed);

	if (earned == 0 || since < EARNED_HALF_LIFE_NS)
		return;
	earned >>= hk_min(since / EARNED_HALF_LIFE_NS, 63);
	atomic_store_explicit(&release.earned, earned, memory_order_relaxed);
	atomic_store_explicit(&release.earned_at, now, memory_order_relaxed);
	atomic_store_explicit(&release.peak_live, hk_release_live(), memory_order_relaxed);
}

void hk_release_note_refault(uint32_t again, uint32_t taken, uint64_t when, uint32_t *streak)
{
	uint64_t now = hk_os_now_ns();
	size_t live = hk_release_live() + ((size_t)taken << HK_UNIT_SHIFT);
	size_t peak = atomic_load_explicit(&release.peak_live, memory_order_relaxed);
	size_t cap, earned;

	if (now - when > REFAULT_NS) {
		*streak = 0;
		return;
	}
	if (++*streak < REFAULT_STREAK)
		return;
	if (live > peak)
		atomic_store_explicit(&release.peak_live, live, memory_order_relaxed);
	cap = hk_min(hk_max(peak, live), (size_t)hk_option(HK_OPT_EARNED));
	earned = atomic_load_explicit(&release.earned, memory_order_relaxed);
	if (earned < cap) {
		earned = hk_min(cap, earned + ((size_t)again << HK_UNIT_SHIFT));
		atomic_store_explicit(&release.earned, earned, memory_order_relaxed);
		atomic_store_explicit(&release.earned_at, now, memory_order_relaxed);
	}
}

enum hk_purged hk_release_purge(void *p, size_t bytes)
{
	bool lean = hk_option(HK_OPT_SS_MEM_LEAN) != 0;
	enum hk_decommit how = HK_DECOMMIT_DONTNEED;

	if (lean)
		how = (enum hk_decommit)hk_option(HK_OPT_SS_MEM_LEAN_DECOMMIT);
	if (how == HK_DECOMMIT_OFF)
		return HK_PURGED_NOT;
	if (how == HK_DECOMMIT_FREE)
		return hk_os_purge_lazily(p, bytes) ? HK_PURGED_LAZILY : HK_PURGED_NOT;
	if (!hk_os_purge(p, bytes))
		return HK_PURGED_NOT;
	atomic_fetch_add_explicit(&release.purged, bytes, memory_order_relaxed);
	HK_TELE(release, purge, 1);
	HK_TELE(release, purged, bytes);
	return HK_PURGED_ZERO;
}

/* Purges up to `units` in a row; 0 when nothing is dirty or the kernel refuses. */
static size_t purge_some(uint32_t units)
{
	struct hk_run run;
	enum hk_purged purged;

	if (!hk_pool_take_dirty(units, &run))
		return 0;
	purged = hk_release_purge(hk_arena_address(run.unit), (size_t)run.units << HK_UNIT_SHIFT);
	hk_pool_give_purged(&run, purged);
	return purged != HK_PURGED_NOT ? (size_t)run.units << HK_UNIT_SHIFT : 0;
}

/* R2; and R1, whatever that says: in one piece, since calls cost more than pages that are not there. */
static size_t instalment(size_t added, size_t bound)
{
	size_t held = hk_release_held();
	size_t over = held - hk_min(held, bound + MAX_INSTALMENT);

	return hk_max(hk_min(hk_max(2 * added, MIN_INSTALMENT), MAX_INSTALMENT), over);
}

/* The part of hk_release_check that is rare. */
static HK_NOINLINE void pay(size_t added, size_t bound)
{
	size_t quota = instalment(added, bound);
	size_t target = bound - bound / 4;

	while (quota != 0 && hk_release_held() > target) {
		size_t part = hk_max(quota, HK_UNIT_BYTES);
		size_t done = purge_some((uint32_t)(part >> HK_UNIT_SHIFT));

		if (done == 0 &&
		    (hk_release_hooks.gather == NULL || hk_release_hooks.gather(part) == 0)) {
			atomic_store_explicit(&release.in_vain, load(&hk_dirty),
					      memory_order_relaxed);
			return;
		}
		quota -= hk_min(quota, hk_max(done, HK_UNIT_BYTES));
	}
}

void hk_release_check_bound(size_t added)
{
	size_t bound = hk_release_bound();
	int64_t dirty, in_vain;

	if (atomic_load_explicit(&release.earned, memory_order_relaxed) != 0)
		decay_earned(hk_os_now_ns());
	if (hk_release_held() <= bound)
		return;
	/* Limits of bins and locked pages can't be given back: not asked again before D has grown. */
	dirty = load(&hk_dirty);
	in_vain = load(&release.in_vain);
	if (dirty < in_vain)
		atomic_store_explicit(&release.in_vain, dirty, memory_order_relaxed);
	else if (in_vain != NOT_IN_VAIN && dirty < in_vain + (int64_t)MIN_INSTALMENT)
		return;
	pay(added, bound);
}

void hk_release_tick(void)
{
	size_t quota = positive(load(&hk_dirty)) / 4 + MIN_INSTALMENT, done;

	if (hk_release_hooks.gather != NULL)
		hk_release_hooks.gather(quota);
	do {
		done = purge_some((uint32_t)(hk_min(quota, MAX_INSTALMENT) >> HK_UNIT_SHIFT));
		quota -= hk_min(quota, done);
	} while (done != 0 && quota >= HK_UNIT_BYTES);
}

size_t hk_release_all(void)
{
	size_t sum = 0, done;

	if (hk_release_hooks.gather != NULL)
		hk_release_hooks.gather(SIZE_MAX);
	while ((done = purge_some(HK_SPAN_MAX_UNITS)) != 0)
		sum += done;
	return sum;
}

uint64_t hk_release_purged(void)
{
	return atomic_load_explicit(&release.purged, memory_order_relaxed);
}
