/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* heap: what a heap gives up with time, what is taken back from threads that sleep, and what they can
 * keep. */
#include "base/options.h"
#include "heap_ops.h"
#include "superslab/tick.h"

#define MOST 40000u

static void *block[MOST];

/* Takes `count` blocks of n bytes, and frees them in another order. */
static void swing(size_t n, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		block[i] = h_malloc(n);
		t_need(block[i] != NULL);
	}
	for (size_t i = 0; i < count; i++)
		h_free(block[i * 7919 % count]);
}

static void age(struct hk_heap *h)
{
	hk_lock_take(&h->lock);
	hk_heap_age(h);
	hk_lock_drop(&h->lock);
}

static void bins_that_idle_give_up(void)
{
	struct hk_heap *h = hk_heap_here();
	size_t granted;

	for (unsigned i = 0; i < 6; i++)
		swing(64, 4000);
	age(h); /* it was in use */
	granted = h->granted;
	t_check(granted >= 8 * T_KiB);
	for (unsigned i = 0; i < 4; i++)
		age(h);
	t_check_at(h->granted <= granted / 16, h->granted);
	for (unsigned i = 0; i < 20; i++)
		age(h);
	t_equal(h->granted, 0);
	h_check();
}

static void cache_span(struct hk_heap *h, uint32_t units)
{
	bool zero;
	struct hk_span *s = hk_span_take(units, 1, false, 0, &zero);
	size_t gave;

	t_need(s != NULL && hk_span_claim(s));
	t_need(hk_bigcache_push(&h->bigcache, s, &gave));
}

static void grant(struct hk_heap *h, uint32_t units)
{
	hk_lock_take(&h->lock);
	hk_heap_grant_bigcache(h, units);
	hk_lock_drop(&h->lock);
}

static void bigcache_out_of_use(void)
{
	struct hk_heap *h = hk_heap_here();
	struct hk_span *s;

	grant(h, 40);
	cache_span(h, 16);
	cache_span(h, 16);
	s = hk_bigcache_pop(&h->bigcache, 16);
	t_need(s != NULL);
	age(h); /* it was in use */
	t_check(h->bigcache.limit == 40 && h->bigcache.count == 1);
	age(h);
	t_check(h->bigcache.limit == 0 && h->bigcache.count == 0);
	grant(h, 40);
	cache_span(h, 16);
	t_need(hk_bigcache_pop(&h->bigcache, 15) != NULL);
	t_equal(hk_option_set("BIGCACHE_L25", "0"), 0);
	age(h);
	t_equal(h->bigcache.limit, 0);
	h_check();
}

/* ---- Threads that sleep ---- */

#define SLEEPERS 12u

static pthread_barrier_t ready, over;
static struct hk_heap *heap_of[SLEEPERS];

static void *sleep_with_bigcache(void *arg)
{
	uintptr_t me = (uintptr_t)arg;

	heap_of[me] = hk_heap_here();
	grant(heap_of[me], 10000);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&over);
	return NULL;
}

static void start_sleepers(pthread_t thread[], unsigned count, void *(*fn)(void *))
{
	t_need(pthread_barrier_init(&ready, NULL, 2) == 0);
	t_need(pthread_barrier_init(&over, NULL, count + 1) == 0);
	for (unsigned i = 0; i < count; i++) { /* one after the other */
		thread[i] = t_thread(fn, (void *)(uintptr_t)i);
		pthread_barrier_wait(&ready);
	}
}

static void end_sleepers(pthread_t thread[], unsigned count)
{
	pthread_barrier_wait(&over);
	for (unsigned i = 0; i < count; i++)
		t_join(thread[i]);
}

/* Those of threads that sleep can't be taken: so all together stay within BOUND. */
static void bigcaches_together(void)
{
	pthread_t thread[SLEEPERS];
	size_t sum = 0;

	start_sleepers(thread, SLEEPERS, sleep_with_bigcache);
	for (unsigned i = 0; i < SLEEPERS; i++)
		sum += heap_of[i]->bigcache.limit;
	t_equal(heap_of[0]->bigcache.limit, 48); /* half of BOUND, alone */
	t_equal(heap_of[1]->bigcache.limit, 24);
	t_equal(sum, 6 * T_MiB / HK_UNIT_BYTES);
	end_sleepers(thread, SLEEPERS);
	for (unsigned i = 0; i < SLEEPERS; i++)
		sum -= heap_of[i]->bigcache.limit != 0;
	t_equal(sum, 6 * T_MiB / HK_UNIT_BYTES);
	grant(hk_heap_here(), 10000);
	t_equal(hk_heap_here()->bigcache.limit, 48); /* what has ended counts no more */
	h_check();
}

