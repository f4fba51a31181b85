/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_LARGE_H
#define HK_API_LARGE_H
/* BOX large - blocks that no class holds: spans, and above 32 MiB huge ones.
 * Owns:       the choice between span and huge; spans of first-class heaps.
 * Invariants: LG1 a first-class heap's spans are in its list, under its lock
 * Threads:    any.
 * Locks:      takes the lock of a first-class heap, POOL and HUGE, one after the other.
 * Fails:      NULL; the heap is as before. errno is the caller's to set. */
#include "heap/heap.h"

/* 0 < size; align: a power of two. h: the calling thread's heap, or a first-class heap. */
void *hk_large_alloc(struct hk_heap *h, size_t size, size_t align, bool want_zero);
/* By the calling thread, whose heap is h. */
void hk_large_free_span(struct hk_heap *h, struct hk_span *s, struct hk_offence where);
/* In place; false: it has to move. */
bool hk_large_resize_span(struct hk_span *s, size_t size);

#endif
