/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_HEAP_QUARANTINE_H
#define HK_HEAP_QUARANTINE_H
/* BOX quarantine - hardened heaps: direct heaps whose slabs are hardened, and what they have freed.
 * Owns:       struct hk_quarantine: blocks and spans that were freed, and wait; spare records.
 * Invariants: Q1 a block in the ring is neither out nor ready, is zero, and counts as used
 *             Q2 bytes is the sum over the ring: at most HK_QUARANTINE_BYTES, or one block
 *             Q3 a span in the ring is guarded, or zero; it counts as free, and is in no pool
 * Threads:    any, under the heap's lock.
 * Locks:      takes the heap's lock.
 * Fails:      take: NULL when memory is short. Aborts with the message of a mistake: every state that
 *             counts is under one lock, so each is seen at the offending call.
 *
 *   live = O - F: blocks in the ring are part of O (their slab has them as used) and of F
 *   held = D + grants: and of D, since they cost memory. Spans cost none: their pages are gone. */
#include "heap/heap.h"
#include "slab/hard_slab.h"

#define HK_QUARANTINE_BLOCKS (HK_RARE ? 8u : 1024u)
#define HK_QUARANTINE_BYTES  (512 * HK_KiB)
#define HK_QUARANTINE_SPANS  (HK_RARE ? 2u : 16u)
#define HK_QUARANTINE_UNITS  1024u

struct hk_quarantine {
	struct hk_hard_spares spares;
	uint64_t random;
	size_t bytes;          /* of the blocks in the ring */
	uint32_t first, count; /* oldest; how many */
	uint32_t first_span, spans;
	uint32_t units; /* of the spans */
	struct hk_span *span[HK_QUARANTINE_SPANS];
	void *block[HK_QUARANTINE_BLOCKS];
};

/* NULL: no memory. */
struct hk_quarantine *hk_quarantine_new(void);

/* A block of a hardened heap: zero, with its canary. */
void *hk_hard_take(struct hk_heap *h, unsigned bin, struct hk_offence where);
/* Frees p, which was found to be the start of a block of s. */
void hk_hard_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where);

/* Keeps a span that hk_span_bury has prepared; the oldest ones go to the pool. */
void hk_quarantine_add_span(struct hk_heap *h, struct hk_span *s);
/* Everything goes to the slabs and to the pool: for a trim, and when memory is refused. Not waiting
 * for the heap. */
void hk_quarantine_empty(struct hk_heap *h);
/* The heap ends: its slabs are going, with the blocks in the ring. With the lock. */
void hk_quarantine_forget(struct hk_heap *h);

/* Proves Q1 … Q3, with the lock. */
void hk_quarantine_check(const struct hk_heap *h);

#endif
