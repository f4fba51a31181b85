/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_HELD_BLOCKS_H
#define HK_TESTS_HELD_BLOCKS_H
/* Blocks that a test holds, every byte written, for comparing what the allocator says with what is so: a
 * table of them, and those of eight threads that free each other's. */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define HELD_SLOTS (1u << 21)

static uint64_t held_seed = 20;
static void *held[HELD_SLOTS];
static size_t held_count;

static void *held_take(size_t bytes)
{
	void *p = malloc(bytes);

	t_need(p != NULL);
	return memset(p, 0x5a, malloc_usable_size(p));
}

static void held_fill(size_t bytes, size_t least, size_t most)
{
	for (size_t sum = 0; sum < bytes;) {
		size_t n = least + t_below(&held_seed, most - least + 1);

		t_need(held_count < HELD_SLOTS);
		held[held_count++] = held_take(n);
		sum += n;
	}
}

static void held_free(unsigned percent)
{
	size_t kept = 0;

	for (size_t i = 0; i < held_count; i++) {
		if (t_below(&held_seed, 100) < percent)
			free(held[i]);
		else
			held[kept++] = held[i];
	}
	held_count = kept;
}

static size_t held_usable(void)
{
	size_t sum = 0;

	for (size_t i = 0; i < held_count; i++)
		sum += malloc_usable_size(held[i]);
	return sum;
}

/* ---- Eight threads ---- */

enum { HELD_THREADS = 8, HELD_EACH = 20000 };
static void *held_by[HELD_THREADS][HELD_EACH];
static pthread_t held_thread[HELD_THREADS];
static pthread_barrier_t held_barrier;

static void *held_work(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg, next = (me + 1) % HELD_THREADS;
	uint64_t own = me;

	for (size_t i = 0; i < HELD_EACH; i++) {
		held_by[me][i] = held_take(16 + t_below(&own, 2000));
		if (i % 3 == 0) /* something that stays in the bins */
			free(held_take(16 + t_below(&own, 4000)));
	}
	pthread_barrier_wait(&held_barrier);
	for (size_t i = 0; i < HELD_EACH; i += 2) { /* what the next one has allocated */
		free(held_by[next][i]);
		held_by[next][i] = NULL;
	}
	pthread_barrier_wait(&held_barrier);
	pthread_barrier_wait(&held_barrier); /* main looks */
	return NULL;
}

/* Returns when they have done all that, and wait. */
static void held_start_threads(void)
{
	pthread_barrier_init(&held_barrier, NULL, HELD_THREADS + 1);
	for (size_t i = 0; i < HELD_THREADS; i++)
		held_thread[i] = t_thread(held_work, (void *)(uintptr_t)i);
	pthread_barrier_wait(&held_barrier);
	pthread_barrier_wait(&held_barrier);
}

static void held_end_threads(void)
{
	pthread_barrier_wait(&held_barrier);
	for (size_t i = 0; i < HELD_THREADS; i++)
		t_join(held_thread[i]);
}

static size_t held_by_usable(void)
{
	size_t sum = 0;

	for (size_t t = 0; t < HELD_THREADS; t++)
		for (size_t i = 0; i < HELD_EACH; i++)
			sum += held_by[t][i] != NULL ? malloc_usable_size(held_by[t][i]) : 0;
	return sum;
}

static void held_by_free(void)
{
	for (size_t t = 0; t < HELD_THREADS; t++)
		for (size_t i = 0; i < HELD_EACH; i++)
			free(held_by[t][i]);
}

#endif
