/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: blocks of one thread freed by another: ways, mailbox, help. */
#include "heap_ops.h"

#define MOST 4096

static char *block[MOST];
static size_t blocks;
static struct hk_heap *owner;

static void make_blocks(size_t n, size_t count)
{
	owner = hk_heap_here();
	for (blocks = 0; blocks < count; blocks++) {
		block[blocks] = h_malloc(n);
		t_need(block[blocks] != NULL);
	}
}

static uint32_t in_ways(const struct hk_heap *h, const struct hk_slab *s)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < HK_WAYS; i++) {
		const struct hk_block *in = h->way[i].chain.head;

		for (uint32_t n = 0; n < h->way[i].chain.count; n++, in = in->link)
			t_check(h_slab(in) == h->way[i].slab); /* H7 */
		if (h->way[i].slab == s || s == NULL)
			count += h->way[i].chain.count;
	}
	return count;
}

static void *free_63(void *arg)
{
	struct hk_heap *h = hk_heap_here();
	struct hk_slab *s = h_slab(block[0]);
	uint16_t used = s->used;

	(void)arg;
	t_check(h != owner);
	for (unsigned i = 0; i < 63; i++) {
		h_free(block[i]);
		t_equal(in_ways(h, s), i + 1);
		t_check(hk_remote_is_quiet(s) && s->used == used); /* H7: used there */
	}
	h_free(block[63]); /* sent */
	t_equal(in_ways(h, NULL), 0);
	t_equal(hk_remote_count(atomic_load(&s->remote)), 64);
	t_check(s->used == used && !hk_mailbox_is_empty(&owner->mailbox));
	t_equal(atomic_load(&owner->mail_bytes), 64 * 32);
	h_free(block[64]); /* its way is sent at the thread's end */
	return NULL;
}

static void h7_ways_are_sent(void)
{
	struct hk_slab *s;
	uint16_t used;

	make_blocks(32, 200);
	s = h_slab(block[0]);
	used = s->used;
	t_check(h_slab(block[199]) == s);
	h_in_thread(free_63, NULL);
	t_equal(hk_remote_count(atomic_load(&s->remote)), 65);
	hk_lock_take(&owner->lock);
	t_check(hk_mail_drain(owner) && !hk_mail_drain(owner));
	hk_lock_drop(&owner->lock);
	t_check(s->used == used - 65 && s->mail_blocks == 65);
	t_equal(atomic_load(&owner->mail_bytes), 0);
	h_check();
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
	t_equal(atomic_load(&hk_out), owner->out);
}

static void *free_big_ones(void *arg)
{
	struct hk_heap *h = hk_heap_here();

	(void)arg;
	for (unsigned i = 0; i < 7; i++)
		h_free(block[i]);
	t_equal(in_ways(h, NULL), 7);
	h_free(block[7]); /* 8 x 2 KiB */
	t_equal(in_ways(h, NULL), 0);
	return NULL;
}

static void ways_are_sent_at_16_kib(void)
{
	make_blocks(2048, 32);
	t_check(h_slab(block[0]) == h_slab(block[31]));
	h_in_thread(free_big_ones, NULL);
	h_check();
}

/* Many slabs at once: their ways push each other out. */
static void *free_across(void *arg)
{
	struct hk_heap *h = hk_heap_here();

	(void)arg;
	for (size_t i = 0; i < blocks; i++) {
		h_free(block[i * 61 % blocks]);
		if (i % 64 == 0)
			t_check_at(in_ways(h, NULL) <= HK_WAYS * HK_WAY_BLOCKS, i);
	}
	return NULL;
}

/* Everything comes back, and is handed out again before anything new is mapped. */
static void nothing_is_lost(void)
{
	size_t mapped;

	make_blocks(1024, MOST);
	mapped = hk_arena_mapped();
	for (unsigned round = 0; round < 5; round++) {
		h_in_thread(free_across, NULL);
		h_check();
		make_blocks(1024, MOST);
		h_check();
	}
	t_equal(hk_arena_mapped(), mapped);
	h_in_thread(free_across, NULL);
	hk_lock_take(&owner->lock);
	hk_mail_drain(owner);
	hk_heap_empty(owner);
	hk_lock_drop(&owner->lock);
	t_equal(owner->out, 0);
	t_equal(atomic_load(&owner->mail_bytes), 0);
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
	t_equal(atomic_load(&hk_out), 0);
}

