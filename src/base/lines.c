/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/lines.h"

static_assert(HK_TELE_word_remote - HK_TELE_lock_own_heap ==
		      HK_TELE_moved_remote - HK_TELE_moved_own_heap,
	      "moved has the rows of lock and word, in their order");
static_assert(HK_TELE_word_map - HK_TELE_lock_own_heap ==
		      HK_TELE_moved_map - HK_TELE_moved_own_heap,
	      "to the last one");
static_assert(HK_TELE_lock_meta - HK_TELE_lock_own_heap ==
		      HK_TELE_wait_meta - HK_TELE_wait_own_heap,
	      "wait has the rows of lock, in their order");

#if HK_TELE_LEVEL > 0

#define LINE_SHIFT   6
#define WRITER_BITS  22
#define ENTRIES_LOG2 16

/* Line and writer in one word; 0: nobody's yet. */
static _Atomic uint64_t last[1 << ENTRIES_LOG2];
static _Atomic uint64_t writers;
static _Thread_local uint64_t me; /* from 1 on; 0: no number yet */

static uint64_t writer_here(void)
{
	if (HK_UNLIKELY(me == 0))
		me = (atomic_fetch_add_explicit(&writers, 1, memory_order_relaxed) + 1) &
		     ((1u << WRITER_BITS) - 1);
	return me;
}

void hk_lines_note(enum hk_tele_row row, const volatile void *p)
{
	uint64_t line = (uintptr_t)p >> LINE_SHIFT;
	uint64_t now = line << WRITER_BITS | writer_here(), before;
	size_t entry = line * 0x9E3779B97F4A7C15ull >> (64 - ENTRIES_LOG2);

	hk_tele_count(row, 1);
	before = atomic_exchange_explicit(&last[entry], now, memory_order_relaxed);
	if (before != now && before >> WRITER_BITS == line)
		hk_tele_count(HK_LINES_MOVED(row), 1);
}

#endif
