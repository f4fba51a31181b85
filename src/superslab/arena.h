/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_ARENA_H
#define HK_SUPERSLAB_ARENA_H
/* BOX arena - address space in units, and the records behind them.
 * Owns:       the logical arena and its windows; the table of SuperSlabs; unit records.
 * Invariants: AR1 a unit is mapped <=> its page-map word is not 0
 *             AR2 every SuperSlab with a mapped unit has its records
 *             AR3 a dirty or lazy unit has touched grains; any other one, as long as nobody has
 *                 written to it since it was mapped or purged, only when it was faulted in ahead
 * Threads:    look-ups from any thread; growth under the pool's lock.
 * Locks:      called with POOL held for growth; takes META inside.
 * Fails:      growth returns false when the system refuses; nothing has changed then.
 *
 * No reservation: the first arena is 256 GiB of addresses that hakmem would like to have, at a
 * random distance below the place where the kernel puts mappings. It is mapped upwards, a piece at
 * a time, and skips what others hold. When it can't be had, SuperSlabs are mapped wherever the
 * kernel puts them, and the 4 GiB window around such an address becomes a further arena, with words
 * in the same page map: only found on slow paths, but served alike. */
#include "base/base.h"
#include "superslab/pagemap.h"

/* A free run of units in the shared pool; kept in the record of its first unit (units also in that
 * of its last). */
struct hk_run_node {
	struct hk_run_node *next, *prev; /* [lock POOL] */
	hk_unit unit;                    /* first of the run, in both records */
	uint32_t units;                  /* [lock POOL] */
	uint32_t dirty; /* of them, touched since they were last zero [lock POOL] */
};

#define HK_UNIT_UPPER 96u

/* How far into a unit its pages are there is counted in grains, the smallest page of any system. */
#define HK_GRAIN_BYTES (4 * HK_KiB)
#define HK_UNIT_GRAINS ((uint8_t)(HK_UNIT_BYTES / HK_GRAIN_BYTES))

/* What is known about one unit. */
struct hk_unit_meta {
	alignas(64) unsigned char upper[HK_UNIT_UPPER]; /* belongs to floor slab */
	struct hk_run_node run;
};
static_assert(sizeof(struct hk_unit_meta) == 128, "two cache lines a unit");

/* The masks first: for the first few units of a small program one page is enough. */
struct hk_superslab {
	uint32_t
		dirty; /* bit a unit: touched, and so held when free. Kept while in use. [lock POOL] */
	uint32_t lazy;      /* bit a unit: given back lazily: not held, not zero [lock POOL] */
	uint32_t purged;    /* bit a unit: was touched once, and given back since [lock POOL] */
	uint32_t used;      /* mapped units that are not in the pool [lock POOL] */
	uint32_t refaults;  /* takes in a row of units that were purged a moment ago [lock POOL] */
	uint64_t purged_at; /* coarse ns [lock POOL] */
	uint8_t touched
		[HK_SS_UNITS]; /* of each unit how many grains, leading ones, may have pages [who
					 holds the unit; in the pool: lock POOL] */
	struct hk_unit_meta meta[HK_SS_UNITS];
};
static_assert(offsetof(struct hk_superslab, meta) == 64,
	      "what is known of all units: a cache line");

extern HK_HIDDEN struct hk_superslab *_Atomic hk_ss_table[HK_MAP_UNITS / HK_SS_UNITS];

HK_INLINE struct hk_superslab *hk_ss_of(hk_unit unit)
{
	return atomic_load_explicit(&hk_ss_table[unit / HK_SS_UNITS], memory_order_relaxed);
}
/* Of a mapped unit. */
HK_INLINE struct hk_unit_meta *hk_unit_meta(hk_unit unit)
{
	return &hk_ss_of(unit)->meta[unit % HK_SS_UNITS];
}

/* The unit that an address is in, or HK_NO_UNIT when it is in none of the arenas. Any pointer. */
hk_unit hk_arena_unit_far(const void *p); /* not in the first arena */
HK_INLINE hk_unit hk_arena_unit(const void *p)
{
	size_t unit = hk_arena_offset(p) >> HK_UNIT_SHIFT;

	if (HK_LIKELY(unit < HK_ARENA_UNITS && HK_LOAD_FOLDED(hk_arena_base) != 0))
		return (hk_unit)unit;
	return hk_arena_unit_far(p);
}
void *hk_arena_address_far(hk_unit unit); /* in a window */
HK_INLINE void *hk_arena_address(hk_unit unit)
{
	if (HK_UNLIKELY(unit >= HK_ARENA_UNITS))
		return hk_arena_address_far(unit);
	return (void *)(HK_LOAD_FOLDED(hk_arena_base) + ((uintptr_t)unit << HK_UNIT_SHIFT));
}

/* Maps at least `units` units in a row (more, when the arena is growing well). Their words are
 * HK_KIND_FREE, their records zero. Called with POOL held. */
bool hk_arena_grow(uint32_t units, hk_unit *first, uint32_t *got);

/* The same by one SuperSlab for a huge page; false also where these don't pay. All of it counts as dirty: hk_arena_fault_huge makes that true. With POOL held. */
bool hk_arena_grow_huge(hk_unit *first);
/* Faults it in, by one of its units. Without a lock, by the thread that has the unit: clearing takes long. */
void hk_arena_fault_huge(hk_unit unit);

/* Unmaps units that the caller has taken from the pool, whole SuperSlabs: their addresses may be
 * somebody else's from now on. With POOL held. */
void hk_arena_unmap(hk_unit first, uint32_t units);

/* The holder of these units, or the pool, has written to the first `bytes` of them. */
void hk_arena_note_touched(hk_unit unit, size_t bytes);
/* Their pages are gone. */
void hk_arena_note_untouched(hk_unit unit, uint32_t units);
/* Some of a unit's are, says its holder: it counts as dirty until it is in the pool (AR3). */
void hk_arena_note_purged(hk_unit unit, size_t bytes);
/* Bytes of these units that have pages, when their holder has written to the first `bytes`. */
size_t hk_arena_pages(hk_unit unit, uint32_t units, size_t bytes);

/* Bytes mapped now. */
size_t hk_arena_mapped(void);
/* One past the last unit of the first arena that was ever mapped. */
hk_unit hk_arena_end(void);

/* Windows in use, for walks: unit numbers from HK_ARENA_UNITS on. */
uint32_t hk_arena_windows(void);

#endif
