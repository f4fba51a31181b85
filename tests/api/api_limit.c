/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The soft limit: nothing is held above it, the callback is told, and every request succeeds. */
#include <stdatomic.h>
#include <string.h>

#include "door.h"

#define LIMIT     (64 * T_MiB)
#define LEAST     (2 * T_MiB) /* LIMIT / 32 */
#define PIECES    400u
#define SMALL     1000u
#define SMALL_SUM 100000u

static void *piece[PIECES], *small[SMALL_SUM];
static _Atomic unsigned calls, first;
static pthread_t caller;

static size_t committed(void)
{
	struct hak_stats s;

	hak_stats_get(&s);
	return s.committed;
}

static void set_limit(const char *bytes) { t_equal(hak_option_set("LIMIT", bytes), 0); }

static void check_call(size_t now, size_t limit)
{
	t_equal(limit, LIMIT);
	t_check_at(now > limit, now);
	caller = pthread_self();
	atomic_fetch_add(&calls, 1);
}

static void only_count(size_t now, size_t limit, void *arg)
{
	t_check(arg == &calls);
	check_call(now, limit);
}

/* A cache gives up its oldest pieces. */
static void free_pieces(size_t now, size_t limit, void *arg)
{
	void *p = hak_malloc(5000); /* may be used here like everywhere */

	(void)arg;
	t_need(p != NULL);
	check_call(now, limit);
	for (unsigned i = 0; i < 16; i++) {
		hak_free(piece[first]);
		piece[first++] = NULL;
	}
	hak_free(p);
}

static void free_all(void)
{
	for (unsigned i = 0; i < PIECES; i++) {
		hak_free(piece[i]);
		piece[i] = NULL;
	}
	for (unsigned i = 0; i < SMALL_SUM; i++) {
		hak_free(small[i]);
		small[i] = NULL;
	}
}

static void begin(hak_limit_fn fn, void *arg)
{
	calls = first = 0;
	hak_trim();
	set_limit("64M");
	hak_limit_callback(fn, arg);
}

static void end(void)
{
	hak_limit_callback(NULL, NULL);
	set_limit("0");
	free_all();
}

static void fill(size_t bytes)
{
	for (unsigned i = 0; i < PIECES; i++) {
		piece[i] = hak_malloc(bytes);
		t_need(piece[i] != NULL);
	}
}

/* 400 MiB pass through 64. */
static void a_cache_makes_room(void)
{
	begin(free_pieces, NULL);
	for (unsigned i = 0; i < PIECES; i++) {
		piece[i] = hak_malloc(T_MiB);
		t_need(piece[i] != NULL);
		memset(piece[i], 1, T_MiB);
		t_check_at(committed() <= LIMIT + 2 * T_MiB, committed());
	}
	t_check_at(calls >= 15 && calls <= 30, calls);
	t_check(pthread_equal(caller, pthread_self()));
	end();
}

/* The same from small blocks, where slow paths are rare. */
static void small_blocks_are_noticed(void)
{
	begin(only_count, &calls);
	for (unsigned i = 0; i < SMALL_SUM; i++) {
		small[i] = hak_malloc(SMALL);
		t_need(small[i] != NULL);
		if (i * SMALL > LIMIT + 2 * T_MiB)
			t_check_at(calls >= 1, i);
	}
	/* nothing was freed: a call for each thirty-second part on top */
	t_check_at(calls >= 8 && calls <= 100000000 / LEAST, calls);
	end();
}

static void it_is_soft(void)
{
	begin(NULL, NULL);
	fill(T_MiB);
	t_check(committed() > 5 * LIMIT);
	end();
}

/* One call, until there is more or there was less. */
static void not_again_and_again(void)
{
	begin(only_count, &calls);
	piece[0] = hak_malloc(65 * T_MiB);
	t_equal(calls, 1);
	for (unsigned i = 1; i < 100; i++) {
		piece[i] = hak_malloc(300000);
		hak_free(piece[i]);
		piece[i] = NULL;
	}
	t_equal(calls, 1);
	piece[1] = hak_malloc(3 * T_MiB);
	t_equal(calls, 2);
	hak_free(piece[0]);
	piece[0] = NULL;
	piece[2] = hak_malloc(3 * T_MiB); /* it is below the limit now */
	t_equal(calls, 2);
	piece[3] = hak_malloc(65 * T_MiB);
	t_equal(calls, 3);
	end();
}

