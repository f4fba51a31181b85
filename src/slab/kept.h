/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_KEPT_H
#define HK_SLAB_KEPT_H
/* BOX kept - which address ranges of freed huge blocks are kept for the next ones.
 * Owns:       the list of their addresses; what they are is in the registry.
 * Invariants: KE1 every listed address has an entry in the registry, which is not live
 *             KE2 what is listed is at most HUGE_KEEP, in at most HK_HUGE_RANGES ranges
 * Threads:    any, under the lock.
 * Locks:      every function is called with HK_RANK_HUGE held (hk_registry_lock).
 * Fails:      never. */
#include "base/base.h"
#include "superslab/registry.h"

#define HK_HUGE_RANGES 16u

/* KE2 would hold with e in the list. */
bool hk_kept_has_room(const struct hk_huge *e);
bool hk_kept_has(const struct hk_huge *e);
void hk_kept_add(const struct hk_huge *e);
void hk_kept_remove(const struct hk_huge *e);

/* The smallest cached range that fits; none in quarantine. NULL: there is none, here and below. */
struct hk_huge *hk_kept_find(size_t bytes, size_t align);
/* The first cached one; the first that is dirty, since `until` or longer. */
struct hk_huge *hk_kept_first(void);
struct hk_huge *hk_kept_dirty(uint64_t until);
/* One that is in quarantine, by lot. */
struct hk_huge *hk_kept_draw(void);

/* e is about to be used again: tells the release policy, as for units of the pool. */
void hk_kept_note_refault(const struct hk_huge *e);

#endif
