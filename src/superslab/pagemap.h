/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_PAGEMAP_H
#define HK_SUPERSLAB_PAGEMAP_H
/* BOX pagemap - one 32-bit word for each unit of 64 KiB: all that free has to read.
 * Owns:       hk_page_map, hk_arena_base.
 * Invariants: P1 a word is 0 unless hakmem has mapped the unit
 *             P2 a heap's id leaves the word of a unit with blocks out only by the hand of the thread
 *                that runs that heap, or under its lock while it is parked, and the next thread to
 *                run it takes that lock: so no thread ever reads, for a block that it may free, a
 *                stale word that equals its own id
 * Threads:    words are relaxed atomics, by P2; written by whoever owns the unit.
 * Locks:      none here: the pool's for units in the pool, the heap's for its slabs.
 * Fails:      never: any address may be looked up.
 *
 *   slab unit    [31..11] owner id 8 … 2^21-2   [10..4] bin 1 … 127   [3..1] 0   [0] hardened
 *   other unit   [31..11] kind 1 … 3            [10..0] the kind's own
 *   not ours     0
 *
 * The map is zero-fill memory of the library: an untouched page of it costs nothing. Units of the
 * first arena come first, then those of further windows (arena.h). */
#include "base/base.h"
#include "base/config.h"
#include "base/lines.h"

typedef uint32_t hk_unit;

#define HK_NO_UNIT ((hk_unit)UINT32_MAX)

#define HK_WORD_ID_SHIFT  11
#define HK_WORD_BIN_SHIFT 4
#define HK_FIRST_ID       8u

enum hk_kind {
	HK_KIND_NONE,        /* not ours */
	HK_KIND_FREE,        /* ours, no block */
	HK_KIND_SPAN,        /* first unit of a span */
	HK_KIND_SPAN_INSIDE, /* its other units */
	HK_KINDS
};
static_assert((unsigned)HK_KINDS <= HK_FIRST_ID, "kinds and heap ids share a field");

/* Payload of HK_KIND_FREE: in the shared pool, and not in somebody's hand; what its record still
 * tells about its last use, for messages. */
#define HK_WORD_POOLED   1u
#define HK_WORD_WAS_SLAB 2u
#define HK_WORD_WAS_SPAN 4u
/* In the child of a fork, while it looks for units that nobody holds: this one is held. */
#define HK_WORD_MARK 8u

/* Of a slab's word: its blocks are hardened. Such a slab is a direct heap's, so the word never meets
 * its owner's id in a thread's front. Of a live span's: so is it. */
#define HK_WORD_HARDENED 1u

extern HK_HIDDEN _Atomic uint32_t hk_page_map[HK_MAP_UNITS];
extern HK_HIDDEN uintptr_t hk_arena_base; /* 0 until the first growth, then constant */

HK_INLINE uint32_t hk_word_kind(enum hk_kind kind, uint32_t payload)
{
	return ((uint32_t)kind << HK_WORD_ID_SHIFT) | payload;
}
HK_INLINE uint32_t hk_word_slab(uint32_t id, unsigned bin)
{
	return (id << HK_WORD_ID_SHIFT) | (bin << HK_WORD_BIN_SHIFT);
}
/* Owner id of a slab's word, else a kind (< HK_FIRST_ID). */
HK_INLINE uint32_t hk_word_id(uint32_t word) { return word >> HK_WORD_ID_SHIFT; }
HK_INLINE unsigned hk_word_bin(uint32_t word) { return (word >> HK_WORD_BIN_SHIFT) & 127u; }
HK_INLINE bool hk_word_is_hardened(uint32_t word) { return (word & HK_WORD_HARDENED) != 0; }
HK_INLINE bool hk_word_is_slab(uint32_t word) { return hk_word_id(word) >= HK_FIRST_ID; }

HK_INLINE uint32_t hk_page_word(hk_unit unit)
{
	return atomic_load_explicit(&hk_page_map[unit], memory_order_relaxed);
}
HK_INLINE void hk_page_set(hk_unit unit, uint32_t word)
{
	HK_LINE_WRITE(map, &hk_page_map[unit]);
	atomic_store_explicit(&hk_page_map[unit], word, memory_order_relaxed);
}
HK_INLINE void hk_page_mark(hk_unit unit) { hk_page_set(unit, hk_page_word(unit) | HK_WORD_MARK); }

/* Distance from the first arena's start; larger than the arena for addresses outside it. */
HK_INLINE size_t hk_arena_offset(const void *p)
{
	return (uintptr_t)p - HK_LOAD_FOLDED(hk_arena_base);
}

#endif