static void every_way_to_grow(void)
{
	void *p;

	begin(only_count, &calls);
	piece[0] = hak_malloc(63 * T_MiB);
	t_equal(calls, 0);
	p = hak_realloc(hak_malloc(300000), 20 * T_MiB);
	t_equal(calls, 1);
	hak_free(p);
	piece[0] = hak_realloc(piece[0], 60 * T_MiB);
	piece[1] = hak_malloc(16);
	hak_trim();
	piece[2] = hak_malloc(300000); /* below */
	t_equal(calls, 1);
	piece[0] = hak_realloc(piece[0], 200 * T_MiB);
	t_equal(calls, 2);
	hak_free(piece[0]);
	piece[0] = NULL;
	piece[3] = hak_calloc(1, 300000);
	t_equal(calls, 2);
	piece[4] = hak_calloc(1, 90 * T_MiB);
	t_equal(calls, 3);
	hak_free(piece[4]);
	piece[4] = hak_aligned_alloc(2 * T_MiB, 16);
	piece[5] = hak_aligned_alloc(2 * T_MiB, 80 * T_MiB);
	t_equal(calls, 4);
	end();
}

/* Everything that is free goes back before anybody is told. */
static void what_is_free_goes_first(void)
{
	begin(only_count, &calls);
	set_limit("0");
	t_equal(hak_option_set("PROFILE", "speed"), 0); /* keeps much */
	for (unsigned i = 0; i < 50; i++)
		piece[i] = hak_malloc(T_MiB);
	for (unsigned i = 0; i < 50; i++) {
		memset(piece[i], 1, T_MiB);
		hak_free(piece[i]);
		piece[i] = NULL;
	}
	t_check(committed() > 40 * T_MiB);
	set_limit("64M");
	piece[0] = hak_malloc(50 * T_MiB); /* a mapping of its own: not from what is free */
	piece[1] = hak_malloc(300000);
	t_equal(calls, 0);
	t_check_at(committed() <= LIMIT, committed());
	t_equal(hak_option_set("PROFILE", "balanced"), 0);
	end();
}

static void the_older_name(void)
{
	begin(only_count, &calls);
	set_limit("0");
	piece[0] = hak_malloc(70 * T_MiB);
	t_equal(calls, 0);
	t_equal(hak_option_set("SS_MEM_LEAN_TARGET_MB", "64"), 0);
	piece[1] = hak_malloc(300000);
	t_equal(calls, 1);
	t_equal(hak_option_set("SS_MEM_LEAN_TARGET_MB", "0"), 0);
	end();
}

/* Of many threads that pass the limit at once, one is inside. */
static _Atomic int inside, most;

static void stay_inside(size_t now, size_t limit, void *arg)
{
	int n = atomic_fetch_add(&inside, 1) + 1;

	(void)now, (void)limit, (void)arg;
	if (n > most)
		most = n;
	t_sleep_ms(2);
	hak_free(hak_malloc(3 * T_MiB)); /* would be told, too */
	atomic_fetch_sub(&inside, 1);
	atomic_fetch_add(&calls, 1);
}

static pthread_barrier_t all_hold;

static void *allocate_much(void *arg)
{
	void *p[20];

	for (unsigned i = 0; i < T_COUNT(p); i++) {
		p[i] = hak_malloc(2 * T_MiB);
		t_check(p[i] != NULL);
	}
	pthread_barrier_wait(&all_hold);
	for (unsigned i = 0; i < T_COUNT(p); i++)
		hak_free(p[i]);
	return arg;
}

static void one_at_a_time(void)
{
	pthread_t thread[8];

	inside = most = 0;
	t_need(pthread_barrier_init(&all_hold, NULL, T_COUNT(thread)) == 0);
	begin(stay_inside, NULL);
	for (unsigned i = 0; i < T_COUNT(thread); i++)
		thread[i] = t_thread(allocate_much, NULL);
	for (unsigned i = 0; i < T_COUNT(thread); i++)
		t_join(thread[i]);
	t_check(calls >= 1);
	t_equal(most, 1);
	end();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(a_cache_makes_room), T_CASE(small_blocks_are_noticed),
		T_CASE(it_is_soft),         T_CASE(not_again_and_again),
		T_CASE(every_way_to_grow),  T_CASE(what_is_free_goes_first),
		T_CASE(the_older_name),     T_CASE(one_at_a_time),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
