/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* lock: excludes, wakes whoever sleeps, and refuses falling ranks in checked builds. Also run over the
 * real futex, where a wake that is lost is a test that hangs. */
#include "os/lock.h"

#include "unit.h"

static struct hk_lock registry = HK_LOCK_INIT(HK_RANK_REGISTRY);
static struct hk_lock heap = HK_LOCK_INIT(HK_RANK_HEAP);
static struct hk_lock other_heap = HK_LOCK_INIT(HK_RANK_HEAP);
static struct hk_lock pool = HK_LOCK_INIT(HK_RANK_POOL);
static struct hk_lock no_rank = HK_LOCK_INIT(HK_RANK_NONE);

static void take_and_drop(void)
{
	t_check(!hk_lock_is_held(&heap));
	hk_lock_take(&heap);
	t_check(hk_lock_is_held(&heap) && !hk_lock_try(&heap));
	hk_lock_drop(&heap);
	t_check(!hk_lock_is_held(&heap) && hk_lock_try(&heap));
	hk_lock_drop(&heap);
	t_equal(atomic_load(&heap.state), 0);
}

static void take_rising(void *arg)
{
	(void)arg;
	hk_lock_take(&registry);
	hk_lock_take(&heap);
	hk_lock_take(&pool);
	hk_lock_drop(&heap); /* in any order */
	hk_lock_drop(&registry);
	hk_lock_drop(&pool);
	hk_lock_take(&heap);
	hk_lock_drop(&heap);
}

static void take_falling(void *arg)
{
	(void)arg;
	hk_lock_take(&pool);
	hk_lock_take(&heap);
}

static void take_equal(void *arg)
{
	(void)arg;
	hk_lock_take(&heap);
	hk_lock_take(&other_heap);
}

static void try_falling(void *arg)
{
	(void)arg;
	hk_lock_take(&heap);
	t_check(hk_lock_try(&other_heap) && hk_lock_try(&registry));
	hk_lock_take(&pool);
	hk_lock_drop(&pool);
	hk_lock_drop(&other_heap);
	hk_lock_drop(&registry);
	hk_lock_drop(&heap);
}

/* What was tried counts: the next one must be above it. */
static void take_below_tried(void *arg)
{
	(void)arg;
	t_check(hk_lock_try(&pool));
	hk_lock_take(&heap);
}

static void take_rankless(void *arg)
{
	(void)arg;
	hk_lock_take(&no_rank);
}

static void drop_free(void *arg)
{
	(void)arg;
	hk_lock_drop(&heap);
}

static void l1_ranks(void)
{
	t_check(u_lives(take_rising, NULL));
	t_check(u_lives(try_falling, NULL));
	if (HK_CHECK_LEVEL == 0) {
		t_check(u_lives(take_falling, NULL)); /* nothing is left of it */
		t_check(u_lives(take_equal, NULL));
		return;
	}
	t_check(u_dies(take_falling, NULL, "L1: lock of rank 3 taken with rank 4 held"));
	t_check(u_dies(take_equal, NULL, "L1: lock of rank 3 taken with rank 3 held"));
	t_check(u_dies(take_below_tried, NULL, "L1: lock of rank 3 taken with rank 4 held"));
	t_check(u_dies(take_rankless, NULL, "l->rank > HK_RANK_NONE"));
	t_check(u_dies(drop_free, NULL, "held[l->rank] > 0"));
}

/* Ranks are a thread's own. */
static void *take_registry(void *arg)
{
	(void)arg;
	hk_lock_take(&registry);
	hk_lock_drop(&registry);
	return NULL;
}

static void l1_is_per_thread(void)
{
	hk_lock_take(&pool);
	t_join(t_thread(take_registry, NULL));
	hk_lock_drop(&pool);
}

#define THREADS 4

static uint64_t shared[2]; /* guarded by `pool`; a plain addition shows two inside */

static void *add_often(void *arg)
{
	size_t n = *(size_t *)arg;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 7) {
			while (!hk_lock_try(&pool))
				hk_os_yield();
		} else {
			hk_lock_take(&pool);
		}
		shared[0]++;
		if (i % 512 == 0)
			t_sleep_ms(0); /* let the others run into it */
		shared[1]++;
		t_check(shared[0] == shared[1]);
		hk_lock_drop(&pool);
	}
	return NULL;
}

static void contention(void)
{
	size_t n = t_scale(30000, 1000);
	pthread_t thread[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		thread[i] = t_thread(add_often, &n);
	for (unsigned i = 0; i < THREADS; i++)
		t_join(thread[i]);
	t_equal(shared[0], THREADS * n);
	t_check(!hk_lock_is_held(&pool));
}

/* All of them wait before the lock is free: each drop must wake the next. */
static void sleepers_wake(void)
{
	size_t n = 1;
	pthread_t thread[THREADS];

	hk_lock_take(&pool);
	for (unsigned i = 0; i < THREADS; i++)
		thread[i] = t_thread(add_often, &n);
	t_sleep_ms(20);
	t_equal(shared[0], 0);
	hk_lock_drop(&pool);
	for (unsigned i = 0; i < THREADS; i++)
		t_join(thread[i]);
	t_equal(shared[0], THREADS);
	t_equal(atomic_load(&pool.state), 0);
}

/* In the child of a fork: held with waiters, whoever they were. */
static void reset(void)
{
	hk_lock_take(&pool);
	atomic_store(&pool.state, 2);
	hk_lock_reset(&pool);
	t_equal(atomic_load(&pool.state), 0);
	hk_lock_take(&heap); /* the reset lock does not count as held */
	hk_lock_drop(&heap);
	hk_lock_reset(&pool);
	t_check(hk_lock_try(&pool));
}

U_MAIN(T_CASE(take_and_drop), T_CASE(l1_ranks), T_CASE(l1_is_per_thread), T_CASE(contention),
       T_CASE(sleepers_wake), T_CASE(reset))
