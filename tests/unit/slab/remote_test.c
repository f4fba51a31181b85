/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* remote: the word, its token and mailboxes, by one thread and by several. What can happen between
 * their steps is gone through one by one in token_model_test.c. */
#include "slab/remote.h"

#include "os/lock.h"
#include "superslab/pool.h"
#include "unit.h"

#define OWNER 9u

static struct hk_slab *make(unsigned bin)
{
	struct hk_run run;

	t_need(hk_pool_take(hk_classes[bin].units, 1, HK_WISH_ZERO, &run));
	return hk_slab_make(bin, OWNER, run.unit, false);
}

/* `n` blocks of s, in `parts` chains. */
static void deal(struct hk_slab *s, uint32_t n, struct hk_chain *part, uint32_t parts)
{
	struct hk_chain all = HK_CHAIN_EMPTY;

	for (uint32_t i = 0; i < parts; i++)
		part[i] = (struct hk_chain)HK_CHAIN_EMPTY;
	hk_slab_take(s, n, &all, NULL);
	t_need(all.count == n || all.tail == NULL);
	for (uint32_t i = 0; i < all.count; i++) {
		struct hk_block *b = all.head;

		all.head = b->link;
		hk_chain_push(&part[i % parts], b);
	}
}

static void push_and_take(void)
{
	struct hk_slab *s = make(hk_class_bin(64));
	struct hk_chain part[3];
	struct hk_block *first;

	deal(s, 9, part, 3);
	first = part[0].head;
	t_check(hk_remote_is_quiet(s) && !hk_remote_holds(s, first));
	t_check(hk_remote_push(s, &part[0]));  /* the token */
	t_check(!hk_remote_push(s, &part[1])); /* somebody has it */
	t_check(!hk_remote_is_quiet(s));
	t_check(hk_remote_holds(s, first) && hk_remote_holds(s, part[1].tail));
	t_check(!hk_remote_holds(s, part[2].head));
	t_equal(hk_remote_count(atomic_load(&s->remote)), 6);
	t_equal(s->used, 9); /* used until collected */
	t_equal(hk_remote_take(s), 6);
	t_check(hk_remote_is_quiet(s) && s->used == 3 && s->mail_blocks == 6);
	hk_slab_check(s);
	t_equal(hk_remote_take(s), 0);
	t_check(hk_remote_push(s, &part[2])); /* a new token */
	t_equal(hk_remote_take(s), 3);        /* behind mail that was not opened */
	t_check(s->used == 0 && s->mail_blocks == 9);
	hk_slab_check(s);
}

/* The first and last block of the largest slab have an offset each. */
static void ends_of_slabs(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		struct hk_slab *s = make(bin);
		struct hk_chain part[2];

		deal(s, s->capacity, part, 2);
		t_check_at(hk_remote_push(s, &part[1]), bin);
		t_check_at(!hk_remote_push(s, &part[0]), bin);
		t_equal(hk_remote_take(s), s->capacity);
		hk_slab_check(s);
		t_equal(s->used, 0);
	}
}

static void take_too_many(void *arg)
{
	struct hk_slab *s = make(hk_class_bin(64));
	struct hk_chain part[1];

	(void)arg;
	deal(s, 4, part, 1);
	hk_remote_push(s, &part[0]);
	s->used = 3; /* one of them was freed twice */
	hk_remote_take(s);
}

static void more_than_out_dies(void)
{
	t_check(u_dies(take_too_many, NULL, "corrupted free list in slab 0x"));
}

static void rm1_mailbox(void)
{
	struct hk_mailbox box = { NULL };
	struct hk_slab *s[3], *in;

	t_check(hk_mailbox_is_empty(&box) && hk_mailbox_take(&box) == NULL);
	for (unsigned i = 0; i < 3; i++) {
		s[i] = make(hk_class_bin(64));
		hk_mailbox_push(&box, s[i]);
		t_check(!hk_mailbox_is_empty(&box));
	}
	in = hk_mailbox_take(&box);
	for (unsigned i = 3; i-- > 0; in = in->mail_next)
		t_check_at(in == s[i], i);
	t_check(in == NULL && hk_mailbox_is_empty(&box));
}

