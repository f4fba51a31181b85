/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_REGISTRY_H
#define HK_SUPERSLAB_REGISTRY_H
/* BOX registry - finds the huge block that an address begins.
 * Owns:       a hash table of huge blocks by address, and the last addresses that left it.
 * Invariants: RG1 an entry is found by its address, by linear probing without gaps
 *             RG2 at most half of the table is used, or seven eighths when it can't grow
 * Threads:    any, under the lock.
 * Locks:      every function is called with HK_RANK_HUGE held (hk_registry_lock), if it does not say
 *             otherwise.
 * Fails:      insert: false when the table can't grow. */
#include "base/base.h"

enum hk_huge_state {
	HK_HUGE_NONE,
	HK_HUGE_LIVE,
	HK_HUGE_RETIRING, /* freed, and in the hand of who freed it */
	HK_HUGE_CACHED,
	HK_HUGE_PURGING, /* cached, and in the hand of who purges it */
};

struct hk_huge {
	uintptr_t address; /* of the mapping, and of the block */
	size_t bytes;      /* of the mapping */
	uint32_t owner;    /* id of a first-class heap, or 0 */
	uint8_t state;     /* enum hk_huge_state */
	bool zero;         /* cached: every byte is zero */
	bool dirty;        /* cached: counted in D */
	bool hardened;     /* it has a tail (slab/harden.h); cached: in quarantine, not for use */
	uint64_t since;    /* cached: coarse ns of the free, or of the purge */
};

/* False: there is no huge block at all. Without the lock. */
bool hk_registry_is_used(void);

void hk_registry_lock(void);
void hk_registry_unlock(void);
void hk_registry_reset(void);
/* For fork: takes the lock, and waits until no range is being unmapped. */
void hk_registry_lock_settled(void);
/* A range that has just left the registry is going to be unmapped, without the lock; then it is. */
void hk_registry_note_leaving(void);
void hk_registry_note_gone(void); /* without the lock */

/* NULL when there is none. The pointer is good until the next insert or remove. */
struct hk_huge *hk_registry_find(const void *p);
/* The entry that p lies inside of, by a walk over all; for messages. */
struct hk_huge *hk_registry_around(const void *p);
bool hk_registry_insert(const struct hk_huge *entry);
/* `bury`: the address was unmapped, and is remembered as freed for a while. */
void hk_registry_remove(struct hk_huge *entry, bool bury);
/* Bytes of a block at p that was unmapped not long ago; 0: not known. */
size_t hk_registry_was(const void *p);
/* Calls fn for each entry until it returns true, and returns that entry, or NULL. fn must not insert
 * or remove. */
struct hk_huge *hk_registry_each(bool (*fn)(struct hk_huge *entry, void *arg), void *arg);

#endif
