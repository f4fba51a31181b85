/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* lines: writes to shared words are counted where they are made, and a line moves when another thread
 * wrote to it last. */
#include "base/lines.h"

#include "heap_ops.h"

#define FIRST HK_TELE_lock_own_heap
#define END   (HK_TELE_wait_meta + 1)

static uint64_t before[END - FIRST];

static void start(void)
{
	for (unsigned i = FIRST; i < END; i++)
		before[i - FIRST] = hk_tele_sum((enum hk_tele_row)i);
}

/* How often, since start(). */
static uint64_t since(enum hk_tele_row row) { return hk_tele_sum(row) - before[row - FIRST]; }
#define SINCE(name) since(HK_TELE_##name)

/* Of all rows but those named, with a 0 behind them: nothing has been counted. */
static void check_rest(const enum hk_tele_row *named)
{
	for (unsigned i = FIRST; i < END; i++) {
		bool is_named = false;

		for (unsigned n = 0; named[n] != 0; n++)
			is_named |= named[n] == i;
		if (!is_named)
			t_equal(since((enum hk_tele_row)i), 0);
	}
}
#define CHECK_REST(...) check_rest((const enum hk_tele_row[]){ __VA_ARGS__ 0 })

/* ---- Lines ---- */

static alignas(64) uint32_t word[48]; /* three lines */

static void *write_one(void *arg)
{
	HK_LINE_WRITE(remote, arg);
	return NULL;
}

static void lines_move(void)
{
	start();
	write_one(&word[0]);
	write_one(&word[0]);
	t_equal(SINCE(word_remote), 2);
	t_equal(SINCE(moved_remote), 0);
	h_in_thread(write_one, &word[0]);
	t_equal(SINCE(moved_remote), 1);
	write_one(&word[15]); /* the same line */
	t_equal(SINCE(moved_remote), 2);
	write_one(&word[0]);
	write_one(&word[16]);              /* nobody's */
	h_in_thread(write_one, &word[32]); /* nor this */
	t_equal(SINCE(word_remote), 7);
	t_equal(SINCE(moved_remote), 2);
	CHECK_REST(HK_TELE_word_remote, HK_TELE_moved_remote, );
}

/* ---- Locks ---- */

static struct hk_lock own = HK_LOCK_INIT(HK_RANK_HEAP), other = HK_LOCK_INIT(HK_RANK_HEAP);

static void *take(void *arg)
{
	hk_lock_take(arg);
	hk_lock_drop(arg);
	return NULL;
}

static void *try_in_vain(void *arg)
{
	t_check(!hk_lock_try(arg));
	return NULL;
}

static void locks(void)
{
	static struct hk_lock ranked[HK_RANKS];

	hk_lock_call_own(&own);
	start();
	take(&own);
	take(&own);
	h_in_thread(take, &own); /* there it is another's */
	take(&other);
	hk_lock_take(&other);
	h_in_thread(try_in_vain, &other);
	hk_lock_drop(&other);
	t_equal(SINCE(lock_own_heap), 2);
	t_equal(SINCE(lock_other_heap), 4);
	for (unsigned rank = HK_RANK_REGISTRY; rank < HK_RANKS; rank++) {
		ranked[rank].rank = rank;
		take(&ranked[rank]);
	}
	t_equal(SINCE(lock_table), 1);
	t_equal(SINCE(lock_other_heap), 5);
	t_equal(SINCE(lock_pool), 1);
	t_equal(SINCE(lock_huge), 1);
	t_equal(SINCE(lock_meta), 1);
	t_equal(SINCE(wait_other_heap), 0);
}

static _Atomic bool held;

static void *hold_until_waited(void *arg)
{
	hk_lock_take(arg);
	atomic_store(&held, true);
	while (SINCE(wait_own_heap) + SINCE(wait_other_heap) == 0)
		t_sleep_ms(1);
	hk_lock_drop(arg);
	return NULL;
}

static void waits(void)
{
	pthread_t thread;

	hk_lock_call_own(&own);
	start();
	thread = t_thread(hold_until_waited, &own);
	while (!atomic_load(&held))
		t_sleep_ms(1);
	take(&own);
	t_join(thread);
	t_equal(SINCE(wait_own_heap), 1);
	t_equal(SINCE(wait_other_heap), 0);
	t_equal(SINCE(lock_own_heap), 1);
	t_equal(SINCE(moved_own_heap), 1);
}

