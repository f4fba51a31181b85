/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/lines.h"
#include "heap/heap.h"
#include "superslab/release.h"

/* Mail of one heap above this is collected by the sender, if the owner does not. */
#define HELP_BYTES ((int64_t)(256 * HK_KiB))

static struct hk_heap *owner_of(const struct hk_slab *s)
{
	return hk_heap_by_id(atomic_load_explicit(&((struct hk_slab *)(uintptr_t)s)->owner,
						  memory_order_acquire));
}

static bool wants_help(struct hk_heap *owner)
{
	if (owner == NULL)
		return false;
	return atomic_load_explicit(&owner->state, memory_order_relaxed) == HK_HEAP_PARKED ||
	       atomic_load_explicit(&owner->mail_bytes, memory_order_relaxed) > HELP_BYTES ||
	       hk_release_held() > hk_release_bound();
}

static void note_mail(struct hk_heap *to, int64_t bytes)
{
	HK_LINE_WRITE(mailbox, &to->mail_bytes);
	atomic_fetch_add_explicit(&to->mail_bytes, bytes, memory_order_relaxed);
}

/* Sends `c` to the owner of s, whose heap it returns. Called with h's lock: so a fork never sees a
 * token in a hand that is gone. */
static struct hk_heap *send(struct hk_heap *h, struct hk_slab *s, struct hk_chain *c)
{
	int64_t bytes = (int64_t)(c->count * hk_slab_block_bytes(s));
	/* without the token, s may be gone right after the push */
	struct hk_heap *owner = owner_of(s);

	hk_heap_count_flying(h, bytes);
	if (hk_remote_push(s, c)) {
		owner = owner_of(s);
		hk_mailbox_push(&owner->mailbox, s);
	}
	note_mail(owner, bytes);
	*c = (struct hk_chain)HK_CHAIN_EMPTY;
	HK_TELE(heap, send, 1);
	return owner;
}

static struct hk_heap *send_way(struct hk_heap *h, struct hk_way *way)
{
	struct hk_heap *owner = NULL;

	hk_lock_take(&h->lock);
	if (way->chain.count != 0)
		owner = send(h, way->slab, &way->chain);
	way->slab = NULL;
	hk_lock_drop(&h->lock);
	return owner;
}

void hk_mail_send_all(struct hk_heap *h)
{
	for (uint32_t i = 0; i < HK_WAYS; i++) {
		struct hk_way *way = &h->way[i];

		if (way->chain.count != 0)
			send(h, way->slab, &way->chain);
		way->slab = NULL;
	}
}

/* A block that carries the tag may be free already, or hold a copy of what was once a free block:
 * the owner's lists tell. */
static HK_COLD void confirm(const struct hk_heap *h, struct hk_slab *s, struct hk_block *b,
			    struct hk_offence where)
{
	struct hk_heap *owner = owner_of(s);
	bool listed = false;

	for (uint32_t i = 0; i < HK_WAYS; i++) {
		const struct hk_way *way = &h->way[i];
		const struct hk_block *in = way->chain.head;

		for (uint32_t n = 0; n < way->chain.count && !listed; n++, in = in->link)
			listed = in == b;
	}
	if (!listed) {
		hk_lock_take(&owner->lock);
		/* adopted meanwhile: others' lists are not to be walked, and it is only a hint */
		listed = owner == owner_of(s) && hk_heap_is_listed(s, b);
		hk_lock_drop(&owner->lock);
	}
	if (listed)
		hk_heap_die_already_free(where, b, hk_slab_block_bytes(s));
}

static uint32_t most_of(const struct hk_slab *s)
{
	return (uint32_t)hk_min(HK_WAY_BLOCKS, hk_div_up(HK_WAY_BYTES, hk_slab_block_bytes(s)));
}

void hk_mail_free(struct hk_heap *h, struct hk_slab *s, void *p, struct hk_offence where)
{
	struct hk_block *b = p;
	struct hk_heap *owner = NULL;

	if (HK_UNLIKELY(b->tag == HK_TAG))
		confirm(h, s, b, where);
	if (hk_heap_is_direct(h)) {
		struct hk_chain one = HK_CHAIN_EMPTY;

		hk_chain_push(&one, b);
		hk_lock_take(&h->lock);
		owner = send(h, s, &one);
		hk_lock_drop(&h->lock);
	} else {
		struct hk_way *way = hk_mail_way(h, s->unit);

		if (way->slab != s) {
			if (way->chain.count != 0)
				owner = send_way(h, way);
			way->slab = s;
			way->most = most_of(s);
		}
		hk_chain_push(&way->chain, b);
		if (way->chain.count >= way->most)
			owner = send_way(h, way);
	}
	if (owner != NULL && wants_help(owner)) {
		hk_mail_help(owner);
		hk_heap_pass(h, HK_WAY_BYTES);
	}
}

/* s changed hands while the mail was on its way: passes it on, with the token. */
static void forward(struct hk_heap *to, struct hk_slab *s)
{
	uint64_t word = atomic_load_explicit(&s->remote, memory_order_relaxed);
	int64_t bytes = (int64_t)(hk_remote_count(word) * hk_slab_block_bytes(s));

	note_mail(to, bytes);
	hk_mailbox_push(&to->mailbox, s);
	HK_TELE(heap, forward, 1);
}

/* The mail of one slab, whose token the caller holds. */
static void collect(struct hk_heap *h, struct hk_slab *s)
{
	uint32_t owner = atomic_load_explicit(&s->owner, memory_order_acquire);
	int64_t bytes;

	if (owner != h->id) {
		forward(hk_heap_by_id(owner), s);
		return;
	}
	bytes = (int64_t)(hk_remote_take(s) * hk_slab_block_bytes(s));
	hk_heap_count_out(h, -bytes);
	hk_heap_count_flying(h, -bytes);
	hk_heap_relist_slab(h, s);
	HK_TELE(heap, drain, 1);
}

bool hk_mail_drain(struct hk_heap *h)
{
	struct hk_slab *s = hk_mailbox_take(&h->mailbox), *next;
	bool any = s != NULL;

	for (; s != NULL; s = next) {
		next = s->mail_next; /* before the token goes */
		collect(h, s);
	}
	/* what is counted meanwhile is forgotten: it is an estimate, and so it never drifts */
	if (any)
		atomic_store_explicit(&h->mail_bytes, 0, memory_order_relaxed);
	return any;
}
