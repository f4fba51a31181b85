/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_ALL_KINDS_H
#define HK_TESTS_ALL_KINDS_H
/* Blocks of every kind, from small to huge, by every call, in several threads that free each other's,
 * for a process that lives under some restriction. Nothing but what hakmem does makes system calls,
 * while the threads live. */
#include <stdatomic.h>
#include <string.h>

#include "door.h"

#define KINDS_THREADS 3u
#define KINDS_SLOTS   64u

static unsigned kinds_steps = 3000;
static bool kinds_threads_stay; /* for the process's life, and make no system call of their own */

struct kinds_block {
	size_t size;
	uint64_t key;
};

static _Atomic(struct kinds_block *) kinds_slot[KINDS_SLOTS];
static pthread_barrier_t kinds_begin, kinds_end;

static inline size_t kinds_size(uint64_t *seed)
{
	size_t most = (size_t)1 << t_below(seed, 100) * 21 / 100; /* to 1 MiB */

	if (t_below(seed, 500) == 0)
		most = 40 * T_MiB;
	return sizeof(struct kinds_block) + most / 2 + t_below(seed, most);
}

static inline struct kinds_block *kinds_give(size_t size, unsigned how)
{
	struct kinds_block *b;

	if (how == 0)
		b = T_CALLOC(1, size);
	else if (how == 1)
		b = T_ALIGNED_ALLOC(4096, size);
	else
		b = T_MALLOC(size);
	t_need(b != NULL);
	t_check_at(how != 0 || t_is_zero(b, size < 5000 ? size : 5000), size);
	b->size = size;
	b->key = size ^ (uintptr_t)b;
	t_fill(b + 1, size - sizeof(*b), b->key);
	return b;
}

static inline void kinds_take(struct kinds_block *b)
{
	if (b == NULL)
		return;
	t_check_at(t_holds(b + 1, b->size - sizeof(*b), b->size - sizeof(*b), b->key), b->size);
	T_FREE(b);
}

/* Also when it becomes a huge one, and small again. */
static inline void kinds_grow(void)
{
	struct kinds_block *b = kinds_give(100, 2);

	for (size_t size = 200; size < 100 * T_MiB; size = size * 3 + 1) {
		b = T_REALLOC(b, size);
		t_need(b != NULL);
		t_check_at(t_holds(b + 1, b->size - sizeof(*b), b->size - sizeof(*b), b->key),
			   size);
		b->size = size;
		t_fill(b + 1, size - sizeof(*b), b->key);
	}
	b = T_REALLOC(b, 1000);
	t_need(b != NULL);
	T_FREE(b);
}

static inline void kinds_use(uint64_t seed, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		struct kinds_block *b = kinds_give(kinds_size(&seed), (unsigned)t_below(&seed, 8));

		kinds_take(atomic_exchange(&kinds_slot[t_below(&seed, KINDS_SLOTS)], b));
	}
}

static inline void kinds_free(void)
{
	for (unsigned i = 0; i < KINDS_SLOTS; i++)
		kinds_take(atomic_exchange(&kinds_slot[i], NULL));
}

static inline void *kinds_worker(void *arg)
{
	pthread_barrier_wait(&kinds_begin); /* made, with all that libc does for a thread */
	pthread_barrier_wait(&kinds_begin);
	kinds_use((uintptr_t)arg, kinds_steps);
	pthread_barrier_wait(&kinds_end);
	if (kinds_threads_stay)
		pthread_barrier_wait(&kinds_end); /* where nobody else comes */
	return NULL;
}

/* Threads that begin when kinds_run does. */
static inline void kinds_prepare(pthread_t thread[KINDS_THREADS])
{
	pthread_barrier_init(&kinds_begin, NULL, KINDS_THREADS + 1);
	pthread_barrier_init(&kinds_end, NULL, KINDS_THREADS + 1);
	for (uintptr_t i = 0; i < KINDS_THREADS; i++)
		thread[i] = t_thread(kinds_worker, (void *)(i + 1));
	pthread_barrier_wait(&kinds_begin);
}

static inline void kinds_run(void)
{
	pthread_barrier_wait(&kinds_begin);
	kinds_use(99, kinds_steps);
	kinds_grow();
	pthread_barrier_wait(&kinds_end);
	kinds_free();
	T_TRIM();
	kinds_use(7, kinds_steps / 10);
	kinds_free();
}

#endif
