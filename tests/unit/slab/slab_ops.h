/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_SLAB_OPS_H
#define HK_TESTS_SLAB_OPS_H
/* For tests of slabs: what a chain holds goes to the free list, in its order. */
#include "slab/slab.h"

static inline void u_put_chain(struct hk_slab *s, struct hk_chain *c)
{
	struct hk_chain back = HK_CHAIN_EMPTY;

	for (struct hk_block *b = c->head, *next; c->count != 0; c->count--, b = next) {
		next = b->link;
		hk_chain_push(&back, b);
	}
	for (struct hk_block *b = back.head, *next; back.count != 0; back.count--, b = next) {
		next = b->link;
		hk_slab_put(s, b, NULL);
	}
}

#endif
