/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_HARD_SLAB_H
#define HK_SLAB_HARD_SLAB_H
/* BOX hard_slab - a slab whose blocks are hardened: its own record says which are out.
 * Owns:       struct hk_hard_slab; the guard page at the slab's end.
 * Invariants: HD2 no block is both out and ready, and none is either that was not carved; as many are
 *                 ready as free_blocks says; the slab's lists are empty
 *             HD3 a block that is not out is zero, or fresh
 * Threads:    under the owner heap's lock; hk_hard_slab_is_out from any thread.
 * Locks:      none of its own.
 * Fails:      NULL when there is no memory for a record; damage is reported to the caller.
 *
 *   block    carved -> ready -> out -> (neither: in quarantine) -> ready …
 *
 * Nothing is kept in a free block: there is no link that a program could damage, read or forge. A
 * block is taken at random among those that are ready, and carved are some 16 KiB at a time. The end
 * of the slab is a guard page, where the kernel has guards and the page is a sixteenth of the slab
 * or less. */
#include "base/base.h"
#include "slab/harden.h"
#include "slab/slab.h"

struct hk_hard_slab {
	struct hk_hard_slab *next; /* in a list of spare ones [heap] */
	uint64_t fresh;            /* of up to 64 blocks: carved, and never handed out [heap] */
	uint32_t words;            /* room in each of the maps [const] */
	uint32_t out;              /* blocks that are [heap] */
	uint32_t freed;          /* since the slab's pages were given back, or it was made [heap] */
	bool guarded;            /* [heap] */
	_Atomic uint64_t bits[]; /* two maps: out, then ready [heap writes, any reads] */
};

/* Records that are not in use, by size: 1, 2, 4 … 64 words. A heap's own. */
struct hk_hard_spares {
	struct hk_hard_slab *list[7];
};

/* A record for a slab of class `bin`; NULL: no memory. */
struct hk_hard_slab *hk_hard_slab_record(struct hk_hard_spares *spares, unsigned bin);
void hk_hard_slab_spare(struct hk_hard_spares *spares, struct hk_hard_slab *record);

/* Makes s, which has just been made, a hardened one. */
void hk_hard_slab_make(struct hk_slab *s, struct hk_hard_slab *record);
/* The opposite, before hk_slab_unmake; returns the record. used is 0, or does not matter. */
struct hk_hard_slab *hk_hard_slab_unmake(struct hk_slab *s);

HK_INLINE size_t hk_hard_slab_usable(const struct hk_slab *s)
{
	return hk_slab_block_bytes(s) - HK_CANARY_BYTES;
}
/* p: a block's start. Without the lock it is right for who holds the block, and a guess for others. */
bool hk_hard_slab_is_out(const struct hk_slab *s, const void *p);

/* A block that is out from now on, with its canary, else zero. The slab has blocks. *intact: nobody
 * wrote to it while it was free. */
void *hk_hard_slab_take(struct hk_slab *s, uint64_t *random, bool *intact);
/* p, which is out, is so no more, and zero. Counts as used still. */
void hk_hard_slab_retire(struct hk_slab *s, void *p);
/* p comes out of quarantine, and may be taken. */
void hk_hard_slab_settle(struct hk_slab *s, const void *p);
/* No block is out, and about half as many were freed as there are: its pages, all of them zero, may
 * be given back although blocks of it are in quarantine. */
HK_INLINE bool hk_hard_slab_is_spent(const struct hk_slab *s)
{
	return s->hard->out == 0 && s->hard->freed >= s->carved / 2;
}
/* Nothing was taken from it since its pages were given back. */
HK_INLINE bool hk_hard_slab_is_purged(const struct hk_slab *s)
{
	return s->hard->out == 0 && s->hard->freed == 0;
}
/* Gives them back; it is not spent again before as many more were freed. */
void hk_hard_slab_purge(struct hk_slab *s);
/* A free block that somebody wrote to, or NULL. */
void *hk_hard_slab_find_damage(const struct hk_slab *s);
/* Verifies the canaries of all blocks that are out. */
void hk_hard_slab_verify(const struct hk_slab *s, struct hk_offence where);

/* Proves HD2; O(blocks). */
void hk_hard_slab_check(const struct hk_slab *s);

#endif
