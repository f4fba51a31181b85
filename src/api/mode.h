/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_MODE_H
#define HK_API_MODE_H
/* BOX mode - what the slow path does for threads that are starved.
 * Owns:       the mode of the process.
 * Invariants: M1 a mode other than NORMAL starves every thread
 * Threads:    any; a relaxed atomic, since each value is right at any moment.
 * Locks:      REGISTRY, inside hk_heap_starve.
 * Fails:      never. */
#include "base/base.h"
#include "base/config.h"

enum hk_mode {
	HK_MODE_NORMAL,
	HK_MODE_LIBC,     /* FORCE_LIBC_ALLOC: requests go to libc's allocator */
	HK_MODE_SPANS,    /* WRAP_TINY=0: every block is a span */
	HK_MODE_HARDENED, /* PROFILE=hardened: blocks come from hardened heaps (hardened.h) */
};

extern HK_HIDDEN _Atomic int hk_mode_now;

HK_INLINE enum hk_mode hk_mode(void)
{
	if (HK_MINIMAL)
		return HK_MODE_NORMAL;
	return (enum hk_mode)atomic_load_explicit(&hk_mode_now, memory_order_relaxed);
}

/* Starts the background thread, after BACKGROUND was set to 1; set to 0, it sleeps. */
void hk_background_choose(void);
/* From the options FORCE_LIBC_ALLOC, PROFILE and WRAP_TINY, the first of them that asks for a mode;
 * after one of them has changed. */
void hk_mode_choose(void);

#endif
