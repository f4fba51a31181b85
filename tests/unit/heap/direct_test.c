/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: heaps of the program's own, and the orphan heap: no bins, each operation locked. */
#include "heap_ops.h"

#define COUNT 500

static char *block[COUNT];

static void fill(struct hk_heap *h, size_t n)
{
	for (unsigned i = 0; i < COUNT; i++) {
		block[i] = (char *)hk_direct_take(h, hk_class_bin(n), MALLOC);
		t_need(block[i] != NULL);
		t_fill(block[i], n, i);
	}
}

static void *free_odd(void *arg)
{
	size_t n = (uintptr_t)arg;

	for (unsigned i = 1; i < COUNT; i += 2) {
		t_check_at(t_holds(block[i], n, n, i), i);
		h_free(block[i]); /* there at once: never in a way, never in the mail */
	}
	return NULL;
}

static void any_thread_frees(void)
{
	struct hk_heap *h = hk_heap_make_direct();

	t_need(h != NULL && hk_heap_is_direct(h));
	fill(h, 200);
	t_equal(h->out, COUNT * 208);
	t_equal(atomic_load(&h->blocks_out), COUNT);
	h_in_thread(free_odd, (void *)200);
	t_equal(h->out, COUNT / 2 * 208);
	t_check(hk_mailbox_is_empty(&h->mailbox));
	h_check();
	for (unsigned i = 0; i < COUNT; i += 2)
		h_free(block[i]);
	t_equal(h->out, 0);
	t_check(h->face.bin[hk_class_bin(200)].head == HK_END);
	h_check();
	hk_heap_unmake_direct(h);
	h_check();
}

/* Destroyed with blocks in it: all units go back, and the accounts are as before. */
static void unmake_returns_all(void)
{
	size_t free_units, dirty, bytes = 0;
	uint32_t ids;

	for (unsigned round = 0; round < 20; round++) {
		struct hk_heap *h = hk_heap_make_direct();
		bool zero;

		t_need(h != NULL);
		if (round == 0)
			ids = hk_heap_ids();
		t_equal(hk_heap_ids(), ids); /* the id is used again */
		for (size_t n = 16; n <= HK_CLASS_MAX; n = 3 * n + 5)
			fill(h, n);
		h->spans = hk_span_take(30, 1, false, h->id, &zero);
		h_check();
		hk_heap_unmake_direct(h);
		t_check(h->slabs == 0 && h->warm_units == 0 && h->out == 0 && h->spans == NULL);
		t_equal(atomic_load(&h->state), HK_HEAP_FREE);
		h_check();
		hk_pool_count(&free_units, &dirty);
		t_equal(free_units * HK_UNIT_BYTES, hk_arena_mapped());
		if (round == 0)
			bytes = hk_arena_mapped();
		t_equal(hk_arena_mapped(), bytes);
		h_say_all();
		t_equal(atomic_load(&hk_out), 0);
	}
}

static void free_twice(void *arg)
{
	struct hk_heap *h = hk_heap_make_direct();

	(void)arg;
	fill(h, 64);
	h_free(block[7]);
	h_free(block[7]);
}

/* A tag alone proves nothing. */
static void free_with_tag(void *arg)
{
	struct hk_heap *h = hk_heap_make_direct();

	(void)arg;
	fill(h, 64);
	((struct hk_block *)(void *)block[7])->tag = HK_TAG;
	h_free(block[7]);
}

static void write_after_free(void *arg)
{
	struct hk_heap *h = hk_heap_make_direct();

	(void)arg;
	fill(h, 64);
	h_free(block[7]);
	((struct hk_block *)(void *)block[7])->tag = 1;
	hk_direct_take(h, hk_class_bin(64), MALLOC);
}

static void messages(void)
{
	t_check(u_dies(free_twice, NULL, " (64 bytes) is already free\n"));
	t_check(u_dies(write_after_free, NULL,
		       " (64 bytes) was freed twice or written after free\n"));
	t_check(u_lives(free_with_tag, NULL));
}

static struct hk_heap *common;
static size_t operations;

static void *churn(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	char *live[50] = { NULL };

	for (size_t i = 0; i < operations; i++) {
		char **p = &live[t_below(&seed, 50)];
		size_t n = 16 << t_below(&seed, 6);

		if (*p != NULL) {
			t_check((uintptr_t)*p == *(uintptr_t *)(void *)*p);
			h_free(*p);
			*p = NULL;
			continue;
		}
		*p = (char *)hk_direct_take(common, hk_class_bin(n), MALLOC);
		t_need(*p != NULL);
		*(uintptr_t *)(void *)*p = (uintptr_t)*p;
	}
	for (unsigned i = 0; i < 50; i++)
		if (live[i] != NULL)
			h_free(live[i]);
	return NULL;
}

static void shared_by_threads(void)
{
	pthread_t thread[3];

	operations = t_scale(30000, 2000);
	common = hk_heap_make_direct();
	for (uintptr_t i = 0; i < 3; i++)
		thread[i] = t_thread(churn, (void *)(i + 1));
	churn((void *)7);
	for (unsigned i = 0; i < 3; i++)
		t_join(thread[i]);
	t_equal(common->out, 0);
	h_check();
}

static void orphan(void)
{
	struct hk_heap *h = hk_heap_orphan();

	t_equal(h->id, HK_FIRST_ID);
	t_check(hk_heap_is_direct(h) && hk_heap_by_id(HK_FIRST_ID) == h);
	t_check(hk_heap_orphan() == h && hk_heap_here() != h);
	fill(h, 48);
	h_in_thread(free_odd, (void *)48);
	h_check();
}

U_MAIN(T_CASE(any_thread_frees), T_CASE(unmake_returns_all), T_CASE(messages),
       T_CASE(shared_by_threads), T_CASE(orphan))
