/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_BLOCK_H
#define HK_SLAB_BLOCK_H
/* BOX block - what a free block looks like, and chains of free blocks.
 * Owns:       the first two words of every free block: seal on push, verify on pop.
 * Invariants: B1 every free block in a list carries HK_TAG in its second word
 *             B2 every list ends at hk_end, whose tag is 0
 * Threads:    a chain belongs to whoever holds it.
 * Locks:      none.
 * Fails:      never; damage is found where blocks are popped or walked. */
#include "base/base.h"
#include "base/config.h" /* HK_BLOCK_ALIGN */

struct hk_block {
	struct hk_block *link;
	uint64_t tag;
};

static_assert(sizeof(struct hk_block) <= HK_BLOCK_ALIGN, "the smallest block holds link and tag");

/* Fits a sign-extended 32-bit immediate, and is no canonical address. */
#define HK_TAG ((uint64_t)(int64_t)(int32_t)0x9E3779B1u)

/* The end of every list. Const: a push onto it would fault at once. */
extern const struct hk_block hk_end;
#define HK_END ((struct hk_block *)(uintptr_t)&hk_end)

/* A list with both ends in hand. head == HK_END when count == 0. */
struct hk_chain {
	struct hk_block *head, *tail;
	uint32_t count;
};

#define HK_CHAIN_EMPTY                                                                             \
	{                                                                                          \
		HK_END, NULL, 0                                                                    \
	}

HK_INLINE void hk_chain_push(struct hk_chain *c, struct hk_block *b)
{
	if (c->count++ == 0)
		c->tail = b;
	b->link = c->head;
	b->tag = HK_TAG;
	c->head = b;
}

/* Appends the list `from` behind `to`; `to->tail` may be unknown (NULL) afterwards only if
 * from->tail is. */
HK_INLINE void hk_chain_append(struct hk_chain *to, const struct hk_chain *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0)
		to->head = from->head;
	else
		to->tail->link = from->head;
	to->tail = from->tail;
	to->count += from->count;
}

#endif
