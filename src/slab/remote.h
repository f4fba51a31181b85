/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_REMOTE_H
#define HK_SLAB_REMOTE_H
/* BOX remote - blocks that other threads free: the remote word, its token, and mailboxes.
 * Owns:       the remote word and mail_next of every slab; mailboxes.
 * Invariants: RM1 a slab is in at most one mailbox
 *             RM2 QUEUED is set exactly while the slab is in a mailbox, or in the hand of the thread
 *                 that pushed or took it (the token)
 *             RM3 only the holder of the token writes mail_next
 * Threads:    push: any. take: under the owner heap's lock.
 * Locks:      none of its own.
 * Fails:      never.
 *
 *   remote   [19..0] head = offset / 16 + 1, 0: empty   [39..20] count   [40] QUEUED
 *
 * Push-only and take-all, so ABA does no harm; no pointer in the word, so no assumption on address
 * bits. */
#include "base/base.h"
#include "slab/slab.h"

#define HK_REMOTE_COUNT_SHIFT 20
#define HK_REMOTE_FIELD       (((uint64_t)1 << HK_REMOTE_COUNT_SHIFT) - 1)
#define HK_REMOTE_QUEUED      ((uint64_t)1 << 40)
static_assert(HK_MiB / HK_BLOCK_ALIGN + 1 <= HK_REMOTE_FIELD, "any block's offset fits");

/* Slabs with mail for one heap. */
struct hk_mailbox {
	struct hk_slab *_Atomic head; /* [any push release, heap's lock take acquire] */
};

HK_INLINE uint32_t hk_remote_count(uint64_t word)
{
	return (uint32_t)(word >> HK_REMOTE_COUNT_SHIFT) & (uint32_t)HK_REMOTE_FIELD;
}

/* Puts `c` (sealed blocks of s that the caller may free, ending anywhere) on the remote word. true:
 * the caller now holds the token, and must push s on its owner's mailbox. */
bool hk_remote_push(struct hk_slab *s, const struct hk_chain *c);
/* Takes list and token together; the blocks become the slab's mail. Returns their number. */
uint32_t hk_remote_take(struct hk_slab *s);
/* Is b on the remote word's list? Under the owner heap's lock, so that nobody takes it. */
bool hk_remote_holds(const struct hk_slab *s, const struct hk_block *b);
/* True when nothing is on its way to s: it may be unmade if it is empty, too. */
bool hk_remote_is_quiet(const struct hk_slab *s);

/* The caller holds the token of s. */
void hk_mailbox_push(struct hk_mailbox *box, struct hk_slab *s);
/* All of it, linked by mail_next; the caller holds their tokens. */
struct hk_slab *hk_mailbox_take(struct hk_mailbox *box);
HK_INLINE bool hk_mailbox_is_empty(const struct hk_mailbox *box)
{
	return atomic_load_explicit(&((struct hk_mailbox *)(uintptr_t)box)->head,
				    memory_order_relaxed) == NULL;
}

#endif
