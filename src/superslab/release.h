/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_RELEASE_H
#define HK_SUPERSLAB_RELEASE_H
/* BOX release - the one place that decides what goes back to the system, and when.
 * Owns:       the accounts O, F, D and the grants; the bound; `earned`; the limit. Not: what is done by
 *             time (tick), what the container says (squeeze).
 * Invariants: R1 held = D + grants <= bound() + 2 MiB a thread that is paying, and a
 *             quarter MiB a heap, for its ways and the least that its bins may hold, and a 64th of
 *             BOUND, for grants that it has not told yet
 *             R2 at most 2 MiB are purged in one event, unless R1 asks for more
 * Threads:    any; the accounts are relaxed atomics, exact to 256 KiB a heap, grants to a
 *             64th of BOUND.
 * Locks:      none held by callers of hk_release_check; takes POOL, and what gather takes, inside.
 * Fails:      never; pages that the kernel does not take stay dirty.
 *
 *   held  = D + grants        D: dirty bytes that are free: in the pool, warm, idle slabs, huge cache
 *                             grants: what bins and BigCaches may hold
 *   live  = O - F             O: bytes out of slabs, spans, huge blocks   F: sent, not yet collected
 *   bound = BOUND + BOUND_SHARE% of live + earned
 *           and no more than a limit leaves: all of LIMIT, or half of a container's, less what is
 *           committed and not held
 *
 * Checked where memory becomes free: at a flush, a free of a span, a huge block or a direct heap's
 * block, after help, at a thread's end. Over the bound a thread pays in instalments: twice what it
 * just added, at least a quarter of the bound, 256 KiB to 2 MiB (a bigger one is a latency spike, and no
 * cheaper), longest runs first, down to three quarters of the bound; more at once only while held is over the
 * bound by more than 2 MiB. A program that swings, and so takes again what was purged a moment ago,
 * earns a higher bound. */
#include "base/base.h"
#include "base/lines.h"
#include "base/options.h"
#include "superslab/pool.h" /* enum hk_purged */

/* What higher floors hold beyond the pool. Set once, before the first release. */
struct hk_release_hooks {
	/* Gives warm units and idle slabs of heaps to the pool, at least `bytes` if it can, without
	 * waiting for anyone; or purges a huge range. Returns the bytes. */
	size_t (*gather)(size_t bytes);
	/* Once a second: what heaps hold and nobody uses goes to the pool; an old huge range is purged. */
	void (*age)(uint64_t now);
};
extern HK_HIDDEN struct hk_release_hooks hk_release_hooks;
/* What live and held together may come to by the container's limit; 0: there is none (squeeze.h). */
extern HK_HIDDEN _Atomic size_t hk_release_ceiling;

extern HK_HIDDEN _Atomic int64_t hk_dirty;   /* D */
extern HK_HIDDEN _Atomic int64_t hk_granted; /* limits of bins and BigCaches */
extern HK_HIDDEN _Atomic int64_t hk_out;     /* O */
extern HK_HIDDEN _Atomic int64_t hk_flying;  /* F */
/* Huge blocks, and cached ranges that are dirty: what is committed besides units. */
extern HK_HIDDEN _Atomic int64_t hk_huge_committed;

/* Of units in use, what was given back: holes of slabs. */
extern HK_HIDDEN _Atomic int64_t hk_holes;
HK_INLINE void hk_holes_add(int64_t bytes)
{
	atomic_fetch_add_explicit(&hk_holes, bytes, memory_order_relaxed);
}

HK_INLINE void hk_dirty_add(int64_t bytes)
{
	HK_LINE_WRITE(held, &hk_dirty);
	atomic_fetch_add_explicit(&hk_dirty, bytes, memory_order_relaxed);
}
HK_INLINE void hk_granted_add(int64_t bytes)
{
	HK_LINE_WRITE(held, &hk_granted);
	atomic_fetch_add_explicit(&hk_granted, bytes, memory_order_relaxed);
}
HK_INLINE void hk_out_add(int64_t bytes)
{
	HK_LINE_WRITE(live, &hk_out);
	atomic_fetch_add_explicit(&hk_out, bytes, memory_order_relaxed);
}
HK_INLINE void hk_flying_add(int64_t bytes)
{
	HK_LINE_WRITE(live, &hk_flying);
	atomic_fetch_add_explicit(&hk_flying, bytes, memory_order_relaxed);
}

size_t hk_release_live(void);
HK_INLINE size_t hk_release_held(void)
{
	int64_t held;

	HK_TELE(release, look, 1);
	held = atomic_load_explicit(&hk_dirty, memory_order_relaxed) +
	       atomic_load_explicit(&hk_granted, memory_order_relaxed);

	return held > 0 ? (size_t)held : 0; /* sums of deltas may dip below zero for a moment */
}
/* What may be held now: the profile's formula, from the options. */
size_t hk_release_bound(void);
/* D */
HK_INLINE size_t hk_release_dirty(void)
{
	int64_t dirty = atomic_load_explicit(&hk_dirty, memory_order_relaxed);

	return dirty > 0 ? (size_t)dirty : 0;
}
/* Memory that the kernel has given, or would give at a touch: all that is not clean. */
size_t hk_release_committed(void);
/* It was no more than the limit: whoever takes note of that clears it. */
extern HK_HIDDEN _Atomic bool hk_release_was_within;
/* The program's own limit for that, by the options; 0: none. */
HK_INLINE size_t hk_release_limit(void)
{
	size_t limit = hk_option(HK_OPT_LIMIT);
	size_t target = hk_option(HK_OPT_SS_MEM_LEAN_TARGET_MB) * HK_MiB;

	return limit == 0 || target == 0 ? limit + target : hk_min(limit, target);
}
HK_INLINE bool hk_release_has_limit(void)
{
	return (hk_option(HK_OPT_LIMIT) | hk_option(HK_OPT_SS_MEM_LEAN_TARGET_MB)) != 0;
}

/* `added` bytes have just become held: pays when held is over the bound. Preserves errno. */
void hk_release_check_bound(size_t added);
HK_INLINE void hk_release_check(size_t added)
{
	/* most of the time less than the bound's constant part is held, and no sum is needed */
	if (HK_UNLIKELY(hk_release_held() > hk_option(HK_OPT_BOUND) || hk_release_has_limit() ||
			atomic_load_explicit(&hk_release_ceiling, memory_order_relaxed) != 0))
		hk_release_check_bound(added);
}
/* Purges all that is dirty in the pool, after gathering; returns the bytes given back. */
size_t hk_release_all(void);
/* Purges up to `bytes` of the pool's dirty units that are in a row; 0: there are none, or the kernel
 * refuses. */
size_t hk_release_some(size_t bytes);
/* What was earned grows old. */
void hk_release_age(uint64_t now);
/* It must be earned anew. */
void hk_release_forget_earned(void);
/* Bytes given back since the start. */
uint64_t hk_release_purged(void);

/* Of `taken` units, which are not counted in O yet, `again` were purged at `when`; *streak is that of
 * the place that they come from. */
void hk_release_note_refault(uint32_t again, uint32_t taken, uint64_t when, uint32_t *streak);

/* Purges a range by the policy's means. */
enum hk_purged hk_release_purge(void *p, size_t bytes);

#endif
