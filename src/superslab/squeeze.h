/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_SQUEEZE_H
#define HK_SUPERSLAB_SQUEEZE_H
/* BOX squeeze - every profile moves to lean memory while its container is nearly full, or the system
 *               short of memory.
 * Owns:       whether that is so; hk_release_ceiling, from what the container box says.
 * Invariants: SQ1 files are read when over 64 MiB are committed, not before; then, at most every 2 s,
 *                 when more is committed than a while ago, or the process is squeezed
 *             SQ2 squeezed <=> the options that were not set by hand have their values in lean
 * Threads:    any; one of them looks at a time.
 * Locks:      none, and none held by callers.
 * Fails:      never: without limits and pressure that can be read, nothing is squeezed.
 *
 *   squeezed by the limit    less than an eighth of it is left    until there is a quarter
 *   by pressure              some task waited for memory in 10% of the last 10 s      until under 1%
 *
 * Besides, what is held may be at most half of what would be left of the limit if nothing were held: so
 * much follows from the last look and the accounts, without another one. */
#include "base/base.h"

enum hk_squeeze { HK_SQUEEZE_NO, HK_SQUEEZE_LIMIT, HK_SQUEEZE_PRESSURE };

/* Looks, if it is time to. */
void hk_squeeze_look(uint64_t now);

enum hk_squeeze hk_squeeze_state(void);
/* How often it has begun. */
uint32_t hk_squeeze_times(void);

/* In the child of a fork. */
void hk_squeeze_reset(void);

#endif
