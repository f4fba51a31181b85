/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_HUGE_H
#define HK_SLAB_HUGE_H
/* BOX huge - blocks over 32 MiB, mapped one by one, and the address ranges kept for the next ones.
 * Owns:       huge blocks and cached ranges.    Not: the table (registry), which are kept (kept).
 * Invariants: HU1 a live block is in the registry under its address
 *             HU2 what is kept is listed (slab/kept.h)
 *             HU3 dirty cached bytes are part of D
 *             HU4 a cached hardened range is guarded, and never used again: it is the quarantine of
 *                 huge blocks, out of which one at random goes when HU2 wants it
 * Threads:    any.
 * Locks:      takes HK_RANK_HUGE; inside it the kernel is asked for mappings, which no fork may find
 *             without an entry, and moves blocks. Purging and unmapping are outside.
 * Fails:      NULL when the system refuses memory; the heap is as before. */
#include "base/base.h"
#include "base/check.h" /* struct hk_offence */

/* `owner`: a first-class heap's id, or 0. align: a power of two up to HK_MAX_ALIGN. The block's
 * bytes are zero when want_zero. */
void *hk_huge_alloc(size_t size, size_t align, bool want_zero, uint32_t owner);
/* A hardened one (harden.h); its bytes are zero. */
void *hk_huge_alloc_hardened(size_t size, size_t align, uint32_t owner);
/* Usable bytes and owner of the live block at p; 0: there is none. */
size_t hk_huge_usable(const void *p, uint32_t *owner);
/* Frees the live block at p. */
void hk_huge_free(void *p, struct hk_offence where);
/* Aborts when p is a freed huge block, or points into one. */
void hk_huge_explain(const void *p, struct hk_offence where);
/* A block of `size` bytes with the pages of the range at `from`, which is mapped and empty afterwards;
 * NULL: refused, and the range is as before. */
void *hk_huge_take_over(void *from, size_t from_bytes, size_t size, uint32_t owner);
/* Resizes, moving pages instead of bytes; NULL: refused, and the block is as before. */
void *hk_huge_resize(void *p, size_t size, struct hk_offence where);
/* Frees all blocks of a first-class heap. */
void hk_huge_free_all(uint32_t owner);
/* Purges one cached range that is dirty since `until` (coarse ns) or longer, and keeps its addresses;
 * returns its bytes. */
size_t hk_huge_purge(uint64_t until);
/* Unmaps cached ranges; returns the dirty bytes in them. */
size_t hk_huge_trim(void);

/* For when the system refuses memory: gives back all that can be, address space too. */
HK_COLD void hk_huge_reclaim(void);

/* In the child of a fork, with the registry locked: ranges in the hands of threads that are gone
 * become cached ones. */
void hk_huge_reset(void);

struct hk_huge_count {
	size_t live_bytes, live_blocks, cached_bytes, dirty_bytes;
};
struct hk_huge_count hk_huge_count(void);

/* fn for each live block until it returns false; true: it never did. Called with the registry
 * locked. */
bool hk_huge_walk(bool (*fn)(void *p, size_t bytes, uint32_t owner, void *arg), void *arg);

#endif
