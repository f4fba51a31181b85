/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* First-class heaps, and the walk over them. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "door.h"

#define MARK 77

static const size_t kinds[] = { 0,     1,      16,     100,    1024,      1025,
				20000, 100000, 262144, 300000, 3 * T_MiB, 33 * T_MiB };

struct set {
	size_t count, extra;
	struct {
		void *p;
		size_t usable;
		unsigned seen;
	} block[4000];
};
static struct set set;

static void *add(void *p)
{
	t_need(p != NULL && set.count < T_COUNT(set.block));
	set.block[set.count].p = p;
	set.block[set.count].usable = hak_malloc_usable_size(p);
	set.block[set.count++].seen = 0;
	return p;
}

static void drop(void *p)
{
	for (size_t i = 0; i < set.count; i++)
		if (set.block[i].p == p) {
			set.block[i] = set.block[--set.count];
			return;
		}
	t_need(!"a block of the set");
}

static bool tick(const struct hak_block_info *b, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < set.count; i++)
		if (set.block[i].p == b->ptr) {
			set.block[i].seen += set.block[i].usable == b->usable ? 1 : 100;
			return true;
		}
	set.extra++;
	return true;
}

/* The walk finds each block of the set once, and `extra_allowed` or no others. */
static void walk_finds_the_set(hak_heap *heap, bool extra_allowed)
{
	set.extra = 0;
	for (size_t i = 0; i < set.count; i++)
		set.block[i].seen = 0;
	t_check(hak_heap_walk(heap, tick, NULL));
	t_check(extra_allowed || set.extra == 0);
	for (size_t i = 0; i < set.count; i++)
		t_check_at(set.block[i].seen == 1, set.block[i].usable);
}

static void all_kinds(void)
{
	hak_heap *heap = hak_heap_new();

	t_need(heap != NULL);
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		void *p = hak_heap_malloc(heap, kinds[i]), *q = hak_heap_calloc(heap, 1, kinds[i]);
		void *r = hak_heap_aligned_alloc(heap, 256, kinds[i]);

		t_need(p != NULL && q != NULL && r != NULL);
		t_check_at(t_aligned(p, 16) && t_aligned(q, 16) && t_aligned(r, 256), kinds[i]);
		t_check_at(t_is_zero(q, kinds[i]), kinds[i]);
		t_check_at(hak_malloc_usable_size(p) >= kinds[i], kinds[i]);
		t_fill(p, kinds[i], 1);
		t_fill(q, kinds[i], 2);
		t_fill(r, kinds[i], 3);
		t_check_at(t_holds(p, kinds[i], kinds[i], 1), kinds[i]);
		t_check_at(t_holds(q, kinds[i], kinds[i], 2), kinds[i]);
		hak_heap_free(heap, p);
		hak_free(q);
		hak_free_aligned_sized(r, 256, kinds[i]);
	}
	errno = MARK;
	hak_heap_free(heap, NULL);
	t_equal(errno, MARK);
	hak_heap_destroy(heap);
	hak_heap_destroy(NULL);
	t_equal(errno, MARK);
}

static void refusals(void)
{
	hak_heap *heap = hak_heap_new();
	void *p;

	t_need(heap != NULL);
	p = hak_heap_malloc(heap, 100);
	errno = MARK;
	t_check(hak_heap_malloc(heap, t_hide(SIZE_MAX)) == NULL && errno == ENOMEM);
	errno = MARK;
	t_check(hak_heap_calloc(heap, t_hide(SIZE_MAX), 2) == NULL && errno == ENOMEM);
	errno = MARK;
	t_check(hak_heap_realloc(heap, p, t_hide(SIZE_MAX)) == NULL && errno == ENOMEM);
	errno = MARK;
	t_check(hak_heap_aligned_alloc(heap, t_hide(24), 10) == NULL && errno == EINVAL);
	errno = MARK;
	t_check(hak_heap_realloc(heap, p, 0) == NULL && errno == MARK);
	hak_heap_destroy(heap);
}

static void destroy_frees_all(void)
{
	size_t before = t_live();

	for (unsigned round = 0; round < 20; round++) {
		hak_heap *heap = hak_heap_new();

		t_need(heap != NULL);
		for (unsigned i = 0; i < 3000; i++) {
			char *p = hak_heap_malloc(heap, i);

			t_need(p != NULL);
			p[0] = 1;
		}
		for (unsigned i = 0; i < T_COUNT(kinds); i++)
			t_need(hak_heap_malloc(heap, kinds[i]) != NULL);
		t_check(t_live() > before + 40 * T_MiB);
		hak_heap_destroy(heap);
	}
	t_check(t_live() <= before + 64 * T_KiB);
}

