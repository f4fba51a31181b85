/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* tele: counters of threads add up, also of those that have ended, and of more than have a block. */
#include "base/tele.h"

#include <stdatomic.h>
#include <string.h>

#include "unit.h"

static void names(void)
{
	t_check(strcmp(hk_tele_name(HK_TELE_heap_refill), "heap.refill") == 0);
	t_check(strcmp(hk_tele_meaning(HK_TELE_release_purged), "bytes purged") == 0);
	for (unsigned i = 0; i < HK_TELE_ROWS; i++) {
		t_check_at(strchr(hk_tele_name(i), '.') != NULL, i);
		t_check_at(hk_tele_meaning(i)[0] != '\0', i);
	}
}

static void one_thread(void)
{
	struct hk_tele *mine = hk_tele_here();

	HK_TELE(heap, malloc_fast, 1);
	HK_TELE(heap, malloc_fast, 1);
	HK_TELE(release, purged, 4096);
	t_equal(hk_tele_sum(HK_TELE_heap_malloc_fast), 2);
	t_equal(hk_tele_sum(HK_TELE_release_purged), 4096);
	t_equal(hk_tele_sum(HK_TELE_heap_free_fast), 0);
	t_check(hk_tele_here() == mine);
}

static void *count_a_thousand(void *arg)
{
	for (int i = 0; i < 1000; i++)
		HK_TELE(heap, flush, 1);
	*(struct hk_tele **)arg = hk_tele_here();
	hk_tele_leave();
	return NULL;
}

/* Counts stay when a thread ends, and the next one goes on in its block. */
static void blocks_are_reused(void)
{
	struct hk_tele *first, *block;

	t_join(t_thread(count_a_thousand, &first));
	for (unsigned i = 1; i < 200; i++) {
		t_join(t_thread(count_a_thousand, &block));
		t_check_at(block == first, i);
	}
	t_equal(hk_tele_sum(HK_TELE_heap_flush), 200 * 1000);
}

#define CROWD 80
static _Atomic unsigned arrived;
static _Atomic bool go;

static void *count_in_a_crowd(void *arg)
{
	struct hk_tele *mine = hk_tele_here();

	HK_TELE(heap, send, 1);
	*(struct hk_tele **)arg = mine;
	atomic_fetch_add(&arrived, 1);
	while (!atomic_load(&go))
		t_sleep_ms(1);
	hk_tele_leave();
	return NULL;
}

/* More threads than blocks: the first 64 have one each, the others share one. */
static void crowd_shares_the_last_block(void)
{
	struct hk_tele *block[CROWD];
	pthread_t thread[CROWD];
	unsigned same = 0;

	for (unsigned i = 0; i < CROWD; i++) {
		thread[i] = t_thread(count_in_a_crowd, &block[i]);
		while (atomic_load(&arrived) != i + 1) /* one by one: the shared count is inexact */
			t_sleep_ms(0);
	}
	atomic_store(&go, true);
	for (unsigned i = 0; i < CROWD; i++)
		t_join(thread[i]);
	for (unsigned i = 0; i < CROWD; i++)
		for (unsigned j = 0; j < i; j++)
			same += block[i] == block[j];
	t_equal(same, 16 * 15 / 2);
	t_equal(hk_tele_sum(HK_TELE_heap_send), CROWD);
}

U_MAIN(T_CASE(names), T_CASE(one_thread), T_CASE(blocks_are_reused),
       T_CASE(crowd_shares_the_last_block))
