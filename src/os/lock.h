/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OS_LOCK_H
#define HK_OS_LOCK_H
/* BOX lock - a futex lock with a rank.
 * Owns:       struct hk_lock.
 * Invariants: L1 a thread takes locks in rising rank only (aborts at HK_CHECK_LEVEL >= 1), except by
 *             trylock, which may take an equal or lower rank, and by take_beside
 * Threads:    any; state 0 free, 1 held, 2 held with waiters. Acquire / release.
 * Locks:      this is it.
 * Fails:      never. Not re-entrant. */
#include "base/base.h"
#include "base/config.h" /* HK_CHECK_LEVEL */
#include "os/os.h"       /* hk_os_wait */

enum hk_rank {
	HK_RANK_NONE,
	HK_RANK_MODE,
	HK_RANK_REGISTRY,
	HK_RANK_HEAP,
	HK_RANK_POOL,
	HK_RANK_HUGE,
	HK_RANK_META,
	HK_RANKS
};

struct hk_lock {
	_Atomic uint32_t state;
	uint32_t rank; /* [const] */
};

#define HK_LOCK_INIT(r)                                                                            \
	{                                                                                          \
		0, (r)                                                                             \
	}

HK_COLD void hk_lock_wait(struct hk_lock *l);
HK_COLD void hk_lock_wake(struct hk_lock *l);
/* Counts in lines.h's rows: an attempt to take the lock, one that has to wait; and which lock is the
 * calling thread's own heap's, with rows of its own. Exist at HK_TELE_LEVEL >= 1. */
void hk_lock_count(const struct hk_lock *l);
void hk_lock_count_wait(const struct hk_lock *l);
void hk_lock_call_own(const struct hk_lock *l);
/* Debug bookkeeping; nothing is left of the calls at HK_CHECK_LEVEL 0. */
void hk_lock_note_taken(const struct hk_lock *l, bool tried);
void hk_lock_note_dropped(const struct hk_lock *l);

HK_INLINE void hk_lock_acquire(struct hk_lock *l)
{
	uint32_t expect = 0;

	if (HK_TELE_LEVEL >= 1)
		hk_lock_count(l);
	if (HK_UNLIKELY(!atomic_compare_exchange_strong_explicit(
		    &l->state, &expect, 1, memory_order_acquire, memory_order_relaxed)))
		hk_lock_wait(l);
}

HK_INLINE void hk_lock_take(struct hk_lock *l)
{
	if (HK_CHECK_LEVEL >= 1)
		hk_lock_note_taken(l, false);
	hk_lock_acquire(l);
}

/* A further lock of equal rank, for who takes all of them, while others hold one and only try a
 * second. */
HK_INLINE void hk_lock_take_beside(struct hk_lock *l)
{
	if (HK_CHECK_LEVEL >= 1)
		hk_lock_note_taken(l, true);
	hk_lock_acquire(l);
}

HK_INLINE bool hk_lock_try(struct hk_lock *l)
{
	uint32_t expect = 0;
	bool got = atomic_compare_exchange_strong_explicit(
		&l->state, &expect, 1, memory_order_acquire, memory_order_relaxed);

	if (HK_TELE_LEVEL >= 1)
		hk_lock_count(l);
	if (HK_CHECK_LEVEL >= 1 && got)
		hk_lock_note_taken(l, true);
	return got;
}

HK_INLINE void hk_lock_drop(struct hk_lock *l)
{
	if (HK_CHECK_LEVEL >= 1)
		hk_lock_note_dropped(l);
	if (HK_UNLIKELY(atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2))
		hk_lock_wake(l);
}

HK_INLINE bool hk_lock_is_held(struct hk_lock *l)
{
	return atomic_load_explicit(&l->state, memory_order_relaxed) != 0;
}

/* In the child of a fork: every lock was taken by the forking thread; forget waiters. */
void hk_lock_reset(struct hk_lock *l);

#endif
