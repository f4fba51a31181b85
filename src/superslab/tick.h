/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_TICK_H
#define HK_SUPERSLAB_TICK_H
/* BOX tick - what is done by time: free memory that nobody wants grows less, and the container is looked
 *            at. By threads on slow paths, about once a second, or by the background thread.
 * Owns:       when the last tick was, and what is still to be purged of its share; the sleep of the
 *             background thread.
 * Invariants: T1 of what the pool had free and dirty all the time since the last tick, a quarter is
 *                purged, at least 256 KiB
 *             T2 a thread that frees purges at most 2 MiB of it in one event
 * Threads:    any; relaxed atomics, one thread makes a tick.
 * Locks:      none held by callers; takes POOL, and what hk_release_hooks.age takes, inside.
 * Fails:      never.
 *
 * What a program swings by is taken again and again, so it is not free all the time, and stays. */
#include "base/base.h"

#define HK_TICK_NS 1000000000ull
/* While less than this is held, and no limit is near, nobody looks at the clock. */
#define HK_TICK_BYTES (512 * HK_KiB)

/* A tick, if it is time for one; else an instalment of the last one. now: coarse ns. */
void hk_tick(uint64_t now);
/* For the background thread: a tick, all of it at once. */
void hk_tick_whole(uint64_t now);

/* For the background thread: sleeps until more than HK_TICK_BYTES are dirty, which a thread that frees
 * finds out, or hk_tick_wake. Not at all when it is so already. */
void hk_tick_sleep(void);
void hk_tick_wake(void);

#endif
