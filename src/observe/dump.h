/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OBSERVE_DUMP_H
#define HK_OBSERVE_DUMP_H
/* BOX dump - statistics that are written without a call: at exit, on a signal, every so often.
 * Owns:       the thread of STATS_SIGNAL and STATS_EVERY; the number of reports so far.
 * Invariants: none.
 * Threads:    any; a signal's handler only wakes the thread.
 * Locks:      none of its own; what stats takes.
 * Fails:      a file, signal or thread that can't be had is named in one warning. */

/* Starts what STATS_SIGNAL and STATS_EVERY ask for. Once, when the options are known. */
void hk_dump_begin(void);

#endif
