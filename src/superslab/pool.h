/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_POOL_H
#define HK_SUPERSLAB_POOL_H
/* BOX pool - the shared pool: every free unit that is in nobody's hand.
 * Owns:       the tiers; dirty and used marks of SuperSlabs.
 * Invariants: PO1 free neighbours are one run: coalesced across SuperSlabs, within 4 GiB windows
 *             PO2 a run is in the tier of its length, on the dirty side <=> one of its units is dirty
 *             PO3 every unit of a run has the word FREE | POOLED; the first and last unit of what
 *                 was taken does not
 *             PO4 the dirty bytes of the pool are part of hk_release's D
 * Threads:    any.
 * Locks:      takes HK_RANK_POOL; the arena grows, and the kernel is asked for memory, inside it.
 * Fails:      take: false when the system refuses memory; nothing has changed then.
 *
 * A tier holds the runs of one length (of a range of lengths above 32 units). Taking from the
 * shortest run that fits fills the fullest SuperSlabs first, so that others empty; among runs of
 * one tier, the one in the fullest SuperSlab is taken. Dirty runs come before clean ones: a page
 * fault costs more than a hundred list operations. */
#include "base/base.h"
#include "superslab/arena.h"

enum hk_purged {
	HK_PURGED_NOT,    /* refused: as dirty as before */
	HK_PURGED_LAZILY, /* the kernel takes the pages when it wants: not held any more, not zero */
	HK_PURGED_ZERO,   /* gone */
};

struct hk_run {
	hk_unit unit;
	uint32_t units;
	uint32_t dirty; /* units of it that were held */
	bool zero;      /* all of it */
	size_t pages;   /* bytes that may have pages; of a run to be purged */
};

enum hk_pool_wish {
	HK_WISH_ANY,  /* dirty units before clean ones */
	HK_WISH_ZERO, /* clean units before dirty ones */
};

/* `units` in a row, the first at a multiple of `align` units (a power of two) by address. */
bool hk_pool_take(uint32_t units, uint32_t align, enum hk_pool_wish wish, struct hk_run *out);
/* Up to `count` single units under one lock; returns how many. */
uint32_t hk_pool_take_batch(uint32_t count, struct hk_run *out);
/* Exactly the units behind `end`, when all of them are free, or can be mapped at the end of the arena;
 * for growth in place. */
bool hk_pool_extend(hk_unit end, uint32_t units, struct hk_run *out);
/* The first `touched` of them become dirty, the others keep their mark. Who knows how far into them they
 * were written to has noted it (hk_arena_note_touched); of others, a dirty unit counts whole. */
void hk_pool_give(hk_unit unit, uint32_t units, uint32_t touched);

/* For the release policy: takes up to `max` dirty units in a row out of the longest run; false when
 * nothing is dirty. */
bool hk_pool_take_dirty(uint32_t max, struct hk_run *out);
/* Gives back units whose pages were purged, with what became of them. */
void hk_pool_give_purged(const struct hk_run *run, enum hk_purged purged);

/* Unmaps every SuperSlab that is free as a whole; returns the bytes. For when the system refuses
 * memory: address space may be what is short. */
size_t hk_pool_unmap(void);

/* Bytes mapped that are not clean and in the pool: in somebody's hand, or dirty. */
extern HK_HIDDEN _Atomic size_t hk_pool_committed; /* [lock POOL writes, any reads] */
/* The least that the pool has had dirty since somebody set this to SIZE_MAX, in bytes. A change that comes
 * between may be lost: then it is too little. [lock POOL lowers, any reads and sets] */
extern HK_HIDDEN _Atomic size_t hk_pool_least_dirty;

/* Units free in the pool, and of them dirty. */
void hk_pool_count(size_t *free_units, size_t *dirty_units);
/* Bytes in the pool that have pages: of dirty units, of units given back lazily, and of others, which
 * were faulted in ahead. O(units), pages.c. */
struct hk_pool_pages {
	size_t dirty, lazy, prefaulted;
};
struct hk_pool_pages hk_pool_pages(void);

/* Proves PO1 … PO4; O(units). Called with the pool locked. */
void hk_pool_check(void);

/* For fork and the walker. */
void hk_pool_lock(void);
void hk_pool_unlock(void);
void hk_pool_reset(void);
/* Sets HK_WORD_MARK on every unit of the pool. By the only thread. */
void hk_pool_mark(void);

#endif
