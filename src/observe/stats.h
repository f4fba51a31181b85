/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OBSERVE_STATS_H
#define HK_OBSERVE_STATS_H
/* BOX stats - where the memory is: sums over all heaps, and reports of them.
 * Owns:       nothing: it reads the other boxes.
 * Invariants: ST1 resident is the sum of live and of the parts that hakmem.h marks
 *             ST2 of each class, carved blocks are live, in bins, ways, mail or quarantine, or free
 * Threads:    any; takes the locks of the heaps one after the other. Bins, ways and BigCaches belong
 *             to threads that may be running: their counts are read as they are at that moment.
 * Locks:      HEAP, POOL, HUGE, never two at once. Writers are called without.
 * Fails:      never. */
#include "base/base.h"
#include "hakmem/hakmem.h"
#include "slab/class.h"

struct hk_stats {
	struct hak_stats sum;
	struct hak_class_stats class[HK_BINS]; /* by bin */
	size_t warm_units;
};
void hk_stats_take(struct hk_stats *s);

/* What a report has; a build that doesn't count has no counters. */
enum hk_part {
	HK_PART_SUMMARY = 1,
	HK_PART_CALLS = 2,
	HK_PART_SUPERSLABS = 4,
	HK_PART_TINY = 8,
	HK_PART_CLASSES = 16,
	HK_PART_WARM = 32,
	HK_PART_COUNTERS = 64,
};
void hk_report_text(unsigned parts, hak_write_fn fn, void *arg);
/* All of it but single SuperSlabs. `number`: which report of the process it is, from 0. */
void hk_report_json(unsigned number, hak_write_fn fn, void *arg);

#endif
