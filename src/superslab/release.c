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
/* What is faulted in again counts so many times: more than that was missing, since purges go below the
 * bound. */
#define EARN 2
/* It adds to the bound at most so many times what is live, or so many times BOUND. */
#define EARNED_LIVES  4
#define EARNED_BOUNDS 8
/* earned falls by half in this time. */
#define EARNED_HALF_LIFE_NS 10000000000ull

struct hk_release_hooks hk_release_hooks HK_NEAR;
_Atomic size_t hk_release_ceiling HK_NEAR;
_Atomic bool hk_release_was_within;
/* Written by all threads: what is looked at together is on one cache line (release_test). */
alignas(64) _Atomic int64_t hk_dirty HK_NEAR_IN_ORDER;
_Atomic int64_t hk_granted HK_NEAR_IN_ORDER;
alignas(64) _Atomic int64_t hk_out HK_NEAR_IN_ORDER;
_Atomic int64_t hk_flying HK_NEAR_IN_ORDER;
_Atomic int64_t hk_huge_committed HK_NEAR_IN_ORDER;
_Atomic int64_t hk_holes;

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

/* What was live of late; and beside little that is live now, for the program may have ended its work, not
 * much more than that (docs/experiments/0011, 0014). What lies in bins is not the program's. */
static size_t earned_cap(size_t live)
{
	size_t peak = atomic_load_explicit(&release.peak_live, memory_order_relaxed);
	size_t outside = live - hk_min(live, positive(load(&hk_granted)));
	size_t beside = hk_max(EARNED_LIVES * outside, EARNED_BOUNDS * hk_option(HK_OPT_BOUND));

	return hk_min(hk_min(peak, beside), hk_option(HK_OPT_EARNED));
}

size_t hk_release_committed(void)
{
	size_t units = atomic_load_explicit(&hk_pool_committed, memory_order_relaxed);

	return units - hk_min(units, positive(load(&hk_holes))) +
	       positive(load(&hk_huge_committed));
}

/* What a limit leaves for what is held. */
static size_t left_of(size_t limit, size_t live)
{
	size_t committed = hk_release_committed();
	size_t needed = hk_max(live, committed - hk_min(committed, hk_release_dirty()));

	return limit - hk_min(limit, needed);
}

size_t hk_release_bound(void)
{
	size_t limit = hk_release_limit();
	size_t ceiling = atomic_load_explicit(&hk_release_ceiling, memory_order_relaxed);
	size_t live = hk_release_live();
	size_t earned = atomic_load_explicit(&release.earned, memory_order_relaxed);
	size_t bound = hk_option(HK_OPT_BOUND) + live / 100 * hk_option(HK_OPT_BOUND_SHARE) +
		       hk_min(earned, earned_cap(live));

	if (limit != 0)
		bound = hk_min(bound, left_of(limit, live));
	if (ceiling != 0)
		bound = hk_min(bound, left_of(ceiling, live) / 2);
	return bound;
}

void hk_release_forget_earned(void)
{
	atomic_store_explicit(&release.earned, 0, memory_order_relaxed);
}

/* Halves `earned` for each half-life that has passed. */
void hk_release_age(uint64_t now)
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
		earned = hk_min(cap, earned + EARN * ((size_t)again << HK_UNIT_SHIFT));
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

size_t hk_release_some(size_t bytes)
{
	uint32_t units = (uint32_t)(hk_min(hk_max(bytes, HK_UNIT_BYTES), HK_GiB) >> HK_UNIT_SHIFT);
	struct hk_run run;
	enum hk_purged purged;

	if (!hk_pool_take_dirty(units, &run))
		return 0;
	purged = hk_release_purge(hk_arena_address(run.unit), (size_t)run.units << HK_UNIT_SHIFT);
	hk_pool_give_purged(&run, purged);
	return purged != HK_PURGED_NOT ? run.pages : 0;
}

/* R2: from the bound to three quarters of it in few calls; and R1, whatever R2 says: in one piece, since calls cost more than pages that are not there. */
static size_t instalment(size_t added, size_t bound)
{
	size_t held = hk_release_held();
	size_t over = held - hk_min(held, bound + MAX_INSTALMENT);
	size_t least = hk_max(bound / 4, MIN_INSTALMENT);

	return hk_max(hk_min(hk_max(2 * added, least), MAX_INSTALMENT), over);
}

/* The part of hk_release_check that is rare. */
static HK_NOINLINE void pay(size_t added, size_t bound)
{
	size_t quota = instalment(added, bound);
	size_t target = bound - bound / 4;

	while (quota != 0 && hk_release_held() > target) {
		size_t part = hk_max(quota, HK_UNIT_BYTES);
		size_t done = hk_release_some(part);

		if (done == 0 &&
		    (hk_release_hooks.gather == NULL || hk_release_hooks.gather(part) == 0)) {
			atomic_store_explicit(&release.in_vain, load(&hk_dirty),
					      memory_order_relaxed);
			return;
		}
		quota -= hk_min(quota, hk_max(done, HK_UNIT_BYTES));
	}
}

static void note_within(void)
{
	if (hk_release_limit() != 0 && hk_release_committed() <= hk_release_limit())
		atomic_store_explicit(&hk_release_was_within, true, memory_order_relaxed);
}

void hk_release_check_bound(size_t added)
{
	size_t bound = hk_release_bound();
	int64_t dirty, in_vain;

	note_within();
	if (atomic_load_explicit(&release.earned, memory_order_relaxed) != 0)
		hk_release_age(hk_os_now_ns());
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

size_t hk_release_all(void)
{
	size_t sum = 0, done;

	if (hk_release_hooks.gather != NULL)
		hk_release_hooks.gather(SIZE_MAX);
	while ((done = hk_release_some(HK_SPAN_MAX)) != 0)
		sum += done;
	return sum;
}

uint64_t hk_release_purged(void)
{
	return atomic_load_explicit(&release.purged, memory_order_relaxed);
}