/* ---- Several threads ---- */

#define SLABS   6u
#define PUSHERS 3u

static struct hk_slab *slab[SLABS];
static struct hk_chain part[SLABS][PUSHERS];
static struct hk_mailbox mailbox;
static struct hk_lock lock = HK_LOCK_INIT(HK_RANK_HEAP);
static _Atomic bool mailed[SLABS]; /* a token is out */
static _Atomic unsigned started, tokens;
static size_t rounds;

static unsigned index_of(const struct hk_slab *s)
{
	unsigned i = 0;

	while (slab[i] != s)
		i++;
	return i;
}

/* Sends its blocks of each slab in chains of one to four. */
static void *push_all(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	uint64_t seed = me;

	atomic_fetch_add(&started, 1);
	while (atomic_load(&started) < PUSHERS)
		;
	for (unsigned left = SLABS; left != 0;) {
		left = 0;
		for (unsigned i = 0; i < SLABS; i++) {
			struct hk_chain *from = &part[i][me], c = HK_CHAIN_EMPTY;

			for (size_t n = 1 + t_below(&seed, 4); n > 0 && from->count != 0; n--) {
				struct hk_block *b = from->head;

				from->head = b->link;
				from->count--;
				hk_chain_push(&c, b);
			}
			left += from->count != 0;
			if (c.count == 0 || !hk_remote_push(slab[i], &c))
				continue;
			t_check(!atomic_exchange(&mailed[i], true)); /* RM1, RM2: one token */
			atomic_fetch_add(&tokens, 1);
			hk_mailbox_push(&mailbox, slab[i]);
		}
	}
	return NULL;
}

static uint32_t drain(void)
{
	uint32_t sum = 0;
	struct hk_slab *s, *next;

	hk_lock_take(&lock);
	for (s = hk_mailbox_take(&mailbox); s != NULL; s = next) {
		uint32_t count;

		next = s->mail_next;
		t_check(atomic_exchange(&mailed[index_of(s)], false));
		count = hk_remote_take(s);
		t_check(count != 0);
		sum += count;
	}
	hk_lock_drop(&lock);
	return sum;
}

static void rm1_rm2_threads(void)
{
	uint32_t blocks = 0, sent, got;
	size_t drains = 0;

	rounds = t_scale(60, 5);
	for (unsigned i = 0; i < SLABS; i++) {
		slab[i] = make(hk_class_bin(i % 2 ? 64 : 3000));
		blocks += slab[i]->capacity;
	}
	for (size_t round = 0; round < rounds; round++) {
		pthread_t thread[PUSHERS];

		sent = got = 0;
		for (unsigned i = 0; i < SLABS; i++) {
			deal(slab[i], slab[i]->capacity, part[i], PUSHERS);
			for (unsigned j = 0; j < PUSHERS; j++)
				sent += part[i][j].count;
		}
		t_need(sent == blocks);
		atomic_store(&started, 0);
		for (uintptr_t i = 0; i < PUSHERS; i++)
			thread[i] = t_thread(push_all, (void *)i);
		while (got < sent) {
			uint32_t more = drain();

			drains += more != 0;
			got += more;
			if (more == 0)
				hk_os_yield();
		}
		for (unsigned i = 0; i < PUSHERS; i++)
			t_join(thread[i]);
		t_equal(got, sent);
		t_check(hk_mailbox_is_empty(&mailbox));
		for (unsigned i = 0; i < SLABS; i++) {
			t_check(hk_remote_is_quiet(slab[i]) && slab[i]->used == 0);
			hk_slab_check(slab[i]);
		}
	}
	t_check(atomic_load(&tokens) >= rounds * SLABS && drains >= rounds);
}

U_MAIN(T_CASE(push_and_take), T_CASE(ends_of_slabs), T_CASE(more_than_out_dies),
       T_CASE(rm1_mailbox), T_CASE(rm1_rm2_threads))
