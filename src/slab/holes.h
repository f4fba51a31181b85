/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_HOLES_H
#define HK_SLAB_HOLES_H
/* BOX holes - pages of part-used slabs that were given back, since only free blocks lie in them.
 * Owns:       hk_slab.holes and hole_blocks; made by a trim, and by nothing else.
 * Invariants: HO1 a carved block that begins in a hole is free, zero, and in no list; hole_blocks of
 *                 them are in a slab
 *             HO2 no hole reaches behind the carved blocks, unless all blocks are carved
 * Threads:    under the owner heap's lock.
 * Locks:      none of its own; the kernel is called.
 * Fails:      pages that the kernel does not take are no holes. Aborts when a list is damaged, or a
 *             block in a hole was written to.
 *
 *   | used | free  | free | free  | free  | used |      blocks
 *   |  page   |  page   |  page   |  page   |  page     the second and third are holes: the blocks that
 *                                                       begin there leave the free list
 *
 * A free block holds its link, so a page that it begins in can only go when the block is in no list.
 * When a slab's lists are empty, the blocks of one hole after the other are linked again, before
 * fresh ones are carved. Holes are counted in grains, whatever the page is. Hardened slabs have none:
 * they give back their pages in another way. */
#include "base/base.h"
#include "slab/slab.h"

/* Gives back the pages of a slab in which only free blocks lie; returns their bytes. */
size_t hk_slab_trim(struct hk_slab *s);
/* The blocks of one hole become the free list, which is empty. hole_blocks != 0. */
void hk_holes_open(struct hk_slab *s, const void *caller);
/* The blocks of c, which are about to be handed out, are longer than a grain: grains inside of them will
 * have pages again. */
void hk_holes_fill(struct hk_slab *s, const struct hk_chain *c);
/* p is a block's start, in a hole. */
bool hk_holes_have(const struct hk_slab *s, const void *p);
/* The slab is unmade: its units are told what they lack. */
void hk_holes_forget(const struct hk_slab *s);
/* Bytes of a unit of the slab that are holes. */
size_t hk_holes_bytes(const struct hk_slab *s, uint32_t unit);
/* Proves HO1, HO2; O(blocks). */
void hk_holes_check(const struct hk_slab *s);

#endif
