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
/* By the calling thread, whose heap is h, and which has claimed s. */
void hk_large_free_span(struct hk_heap *h, struct hk_span *s);
/* A hardened one goes into the quarantine of the heap that serves the thread, whose heap it was. */
void hk_large_bury_span(struct hk_span *s, struct hk_offence where);
/* Makes a huge block of one that is not hardened, moving its pages; NULL: refused, and it is as
 * before. */
void *hk_large_promote(struct hk_span *s, size_t size);
/* In place; false: it has to move. */
bool hk_large_resize_span(struct hk_span *s, size_t size);

#endif
