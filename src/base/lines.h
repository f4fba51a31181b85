/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_LINES_H
#define HK_BASE_LINES_H
/* BOX lines - in the observe build: writes to words that threads share, and how often their cache
 * line comes from another thread. These counts say what more processors would cost.
 * Owns:       a table of the last writer of each line; boxes lock, wait, word and moved of tele.def.
 * Invariants: none.
 * Threads:    any.
 * Locks:      none.
 * Fails:      two lines that share an entry of the table: a move is not seen. */
#include "base/base.h"
#include "base/tele.h"

/* moved.<name> of the row lock.<name> or word.<name>, and wait.<name> of lock.<name>. */
#define HK_LINES_MOVED(row)                                                                        \
	((enum hk_tele_row)((row) + HK_TELE_moved_own_heap - HK_TELE_lock_own_heap))
#define HK_LINES_WAIT(row)                                                                         \
	((enum hk_tele_row)((row) + HK_TELE_wait_own_heap - HK_TELE_lock_own_heap))

/* Counts a write to the word at p in `row`, and in its moved row when another thread was the last to
 * write to the line. Exists at HK_TELE_LEVEL >= 1. */
void hk_lines_note(enum hk_tele_row row, const volatile void *p);

/* A write to the shared word at p: HK_LINE_WRITE(remote, &s->remote) counts in word.remote. */
#define HK_LINE_WRITE(name, p)                                                                     \
	do {                                                                                       \
		if (HK_TELE_LEVEL >= (int)HK_TL_word_##name)                                       \
			hk_lines_note(HK_TELE_word_##name, (p));                                   \
	} while (0)

#endif