static void calloc_is_zero_on_used_memory(void)
{
	hak_heap *heap = hak_heap_new();

	t_need(heap != NULL);
	for (size_t n = 1; n < 40 * T_MiB; n += n / 6 + 1) {
		void *p[3];

		for (unsigned i = 0; i < 3; i++) {
			p[i] = hak_heap_malloc(heap, n);
			t_need(p[i] != NULL);
			memset(p[i], 0xff, hak_malloc_usable_size(p[i]));
		}
		for (unsigned i = 0; i < 3; i++)
			hak_heap_free(heap, p[i]);
		for (unsigned i = 0; i < 3; i++) {
			p[i] = hak_heap_calloc(heap, 1, n);
			t_need(p[i] != NULL);
			t_check_at(t_is_zero(p[i], n), n);
		}
		for (unsigned i = 0; i < 3; i++)
			hak_heap_free(heap, p[i]);
	}
	hak_heap_destroy(heap);
}

static void *free_every_third(void *arg)
{
	void **blocks = arg;

	for (unsigned i = 0; blocks[i] != NULL; i += 3)
		hak_free(blocks[i]);
	return NULL;
}

static void walk_is_exact(void)
{
	static void *blocks[3001];
	hak_heap *heap = hak_heap_new();
	uint64_t seed = 11;

	t_need(heap != NULL);
	set.count = 0;
	walk_finds_the_set(heap, false);
	for (unsigned i = 0; i < 3000; i++) {
		size_t n = t_below(&seed, i % 50 == 0 ? 400000 : 3000);

		blocks[i] = add(i % 4 == 0 ? hak_heap_aligned_alloc(heap, 64, n)
					   : hak_heap_malloc(heap, n));
	}
	walk_finds_the_set(heap, false);
	/* Freed by another thread: visible as soon as free has returned. */
	t_join(t_thread(free_every_third, blocks));
	for (unsigned i = 0; i < 3000; i += 3)
		drop(blocks[i]);
	walk_finds_the_set(heap, false);
	for (unsigned i = 1; i < 3000; i += 3) {
		drop(blocks[i]);
		if (i & 1)
			hak_free(blocks[i]);
		else
			hak_heap_free(heap, blocks[i]);
	}
	walk_finds_the_set(heap, false);
	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		add(hak_heap_malloc(heap, kinds[i]));
	walk_finds_the_set(heap, false);
	hak_heap_destroy(heap);
}

static void realloc_stays_in_the_heap(void)
{
	hak_heap *heap = hak_heap_new(), *other = hak_heap_new();
	void *p, *q;
	size_t from = 10;

	t_need(heap != NULL && other != NULL);
	p = hak_heap_malloc(heap, from);
	for (unsigned i = 0; i < 2 * T_COUNT(kinds) - 1; i++) {
		size_t to = kinds[i < T_COUNT(kinds) ? i : 2 * T_COUNT(kinds) - 2 - i] + 1;

		t_need(p != NULL);
		t_fill(p, from, i);
		p = i & 1 ? hak_realloc(p, to) : hak_heap_realloc(heap, p, to);
		t_need(p != NULL);
		t_check_at(t_holds(p, to, from, i), to);
		from = to;
		set.count = 0;
		add(p);
		walk_finds_the_set(heap, false);
		set.count = 0;
		walk_finds_the_set(other, false);
	}
	q = hak_heap_realloc(other, NULL, 100);
	set.count = 0;
	add(q);
	walk_finds_the_set(other, false);
	hak_heap_destroy(other);
	hak_heap_destroy(heap);
}

struct limited {
	unsigned seen, most;
};

static bool stop_after(const struct hak_block_info *b, void *arg)
{
	struct limited *l = arg;

	t_check(b->ptr != NULL);
	return ++l->seen < l->most;
}

static void walk_stops(void)
{
	hak_heap *heap = hak_heap_new();
	struct limited l = { 0, 7 };

	t_need(heap != NULL);
	for (unsigned i = 0; i < 100; i++)
		t_need(hak_heap_malloc(heap, i * 30) != NULL);
	t_check(!hak_heap_walk(heap, stop_after, &l));
	t_equal(l.seen, 7);
	l = (struct limited){ 0, 1000 };
	t_check(hak_heap_walk(heap, stop_after, &l));
	t_equal(l.seen, 100);
	hak_heap_destroy(heap);
	/* The locks of the walk are given back: */
	hak_free(hak_malloc(5 * T_MiB));
}

