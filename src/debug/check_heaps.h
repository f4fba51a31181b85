/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_DEBUG_CHECK_HEAPS_H
#define HK_DEBUG_CHECK_HEAPS_H
/* BOX check_heaps - the walker that proves every invariant.
 * Owns:       nothing: it reads all floors, and no floor includes it.
 * Invariants: all of them: aborts with the id of the one that does not hold.
 * Threads:    any; other threads may be running, and wait.
 * Locks:      takes all of them.
 * Fails:      aborts.
 *
 * The same conditions as hk_walk, proved at HK_CHECK_LEVEL 3. Callable from gdb. */
#include "base/base.h"
#include "base/config.h" /* HK_CHECK_LEVEL */

/* Checked builds export it, for tests and debuggers. */
#if HK_CHECK_LEVEL >= 3
#define HK_CHECKED HK_EXPORT
#else
#define HK_CHECKED
#endif

/* True; at check levels below 3 it proves nothing and returns false. */
HK_CHECKED bool hk_check_heaps(void);

#endif
