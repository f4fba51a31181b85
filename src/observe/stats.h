/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OBSERVE_STATS_H
#define HK_OBSERVE_STATS_H
/* BOX stats - sums over all heaps, and the dumps at exit.
 * Owns:       nothing: it reads the other boxes.
 * Invariants: none.
 * Threads:    any; takes the locks of the heaps one after the other.
 * Locks:      HEAP, POOL, HUGE, never two at once.
 * Fails:      never; a file that can't be made is named in one warning. */
#include "base/base.h"
#include "slab/class.h"

/* One class over all heaps. */
struct hk_class_count {
	size_t slabs, units;
	size_t capacity, carved, used; /* blocks */
};

void hk_stats_classes(struct hk_class_count count[HK_BINS]);
size_t hk_stats_warm_units(void);

#endif
