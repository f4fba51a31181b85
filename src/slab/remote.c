/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "slab/remote.h"

#include "base/lines.h"

static uint64_t head_field(const struct hk_slab *s, const struct hk_block *block)
{
	return ((uintptr_t)block - (uintptr_t)hk_slab_start(s)) / HK_BLOCK_ALIGN + 1;
}

static struct hk_block *head_block(const struct hk_slab *s, uint64_t word)
{
	uint64_t head = word & HK_REMOTE_FIELD;

	if (head == 0)
		return HK_END;
	return (struct hk_block *)(void *)(hk_slab_start(s) + (head - 1) * HK_BLOCK_ALIGN);
}

bool hk_remote_push(struct hk_slab *s, const struct hk_chain *c)
{
	uint64_t old = atomic_load_explicit(&s->remote, memory_order_relaxed);
	uint64_t word;

	do {
		c->tail->link = head_block(s, old);
		word = head_field(s, c->head) | HK_REMOTE_QUEUED |
		       (uint64_t)(hk_remote_count(old) + c->count) << HK_REMOTE_COUNT_SHIFT;
	} while (!atomic_compare_exchange_weak_explicit(
		&s->remote, &old, word, memory_order_acq_rel, memory_order_relaxed));
	HK_LINE_WRITE(remote, &s->remote);
	return (old & HK_REMOTE_QUEUED) == 0;
}

uint32_t hk_remote_take(struct hk_slab *s)
{
	uint64_t word = atomic_exchange_explicit(&s->remote, 0, memory_order_acq_rel);
	uint32_t count = hk_remote_count(word);
	struct hk_block *last;

	HK_LINE_WRITE(remote, &s->remote);
	if (count == 0)
		return 0;
	if (HK_UNLIKELY(count > s->used))
		hk_slab_die(s, NULL);
	if (s->mail_blocks != 0) {
		/* rare: mail that was not handed out yet goes behind what has come */
		last = head_block(s, word);
		while (last->link != HK_END)
			last = last->link;
		last->link = s->mail;
	}
	s->mail = head_block(s, word);
	s->mail_blocks = (uint16_t)(s->mail_blocks + count);
	s->used = (uint16_t)(s->used - count);
	return count;
}

bool hk_remote_holds(const struct hk_slab *s, const struct hk_block *b)
{
	uint64_t word = atomic_load_explicit(&((struct hk_slab *)(uintptr_t)s)->remote,
					     memory_order_acquire);
	const struct hk_block *in = head_block(s, word);

	for (uint32_t i = 0; i < hk_remote_count(word) && in != HK_END; i++, in = in->link) {
		if (in == b)
			return true;
	}
	return false;
}

bool hk_remote_is_quiet(const struct hk_slab *s)
{
	return atomic_load_explicit(&((struct hk_slab *)(uintptr_t)s)->remote,
				    memory_order_acquire) == 0;
}

void hk_mailbox_push(struct hk_mailbox *box, struct hk_slab *s)
{
	struct hk_slab *head = atomic_load_explicit(&box->head, memory_order_relaxed);

	do {
		s->mail_next = head;
	} while (!atomic_compare_exchange_weak_explicit(&box->head, &head, s, memory_order_release,
							memory_order_relaxed));
	HK_LINE_WRITE(mailbox, &box->head);
}

struct hk_slab *hk_mailbox_take(struct hk_mailbox *box)
{
	if (hk_mailbox_is_empty(box))
		return NULL;
	HK_LINE_WRITE(mailbox, &box->head);
	return atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
}