/* An owner that sleeps: its mail is collected by the sender, and never piles up. */
static void *free_much(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < blocks; i++) {
		h_free(block[i]);
		t_check_at(atomic_load(&owner->mail_bytes) <= 257 * (int64_t)T_KiB, i);
	}
	return NULL;
}

static void help_for_a_sleeping_owner(void)
{
	make_blocks(1024, 2048);
	h_in_thread(free_much, NULL);
	t_check(atomic_load(&owner->mail_bytes) <= 256 * (int64_t)T_KiB);
	t_check(owner->out <= 300 * (int64_t)T_KiB);
	h_check();
}

static void *free_first(void *arg)
{
	(void)arg;
	h_free(block[0]);
	return NULL;
}

static void *free_first_twice(void *arg)
{
	free_first(arg);
	((struct hk_block *)(void *)block[0])->tag = HK_TAG; /* as the first free left it */
	return free_first(arg);
}

/* Mine first, then another thread's: the tag is a hint, and the owner's slab the proof. */
static void twice_listed(void *arg)
{
	make_blocks(32, 100);
	if (arg != NULL) {
		h_in_thread(free_first, NULL);
		h_in_thread(free_first, NULL);
		return;
	}
	h_in_thread(free_first_twice, NULL);
}

/* The program copied a free block's bytes: no double free. */
static void tag_in_a_live_block(void *arg)
{
	(void)arg;
	make_blocks(32, 100);
	((struct hk_block *)(void *)block[0])->tag = HK_TAG;
	h_in_thread(free_first, NULL);
}

static void double_free_dies(void)
{
	t_check(u_dies(twice_listed, NULL, " (32 bytes) is already free\n"));      /* in a way */
	t_check(u_dies(twice_listed, (void *)1, " (32 bytes) is already free\n")); /* sent */
	t_check(u_lives(tag_in_a_live_block, NULL));
}

/* ---- Threads that give blocks to each other ---- */

#define THREADS 3
#define SLOTS   512

static _Atomic(void *) slot[SLOTS];
static size_t exchanges;

static void *exchange(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (size_t i = 0; i < exchanges; i++) {
		size_t n = 16 + t_below(&seed, 3) * 500;
		char *p = h_malloc(n), *old;

		t_need(p != NULL);
		((size_t *)(void *)p)[0] = n;
		((size_t *)(void *)p)[1] = (uintptr_t)p;
		old = atomic_exchange(&slot[t_below(&seed, SLOTS)], p);
		if (old == NULL)
			continue;
		t_check(((size_t *)(void *)old)[1] == (uintptr_t)old);
		h_free(old);
	}
	return NULL;
}

static void rm1_h7_threads(void)
{
	exchanges = t_scale(60000, 4000);
	for (unsigned round = 0; round < 3; round++) {
		pthread_t thread[THREADS];

		for (uintptr_t i = 0; i < THREADS; i++)
			thread[i] = t_thread(exchange, (void *)(i + 1));
		exchange((void *)9);
		for (unsigned i = 0; i < THREADS; i++)
			t_join(thread[i]);
		h_check();
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (atomic_load(&slot[i]) != NULL)
			h_free(atomic_load(&slot[i]));
	owner = hk_heap_here();
	hk_lock_take(&owner->lock);
	hk_heap_empty(owner);
	hk_lock_drop(&owner->lock);
	hk_heap_gather(SIZE_MAX); /* drains all */
	hk_heap_gather(SIZE_MAX); /* and what was forwarded */
	h_check();
	for (uint32_t id = HK_FIRST_ID; id < hk_heap_ids(); id++) {
		const struct hk_heap *h = hk_heap_by_id(id);

		t_equal(h->out, 0);
		t_equal(h->slabs, 0);
		t_check(hk_mailbox_is_empty(&h->mailbox));
	}
	h_say_all();
	t_equal(atomic_load(&hk_flying), 0);
	t_equal(atomic_load(&hk_out), 0);
}

U_MAIN(T_CASE(h7_ways_are_sent), T_CASE(ways_are_sent_at_16_kib), T_CASE(nothing_is_lost),
       T_CASE(help_for_a_sleeping_owner), T_CASE(double_free_dies), T_CASE(rm1_h7_threads))
