/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* No false alarm: live blocks that look exactly like free ones (the tag in every word, or a link to
 * another block and the tag) are freed, here and by other threads, and hakmem has nothing to say. */
#include <stdatomic.h>
#include <string.h>

#include "base/config.h"
#include "door.h"
#include "slab/block.h" /* HK_TAG */

#define SLOTS   3000u
#define THREADS 3u

static _Atomic(void *) slot[SLOTS];

static size_t some_size(uint64_t *seed)
{
	size_t r = t_below(seed, 1000);

	if (r < 700)
		return 16 + t_below(seed, 240);
	if (r < 950)
		return 16 + t_below(seed, 3000);
	if (r < 995)
		return 16 + t_below(seed, 100000);
	return 16 + t_below(seed, 2 * T_MiB);
}

/* Makes the whole block look free, in one of several ways. */
static void disguise(void *p, uint64_t *seed)
{
	size_t words = T_USABLE(p) / 8;
	uint64_t *w = p;
	void *other = atomic_load_explicit(&slot[t_below(seed, SLOTS)], memory_order_relaxed);
	unsigned how = (unsigned)t_below(seed, 4);

	if (words > 1024)
		words = 1024;
	for (size_t i = 0; i < words; i++)
		w[i] = HK_TAG;
	for (size_t i = 0; i + 1 < words && how != 0; i += 2)
		w[i] = how == 1   ? (uint64_t)(uintptr_t)other
		       : how == 2 ? (uint64_t)(uintptr_t)p
				  : (uint64_t)(uintptr_t)(w + i + 2);
}

static void *allocate(uint64_t *seed)
{
	size_t n = some_size(seed);
	void *p;

	switch (t_below(seed, 8)) {
	case 0:
		p = T_CALLOC(1, n);
		break;
	case 1:
		p = T_ALIGNED_ALLOC((size_t)16 << t_below(seed, 8), n);
		break;
	default:
		p = T_MALLOC(n);
	}
	t_need(p != NULL);
	disguise(p, seed);
	return p;
}

static void *disguised_blocks(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (size_t i = 0; i < t_scale(400000, 20000); i++) {
		/* The window moves, so that slots are shared by threads at some times only. */
		size_t at = (t_below(&seed, 400) + i / 100 * (arg == NULL ? 1 : 3)) % SLOTS;
		void *p = atomic_exchange(&slot[at], NULL);

		if (p != NULL && t_below(&seed, 20) == 0) {
			p = T_REALLOC(p, some_size(&seed));
			t_need(p != NULL);
			disguise(p, &seed);
		} else {
			T_FREE(p);
			p = allocate(&seed);
		}
		T_FREE(atomic_exchange(&slot[at], p));
	}
	return NULL;
}

static void disguised(void)
{
	pthread_t thread[THREADS];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < THREADS; i++)
			thread[i] = t_thread(disguised_blocks, (void *)(uintptr_t)i);
		for (unsigned i = 0; i < THREADS; i++)
			t_join(thread[i]);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(atomic_exchange(&slot[i], NULL));
}

static void *free_them(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < SLOTS; i++)
		T_FREE(p[i]);
	return NULL;
}

/* Whole slabs of it, all freed by another thread, all handed out again. */
static void remote_batches(void)
{
	static const size_t sizes[] = { 16, 64, 1024, 20000, 100000 };
	static void *p[SLOTS];
	uint64_t seed = 1;

	for (unsigned s = 0; s < T_COUNT(sizes); s++)
		for (unsigned round = 0; round < 5; round++) {
			unsigned count = sizes[s] > 2000 ? 300 : SLOTS;

			memset(p, 0, sizeof(p));
			for (unsigned i = 0; i < count; i++) {
				p[i] = T_MALLOC(sizes[s]);
				t_need(p[i] != NULL);
				disguise(p[i], &seed);
			}
			t_join(t_thread(free_them, p));
		}
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(disguised), T_CASE(remote_batches) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