/* ---- Heaps ---- */

static void *block[64];

static void *free_all(void *arg)
{
	(void)arg;
	hk_heap_here(); /* is born before */
	start();
	for (unsigned i = 0; i < 64; i++)
		h_free(block[i]);
	return NULL;
}

/* A chain of blocks: the sender's own lock, the slab's word, its owner's mailbox and its count. */
static void send_and_drain(void)
{
	struct hk_heap *h = hk_heap_here();

	for (unsigned i = 0; i < 64; i++)
		block[i] = h_malloc(32);
	h_in_thread(free_all, NULL);
	t_equal(SINCE(word_remote), 1);
	t_equal(SINCE(moved_remote), 0); /* nobody had written to it */
	t_equal(SINCE(word_mailbox), 2);
	start();
	hk_lock_take(&h->lock);
	t_check(hk_mail_drain(h));
	hk_lock_drop(&h->lock);
	t_equal(SINCE(lock_own_heap), 1);
	t_equal(SINCE(word_remote), 1);
	t_equal(SINCE(moved_remote), 1);
	t_equal(SINCE(word_mailbox), 1);
	t_equal(SINCE(moved_mailbox), 1);
	CHECK_REST(HK_TELE_lock_own_heap, HK_TELE_word_remote, HK_TELE_moved_remote,
		   HK_TELE_word_mailbox, HK_TELE_moved_mailbox, );
}

/* The accounts, each where it is written. */
static void accounts(void)
{
	struct hk_run run;

	start();
	hk_granted_add(1);
	hk_dirty_add(1);
	t_equal(SINCE(word_held), 2);
	hk_out_add(1);
	hk_flying_add(1);
	t_equal(SINCE(word_live), 2);
	CHECK_REST(HK_TELE_word_held, HK_TELE_word_live, );
	start();
	t_need(hk_pool_take(2, 1, HK_WISH_ANY, &run));
	t_equal(SINCE(lock_pool), 1);
	t_check(SINCE(word_map) > 0);
	t_equal(SINCE(word_remote), 0);
}

/* D is told once of a visit to the pool, however many runs were cut and joined. */
static void pool_tells_once(void)
{
	struct hk_run run;

	t_need(hk_pool_take(8, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 8, 8);
	start();
	t_need(hk_pool_take(2, 1, HK_WISH_ANY, &run));
	t_equal(SINCE(word_held), 1);
	hk_pool_give(run.unit, 2, 2);
	t_equal(SINCE(word_held), 2);
	t_equal(atomic_load(&hk_dirty), 8 * HK_UNIT_BYTES);
}

/* Grants are told in steps of a 64th of the bound, and what is left at the end. */
static void grants_are_told_in_steps(void)
{
	struct hk_heap *h = hk_heap_here();
	int64_t step = (int64_t)hk_option(HK_OPT_BOUND) / 64, told = atomic_load(&hk_granted);

	h->granted_unsaid = 0;
	start();
	hk_heap_count_granted(h, step - 1);
	hk_heap_count_granted(h, -step);
	t_equal(SINCE(word_held), 0);
	hk_heap_count_granted(h, step + 1);
	t_equal(SINCE(word_held), 1);
	t_equal(atomic_load(&hk_granted), told + step);
	hk_heap_count_granted(h, -1);
	hk_heap_say_all(h);
	hk_heap_say_all(h);
	t_equal(SINCE(word_held), 2);
	t_equal(atomic_load(&hk_granted), told + step - 1);
}

/* What most of a program's calls do: no word that others see. */
static void fast_paths_share_nothing(void)
{
	for (unsigned i = 0; i < 64; i++)
		block[i] = h_malloc(32);
	for (unsigned i = 0; i < 8; i++)
		h_free(block[i]);
	start();
	for (unsigned round = 0; round < 1000; round++) {
		for (unsigned i = 0; i < 8; i++)
			block[i] = h_malloc(32);
		for (unsigned i = 0; i < 8; i++)
			h_free(block[i]);
	}
	CHECK_REST();
}

U_MAIN(T_CASE(lines_move), T_CASE(locks), T_CASE(waits), T_CASE(send_and_drain), T_CASE(accounts),
       T_CASE(pool_tells_once), T_CASE(grants_are_told_in_steps), T_CASE(fast_paths_share_nothing))