static void *sleep_with_blocks(void *arg)
{
	uintptr_t me = (uintptr_t)arg;

	heap_of[me] = hk_heap_here();
	for (unsigned i = 0; i < 640; i++)
		block[i] = h_malloc(1024);
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&over);
	return NULL;
}

static size_t free_bytes(void)
{
	size_t units, dirty;

	hk_pool_count(&units, &dirty);
	return dirty * HK_UNIT_BYTES;
}

/* Mail that nobody opens, and slabs that are empty by it. */
static void mail_of_a_sleeper(void (*collect)(void))
{
	pthread_t thread[1];
	size_t before;

	start_sleepers(thread, 1, sleep_with_blocks);
	for (unsigned i = 0; i < 64; i++) /* 64 KiB: the owner is not helped for so little */
		h_free(block[i]);
	t_check(!hk_mailbox_is_empty(&heap_of[0]->mailbox));
	collect();
	t_check(hk_mailbox_is_empty(&heap_of[0]->mailbox));
	t_equal(atomic_load(&heap_of[0]->mail_bytes), 0);
	for (unsigned i = 64; i < 640; i++)
		h_free(block[i]);
	hk_lock_take(&hk_heap_here()->lock);
	hk_mail_send_all(hk_heap_here());
	hk_lock_drop(&hk_heap_here()->lock);
	before = free_bytes();
	collect();
	t_check_at(free_bytes() > before, free_bytes());
	t_check(heap_of[0]->slabs <= 1 && heap_of[0]->warm_units == 0 &&
		heap_of[0]->idle_slabs == 0);
	end_sleepers(thread, 1);
	h_check();
}

static void by_gathering(void) { hk_heap_gather(64 * T_MiB); }
static void by_time(void) { hk_heap_age_all(hk_os_now_ns()); }
static void mail_is_gathered(void) { mail_of_a_sleeper(by_gathering); }
static void mail_is_collected_by_time(void) { mail_of_a_sleeper(by_time); }

/* ---- A thread that has freed all it had ---- */

static void spent_bins_keep_nothing(void)
{
	struct hk_heap *h = hk_heap_here();
	const struct hk_bin *b = &h->face.bin[hk_class_bin(1000)];

	swing(1000,
	      4000); /* under 16 MiB: a program that takes them again is served from the bin */
	t_check(h_count(b) >= 4);
	swing(1000, 30000);
	t_equal(h_count(b), 0);
	t_equal(h->granted, 0); /* nor was any limit granted for the last ones */
	t_check_at(h->slabs <= 1, h->slabs);
	swing(1000, 4000);
	t_check(h_count(b) >= 4);
	h_check();
}

/* ---- Passes ---- */

static void clock_is_read_now_and_then(void)
{
	struct hk_heap *h = hk_heap_here();
	struct hk_run run;

	for (unsigned i = 0; i < 100; i++)
		hk_heap_pass(h, 0);
	t_equal(h->aged_at, 0); /* next to nothing is held */
	t_need(hk_pool_take(32, 1, HK_WISH_ANY, &run));
	hk_pool_give(run.unit, 32, 32);
	for (unsigned i = 0; i < 24; i++) /* 4 of the 100 have gone by */
		hk_heap_pass(h, 0);
	t_equal(h->aged_at, 0);
	for (unsigned i = 0; i < 8; i++)
		hk_heap_pass(h, 0);
	t_equal(h->aged_at, hk_os_now_ns());
	hk_fake_advance_ms(1000);
	hk_heap_pass(h, 8 * T_MiB); /* so much is as good as many */
	t_equal(h->aged_at, hk_os_now_ns());
	t_check(hk_release_dirty() < 32 * HK_UNIT_BYTES);
}

/* Memory is refused: what this thread's bins keep from going back goes back. */
static void gathering_all_takes_bins(void)
{
	struct hk_heap *h = hk_heap_here();

	swing(1000, 4000);
	swing(64, 4000);
	t_check(h->slabs >= 2);
	hk_heap_gather(T_MiB);
	t_check(h->granted != 0);
	hk_heap_gather(SIZE_MAX);
	t_equal(h->granted, 0);
	t_equal(h->slabs, 0);
	h_check();
}

U_MAIN(T_CASE(bins_that_idle_give_up), T_CASE(bigcache_out_of_use), T_CASE(bigcaches_together),
       T_CASE(mail_is_gathered), T_CASE(mail_is_collected_by_time), T_CASE(spent_bins_keep_nothing),
       T_CASE(clock_is_read_now_and_then), T_CASE(gathering_all_takes_bins))
