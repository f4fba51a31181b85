/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_SLAB_H
#define HK_SLAB_SLAB_H
/* BOX slab - a run of units that holds blocks of one class and has one owner heap.
 * Owns:       struct hk_slab; which of its blocks are out.          Not: the lists of a heap.
 * Invariants: S1 used + free_blocks + mail_blocks + hole_blocks == carved <= capacity
 *             S2 free holds free_blocks blocks, and mail mail_blocks; both end at HK_END; hardened
 *                slabs have no lists (HD2)
 *             S3 every page-map word of its units is (owner, bin), and says whether it is hardened
 * Threads:    [heap] fields under the owner heap's lock; owner and remote as they say.
 * Locks:      takes none; called with the owner heap's lock held, unless a function says otherwise.
 * Fails:      aborts with a message when the program has damaged a list.
 *
 * used counts the blocks that are not in the slab's own lists: in the program's hands, in bins, in
 * ways, and on the remote word. So a slab can't vanish while a block of it is anywhere else. */
#include "base/base.h"
#include "base/check.h"
#include "slab/block.h"
#include "slab/class.h"
#include "superslab/arena.h"

struct hk_hard_slab;

struct hk_slab {
	struct hk_slab *next, *prev;       /* in one of its heap's lists [heap] */
	struct hk_block *free;             /* freed by the owner [heap] */
	struct hk_block *free_tail;        /* its last block, when not empty [heap] */
	struct hk_block *mail;             /* freed by others, and collected [heap] */
	hk_unit unit;                      /* first one [const] */
	uint16_t free_blocks, mail_blocks; /* [heap] */
	uint16_t capacity;                 /* [const] */
	uint16_t carved;                   /* blocks that have ever been linked [heap] */
	uint16_t used;                     /* [heap] */
	uint8_t bin, units;                /* [const] */
	uint8_t back;           /* in each unit's record: distance to the first unit's [const] */
	uint8_t flags;          /* HK_SLAB_… [heap] */
	_Atomic uint32_t owner; /* heap id [release under both heaps' locks, any acquire] */
	alignas(64) _Atomic uint64_t remote; /* see remote.h [any rel/acq] */
	struct hk_slab *mail_next;           /* [holder of the token] */
	struct hk_hard_slab *hard;           /* of a hardened slab, see hard_slab.h [const] */
	uint16_t hole_blocks;                /* see holes.h [heap] */
	uint16_t trimmed_at;                 /* `used` when it was trimmed; or UINT16_MAX [heap] */
	uint16_t holes; /* in each unit's record: bit a grain of it that is a hole [heap] */
};
static_assert(sizeof(struct hk_slab) <= 128 && offsetof(struct hk_slab, holes) + 2 <= HK_UNIT_UPPER,
	      "fits the upper part of a unit's record");

enum {
	HK_SLAB_PARTIAL = 1, /* in its class's partial list; else in the full list */
	HK_SLAB_ZERO = 2,    /* the part that is not carved yet is zero */
	HK_SLAB_IDLE = 4,    /* empty, kept by its heap, and counted in D */
	HK_SLAB_HARDENED = 8,
	HK_SLAB_HOLES = 16, /* it may have holes */
};

/* The slab that a unit with a slab's word belongs to. Any thread. */
HK_INLINE struct hk_slab *hk_slab_of(hk_unit unit)
{
	struct hk_slab *s = (struct hk_slab *)(void *)hk_unit_meta(unit)->upper;

	return s->back == 0 ? s : (struct hk_slab *)(void *)hk_unit_meta(unit - s->back)->upper;
}

HK_INLINE char *hk_slab_start(const struct hk_slab *s) { return hk_arena_address(s->unit); }
HK_INLINE size_t hk_slab_block_bytes(const struct hk_slab *s) { return hk_class_size(s->bin); }
/* Bytes of it that have pages: what was carved, and what earlier users of its units have left, less
 * *holes. With the owner heap's lock. */
size_t hk_slab_pages(const struct hk_slab *s, size_t *holes);
/* Something to hand out: in a list, not yet carved, or in a hole. */
HK_INLINE bool hk_slab_has_blocks(const struct hk_slab *s)
{
	return s->free_blocks != 0 || s->mail_blocks != 0 || s->carved < s->capacity ||
	       s->hole_blocks != 0;
}

/* Makes a slab of a run of hk_classes[bin].units units; sets their words. */
struct hk_slab *hk_slab_make(unsigned bin, uint32_t owner, hk_unit unit, bool zero);
/* Sets the words of all units, on a change of owner and in make. */
void hk_slab_set_owner(struct hk_slab *s, uint32_t owner);
/* The words say free again; returns how many of its units may have been touched. used == 0. */
uint32_t hk_slab_unmake(struct hk_slab *s);

/* Moves up to `want` blocks from the slab to the end of `c`; a list that fits is moved whole. When
 * c->tail is NULL afterwards and c is not empty, its end is not known and nothing can be appended. */
void hk_slab_take(struct hk_slab *s, uint32_t want, struct hk_chain *c, const void *caller);
/* A block that was never handed out and is known to be zero, when no freed one is there; or NULL. */
struct hk_block *hk_slab_take_zero(struct hk_slab *s);
/* How far p lies inside its block; 0: it is a block's start. SIZE_MAX: p is in the slab's tail, in no
 * block. Any thread that holds a block of the slab. */
HK_INLINE size_t hk_slab_inside_at(const struct hk_slab *s, uint32_t offset)
{
	return hk_class_inside(s->bin, offset);
}
HK_INLINE size_t hk_slab_inside(const struct hk_slab *s, const void *p)
{
	return hk_slab_inside_at(s, (uint32_t)((const char *)p - hk_slab_start(s)));
}

/* Aborts: `corrupted free list in slab …`. */
HK_COLD HK_NORETURN void hk_slab_die(const struct hk_slab *s, const void *caller);
/* Aborts: b comes back, and more blocks than went out. */
HK_COLD HK_NORETURN void hk_slab_die_put(const struct hk_slab *s, const struct hk_block *b,
					 const void *caller);

/* Takes b, a sealed block of this slab, into the free list. */
HK_INLINE void hk_slab_put(struct hk_slab *s, struct hk_block *b, const void *caller)
{
	if (HK_UNLIKELY(s->used == 0))
		hk_slab_die_put(s, b, caller);
	if (s->free_blocks == 0)
		s->free_tail = b;
	b->link = s->free;
	s->free = b;
	s->free_blocks++;
	s->used--;
	hk_invariant(S1, s->used + s->free_blocks + s->mail_blocks + s->hole_blocks == s->carved);
}

/* Proves S1 … S3, O(blocks). */
void hk_slab_check(const struct hk_slab *s);

#endif
