/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_HARDENED_H
#define HK_API_HARDENED_H
/* BOX hardened - which heap serves a request, in hardened mode and else.
 * Owns:       the hardened heaps that threads share.
 * Invariants: M2 in hardened mode a request is served by a hardened heap, or not at all; but for one
 *                made to a first-class heap from before
 * Threads:    any. A thread keeps to one of the shared heaps, chosen by where its front lies.
 * Locks:      none held; making a heap takes REGISTRY.
 * Fails:      NULL when there is no memory for the first heap.
 *
 * Hardened is a property of heaps, and so of slabs, spans and huge blocks, not of the moment: what was
 * allocated before the mode was switched on or off is freed as what it is. */
#include "api/mode.h"
#include "heap/heap.h"
#include "slab/harden.h"

/* The shared hardened heap of the calling thread. */
struct hk_heap *hk_hardened_heap(void);

/* The heap that serves requests to h, the calling thread's or a direct one, in the mode of now. */
HK_INLINE struct hk_heap *hk_serving_heap(struct hk_heap *h)
{
	if (hk_mode() == HK_MODE_HARDENED && !hk_heap_is_first_class(h))
		return hk_hardened_heap();
	return h;
}

/* Bytes that a small block of h has behind what the caller may use. */
HK_INLINE size_t hk_heap_tail(const struct hk_heap *h) { return h->hardened ? HK_CANARY_BYTES : 0; }

#endif
