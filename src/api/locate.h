/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_LOCATE_H
#define HK_API_LOCATE_H
/* BOX locate - the one place where an address becomes a block.
 * Owns:       the judgement of pointers that the program hands in.
 * Invariants: none.
 * Threads:    any.
 * Locks:      takes HK_RANK_HUGE for addresses outside the arenas.
 * Fails:      aborts with the message of the mistake; HK_AT_FOREIGN for what was never ours. */
#include "base/check.h" /* struct hk_offence */
#include "heap/heap.h"

enum hk_place { HK_AT_SLAB, HK_AT_SPAN, HK_AT_HUGE, HK_AT_FOREIGN };

struct hk_located {
	enum hk_place place;
	size_t bytes;         /* usable */
	struct hk_slab *slab; /* HK_AT_SLAB */
	struct hk_span *span; /* HK_AT_SPAN */
	bool hardened;        /* HK_AT_SLAB, HK_AT_SPAN: there is a canary behind the bytes */
	uint32_t owner;       /* heap id of a slab; of a first-class heap's span; else 0 */
};

/* p is not NULL. */
struct hk_located hk_locate(const void *p, struct hk_offence where);

/* Whether the next allocator in link order may have made p, which is foreign; else aborts. */
void hk_locate_foreign(const void *p, struct hk_offence where);

#endif
