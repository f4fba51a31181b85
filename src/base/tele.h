/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_TELE_H
#define HK_BASE_TELE_H
/* BOX tele - counters that exist in the observe build and vanish in others.
 * Owns:       one block of counters a thread, found by hk_tele_here.
 * Invariants: none.
 * Threads:    only the owner writes its counters (relaxed load and store, no lock prefix); anyone
 *             reads them with relaxed loads. Blocks are never freed, a dead thread's is reused.
 * Locks:      none.
 * Fails:      a thread without a block counts into a shared one, inexactly. */
#include "base/base.h"
#include "base/config.h" /* HK_TELE_LEVEL */

enum hk_tele_row {
#define HK_TELE_ROW(box, name, level, unit, meaning) HK_TELE_##box##_##name,
#include "base/tele.def"
#undef HK_TELE_ROW
	HK_TELE_ROWS
};
enum hk_tele_level {
#define HK_TELE_ROW(box, name, level, unit, meaning) HK_TL_##box##_##name = (level),
#include "base/tele.def"
#undef HK_TELE_ROW
};

struct hk_tele {
	_Atomic uint64_t count[HK_TELE_ROWS]; /* [owner writes relaxed, any reads relaxed] */
};

/* The calling thread's counters. Exists at HK_TELE_LEVEL >= 1. */
struct hk_tele *hk_tele_here(void);
/* At the end of a thread: another one may count on in its block. */
void hk_tele_leave(void);
/* The sum over all threads. */
uint64_t hk_tele_sum(enum hk_tele_row row);
const char *hk_tele_name(enum hk_tele_row row); /* "heap.refill" */
const char *hk_tele_meaning(enum hk_tele_row row);

/* Adds to a row that is known at run time only. Exists at HK_TELE_LEVEL >= 1. */
HK_INLINE void hk_tele_count(enum hk_tele_row row, uint64_t n)
{
	_Atomic uint64_t *c = &hk_tele_here()->count[row];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

#define HK_TELE(box, name, n)                                                                      \
	do {                                                                                       \
		if (HK_TELE_LEVEL >= (int)HK_TL_##box##_##name)                                    \
			hk_tele_count(HK_TELE_##box##_##name, (uint64_t)(n));                      \
	} while (0)

#endif
