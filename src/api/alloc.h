/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_ALLOC_H
#define HK_API_ALLOC_H
/* BOX alloc - the slow half of allocation, by heap.
 * Owns:       the order in which a request is tried.
 * Invariants: A1 (api.h)
 * Threads:    h is the calling thread's heap, or a direct one.
 * Locks:      none held.
 * Fails:      NULL after all caches were given back in vain; errno is the caller's to set. */
#include "heap/heap.h"

/* A block of class `bin`. */
void *hk_alloc_bin(struct hk_heap *h, unsigned bin, const void *caller);
/* A block of `size` > 0 bytes, of whatever kind. */
void *hk_alloc(struct hk_heap *h, size_t size, const void *caller);
/* The same, aligned to a power of two over 16. */
void *hk_alloc_aligned(struct hk_heap *h, size_t alignment, size_t size, const void *caller);
/* Frees what begins at p. */
void hk_free_at(void *p, struct hk_offence where);

#endif
