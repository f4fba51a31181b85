/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "os/lock.h"

#include "base/check.h"
#include "base/lines.h"

#define SPINS 100

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Also where there is one processor, and the holder cannot run while this thread spins: to ask for that
 * is a system call for which a sandbox may end the process, and what it would save is not to be seen. */
static bool spin(struct hk_lock *l)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t expect = 0;

		relax();
		if (!hk_lock_is_held(l) &&
		    atomic_compare_exchange_strong_explicit(
			    &l->state, &expect, 1, memory_order_acquire, memory_order_relaxed))
			return true;
	}
	return false;
}

#if HK_TELE_LEVEL >= 1

static _Thread_local const struct hk_lock *own;

static enum hk_tele_row row_of(const struct hk_lock *l)
{
	static const uint8_t rows[HK_RANKS] = {
		[HK_RANK_MODE] = HK_TELE_lock_table,      [HK_RANK_REGISTRY] = HK_TELE_lock_table,
		[HK_RANK_HEAP] = HK_TELE_lock_other_heap, [HK_RANK_POOL] = HK_TELE_lock_pool,
		[HK_RANK_HUGE] = HK_TELE_lock_huge,       [HK_RANK_META] = HK_TELE_lock_meta,
	};

	return l == own ? HK_TELE_lock_own_heap : (enum hk_tele_row)rows[l->rank];
}

void hk_lock_count(const struct hk_lock *l) { hk_lines_note(row_of(l), &l->state); }

void hk_lock_count_wait(const struct hk_lock *l) { hk_tele_count(HK_LINES_WAIT(row_of(l)), 1); }

void hk_lock_call_own(const struct hk_lock *l) { own = l; }

#endif

void hk_lock_wait(struct hk_lock *l)
{
	if (HK_TELE_LEVEL >= 1)
		hk_lock_count_wait(l);
	if (spin(l))
		return;
	/* 2 also when nobody else waits: whether somebody does cannot be known here, and one wake
	 * for nothing is the price. */
	while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0)
		hk_os_wait(&l->state, 2);
}

void hk_lock_wake(struct hk_lock *l) { hk_os_wake(&l->state, 1); }

void hk_lock_reset(struct hk_lock *l)
{
	if (HK_CHECK_LEVEL >= 1 && hk_lock_is_held(l))
		hk_lock_note_dropped(l);
	atomic_store_explicit(&l->state, 0, memory_order_relaxed);
}

#if HK_CHECK_LEVEL >= 1

/* How many locks of each rank this thread holds. */
static _Thread_local uint32_t held[HK_RANKS];

void hk_lock_note_taken(const struct hk_lock *l, bool tried)
{
	hk_assert(l->rank > HK_RANK_NONE && l->rank < HK_RANKS);
	for (uint32_t rank = l->rank; rank < HK_RANKS && !tried; rank++) {
		if (held[rank] != 0)
			hk_die((struct hk_offence){ NULL, NULL },
			       "L1: lock of rank %u taken with rank %u held", l->rank, rank);
	}
	held[l->rank]++;
}

void hk_lock_note_dropped(const struct hk_lock *l)
{
	hk_assert(held[l->rank] > 0);
	held[l->rank]--;
}

#endif
