/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/hardened.h"

/* Threads that share a heap share its lock; each heap has slabs and a quarantine of its own. */
#define SHARES_LOG 3

static struct hk_heap *_Atomic share[1 << SHARES_LOG];

/* Threads' fronts lie apart by the size of their stacks, as a rule. */
static unsigned my_share(void)
{
	uint64_t hash = ((uintptr_t)&hk_front >> 6) * 0x9E3779B97F4A7C15u;

	return (unsigned)(hash >> (64 - SHARES_LOG));
}

static HK_NOINLINE struct hk_heap *make_share(unsigned i)
{
	struct hk_heap *h = hk_heap_make_hardened(false), *other = NULL;

	if (h == NULL) { /* any that there is */
		for (i = 0; i < HK_COUNT_OF(share) && h == NULL; i++)
			h = atomic_load_explicit(&share[i], memory_order_acquire);
		return h;
	}
	if (atomic_compare_exchange_strong_explicit(&share[i], &other, h, memory_order_acq_rel,
						    memory_order_acquire))
		return h;
	hk_heap_unmake_direct(h);
	return other;
}

struct hk_heap *hk_hardened_heap(void)
{
	unsigned i = my_share();
	struct hk_heap *h = atomic_load_explicit(&share[i], memory_order_acquire);

	return HK_LIKELY(h != NULL) ? h : make_share(i);
}
