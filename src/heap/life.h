/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_HEAP_LIFE_H
#define HK_HEAP_LIFE_H
/* BOX life - how threads get heaps and leave them; what heap.c, life.c and fork.c need of each other.
 * Owns:       the protocol between the table of heaps (heap.c) and the threads (life.c).
 * Invariants: H6 (heap.h)
 * Threads:    as each function says.
 * Locks:      REGISTRY inside, where a function does not ask for it.
 * Fails:      claim: NULL when memory or ids run out. */
#include "heap/heap.h"

/* The most recently parked heap, or a new one, RUNNING for the calling thread, its front open. */
struct hk_heap *hk_heap_claim(void);
/* A heap that has just been set PARKED goes on the stack. */
void hk_heap_disclaim(struct hk_heap *h);

/* The thread's words for heap `id`. set: both shared ones, by any thread with the registry's lock.
 * open, close: all of the calling thread's; closed, the orphan heap serves it. */
void hk_heap_set_front(struct hk_front *front, uint32_t id, bool starved);
void hk_heap_open_front(struct hk_heap *h, bool starved);
void hk_heap_close_front(struct hk_heap *orphan);

/* The table of heaps, for walks over parked heaps and for fork. */
void hk_heap_table_lock(void);
bool hk_heap_table_try(void);
void hk_heap_table_unlock(void);
void hk_heap_table_reset(void);
struct hk_heap *hk_heap_first_parked(void);

/* Says what there is to adopt from h, which is PARKED and on the stack. With h's lock. */
void hk_heap_publish_parked(struct hk_heap *h);

/* In the child of a fork, with every lock held: heaps of threads that are gone become parked. true:
 * there is a thread heap besides `mine`. */
bool hk_heap_disown_others(const struct hk_heap *mine);
/* One of them: its thread stopped at any instruction. */
void hk_heap_freeze(struct hk_heap *h);

#endif