static void walk_of_the_process(void)
{
	static void *gone[300];
	hak_heap *heap = hak_heap_new();

	t_need(heap != NULL);
	set.count = 0;
	for (unsigned i = 0; i < 300; i++) {
		add(hak_malloc(i * 10));
		gone[i] = hak_malloc(i * 10);
	}
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		add(hak_malloc(kinds[i]));
		add(hak_heap_malloc(heap, kinds[i]));
	}
	for (unsigned i = 0; i < 300; i++)
		hak_free(gone[i]);
	walk_finds_the_set(NULL, true);
	/* Free blocks in the calling thread's caches are not counted. */
	for (unsigned i = 0; i < 300; i++) {
		bool reused = false;

		for (size_t j = 0; j < set.count; j++)
			reused |= set.block[j].p == gone[i];
		t_check_at(!reused, i);
	}
	for (unsigned i = 0; i < 300; i++)
		set.block[i].p = gone[i];
	t_check(hak_heap_walk(NULL, tick, NULL));
	for (unsigned i = 0; i < 300; i++)
		t_check_at(set.block[i].seen == 1, i); /* still 1: the freed one was not visited */
	hak_heap_destroy(heap);
}

struct crowd {
	hak_heap *heap;
	_Atomic(void *) slot[64];
	_Atomic unsigned turn;
};

static void *in_a_crowd(void *arg)
{
	struct crowd *c = arg;
	uint64_t seed = atomic_fetch_add(&c->turn, 1);

	for (size_t i = 0; i < t_scale(30000, 2000); i++) {
		size_t n = 16 + t_below(&seed, i % 300 == 0 ? 300000 : 2000);
		size_t *p = hak_heap_malloc(c->heap, n);

		t_need(p != NULL);
		p[0] = n;
		memset(p + 1, (int)n & 0xff, n - 8);
		p = atomic_exchange(&c->slot[t_below(&seed, 64)], p);
		if (p == NULL)
			continue;
		t_check_at(((uint8_t *)p)[p[0] - 1] == (p[0] & 0xff), p[0]);
		t_check_at(hak_malloc_usable_size(p) >= p[0], p[0]);
		if (i & 1)
			hak_heap_free(c->heap, p);
		else
			hak_free(p);
	}
	return NULL;
}

static void many_threads_in_one(void)
{
	static struct crowd c;
	size_t before = t_live();
	pthread_t thread[4];

	c.heap = hak_heap_new();
	t_need(c.heap != NULL);
	for (unsigned i = 0; i < 4; i++)
		thread[i] = t_thread(in_a_crowd, &c);
	for (unsigned i = 0; i < 4; i++)
		t_join(thread[i]);
	set.count = 0;
	for (unsigned i = 0; i < 64; i++)
		if (c.slot[i] != NULL)
			add(c.slot[i]);
	walk_finds_the_set(c.heap, false);
	hak_heap_destroy(c.heap);
	t_check(t_live() <= before + 64 * T_KiB);
}

static void *fill_a_heap(void *arg)
{
	hak_heap **heap = arg;

	*heap = hak_heap_new();
	t_need(*heap != NULL);
	for (unsigned i = 0; i < 1000; i++)
		t_need(hak_heap_malloc(*heap, i) != NULL);
	return NULL;
}

static void outlives_its_thread(void)
{
	struct limited l = { 0, 100000 };
	hak_heap *heap;

	t_join(t_thread(fill_a_heap, &heap));
	t_check(hak_heap_walk(heap, stop_after, &l));
	t_equal(l.seen, 1000);
	t_need(hak_heap_malloc(heap, 50) != NULL);
	hak_heap_destroy(heap);
}

static void one_after_another(void)
{
	struct hak_stats early, late;

	for (unsigned i = 0; i < 6000; i++) {
		hak_heap *heap = hak_heap_new();

		t_need(heap != NULL);
		t_need(hak_heap_malloc(heap, 1 + i % 2000) != NULL);
		hak_heap_destroy(heap);
		if (i == 100)
			hak_stats_get(&early);
	}
	hak_stats_get(&late);
	t_check(late.metadata <= early.metadata + 64 * T_KiB);
	t_check(late.mapped <= early.mapped + 16 * T_MiB);
	t_check(late.live <= early.live + 64 * T_KiB);
}

static void many_at_once(void)
{
	enum { N = 1000 };
	static hak_heap *heap[N];
	size_t before = t_live();

	for (unsigned i = 0; i < N; i++) {
		heap[i] = hak_heap_new();
		t_need(heap[i] != NULL);
		for (unsigned j = 0; j < 3; j++)
			t_fill(hak_heap_malloc(heap[i], 64), 64, i);
	}
	for (unsigned i = 0; i < N; i++)
		hak_heap_destroy(heap[(i * 37) % N]);
	t_check(t_live() <= before + 64 * T_KiB);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(all_kinds),           T_CASE(refusals),
		T_CASE(destroy_frees_all),   T_CASE(calloc_is_zero_on_used_memory),
		T_CASE(walk_is_exact),       T_CASE(realloc_stays_in_the_heap),
		T_CASE(walk_stops),          T_CASE(walk_of_the_process),
		T_CASE(many_threads_in_one), T_CASE(outlives_its_thread),
		T_CASE(one_after_another),   T_CASE(many_at_once),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
