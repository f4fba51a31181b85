/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Threads that come and go, and what they leave. */
#include <stdatomic.h>
#include <string.h>

#include "door.h"

static const size_t kinds[] = { 8, 40, 200, 1000, 1025, 6000, 30000, 100000, 300000 };

static void *filled(size_t n, uint64_t key)
{
	void *p = T_MALLOC(n);

	t_need(p != NULL);
	t_fill(p, n, key);
	return p;
}

static void free_filled(void *p, size_t n, uint64_t key)
{
	t_need(t_holds(p, n, n, key));
	T_FREE(p);
}

/* ---- One after another ---- */

static _Atomic(void *) left[100]; /* a block of each of the last threads */

static void *short_life(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg, n = 16 + me % 2000;
	void *p[T_COUNT(kinds)];

	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		p[i] = filled(kinds[i], me);
	/* Frees a block of a thread that is dead, and leaves one of its own. */
	T_FREE(atomic_exchange(&left[me % T_COUNT(left)], filled(n, me)));
	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		free_filled(p[i], kinds[i], me);
	return NULL;
}

static void ten_thousand_in_turn(void)
{
	size_t total = t_scale(10000, 1500), early = 0, late;
	struct hak_stats s;

	for (size_t i = 0; i < total; i++) {
		t_join(t_thread(short_life, (void *)(uintptr_t)i));
		if (i + 1 == total / 10)
			early = t_status_kib("VmRSS");
	}
	late = t_status_kib("VmRSS");
	t_say("RSS %zu KiB after %zu threads, %zu KiB after %zu", early, total / 10, late, total);
	t_check_at(!T_RSS_COUNTS || late <= early + 6 * 1024, late);
	T_STATS_GET(&s);
	t_check_at(s.heaps <= 8, s.heaps);
	for (unsigned i = 0; i < T_COUNT(left); i++)
		T_FREE(atomic_exchange(&left[i], NULL));
}

/* ---- All at once ---- */

#define CROWD 1000u

static pthread_barrier_t all_here;
static void *given[CROWD];
static size_t crowd;

static void *in_a_crowd(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg, next = (me + 1) % crowd;
	void *own[20];

	for (unsigned i = 0; i < T_COUNT(own); i++)
		own[i] = filled(16 + i * 50, me);
	given[me] = filled(500, me);
	pthread_barrier_wait(&all_here);
	free_filled(given[next], 500, next);
	for (unsigned i = 0; i < T_COUNT(own); i++)
		free_filled(own[i], 16 + i * 50, me);
	pthread_barrier_wait(&all_here);
	return NULL;
}

static void a_thousand_at_once(void)
{
	static pthread_t thread[CROWD];
	struct hak_stats first, second;
	size_t live;

	crowd = t_scale(CROWD, 100);
	t_need(pthread_barrier_init(&all_here, NULL, (unsigned)crowd) == 0);
	for (unsigned round = 0; round < 2; round++) {
		live = t_live();
		for (size_t i = 0; i < crowd; i++)
			thread[i] = t_thread(in_a_crowd, (void *)(uintptr_t)i);
		for (size_t i = 0; i < crowd; i++)
			t_join(thread[i]);
		T_STATS_GET(round == 0 ? &first : &second);
		t_check_at(t_live() <= live + T_MiB, t_live() - live);
	}
	/* Their successors found their heaps. */
	t_check_at(second.heaps <= first.heaps + 8, second.heaps);
	t_check_at(second.metadata <= first.metadata + T_MiB, second.metadata);
	t_check_at(second.committed <= first.committed + 8 * T_MiB, second.committed);
	pthread_barrier_destroy(&all_here);
}

/* ---- Destructors of thread-specific data ---- */

#define KEYS 12u
/* As many as glibc and musl make; TSan's own end of a thread is in the last one. */
#define ROUNDS (T_SANITIZED ? 2u : 4u)

static pthread_key_t key[KEYS];
static _Atomic unsigned rounds_run;
static _Atomic(void *) leftover[KEYS * ROUNDS];

/* Allocates and frees in every round that there is, whatever of hakmem has been torn down by then. */
static void destructor(void *arg)
{
	unsigned which = (unsigned)((uintptr_t)arg & 0xff), round = (unsigned)((uintptr_t)arg >> 8);
	void *p[T_COUNT(kinds)];

	atomic_fetch_add(&rounds_run, 1);
	for (unsigned i = 0; i < T_COUNT(kinds); i++)
		p[i] = filled(kinds[i], which + i);
	for (unsigned i = 0; i < T_COUNT(kinds); i++) {
		p[i] = T_REALLOC(p[i], kinds[i] + 20);
		t_need(p[i] != NULL);
		free_filled(p[i], kinds[i], which + i);
	}
	T_FREE(atomic_exchange(&leftover[(which - 1) * ROUNDS + round], filled(64, 9)));
	if (round + 1 < ROUNDS)
		t_need(pthread_setspecific(key[which - 1],
					   (void *)(uintptr_t)(which | (round + 1) << 8)) == 0);
}

static void *with_destructors(void *arg)
{
	void *p = filled(100, 1);

	for (unsigned i = 0; i < KEYS; i++)
		t_need(pthread_setspecific(key[i], (void *)(uintptr_t)(i + 1)) == 0);
	free_filled(p, 100, 1);
	return arg;
}

/* A thread whose first allocation is in its destructor. */
static void *only_destructors(void *arg)
{
	for (unsigned i = 0; i < KEYS; i++)
		t_need(pthread_setspecific(key[i], (void *)(uintptr_t)(i + 1)) == 0);
	return arg;
}

static void destructors_allocate(void)
{
	unsigned threads = (unsigned)t_scale(200, 20);
	size_t live = t_live();

	for (unsigned i = 0; i < KEYS; i++)
		t_need(pthread_key_create(&key[i], destructor) == 0);
	for (unsigned i = 0; i < threads; i++)
		t_join(t_thread(i % 3 == 0 ? only_destructors : with_destructors, NULL));
	t_equal(rounds_run, threads * KEYS * ROUNDS);
	for (unsigned i = 0; i < T_COUNT(leftover); i++) {
		void *p = atomic_exchange(&leftover[i], NULL);

		if (p != NULL)
			free_filled(p, 64, 9);
	}
	for (unsigned i = 0; i < KEYS; i++)
		t_need(pthread_key_delete(key[i]) == 0);
	t_check_at(t_live() <= live + 256 * T_KiB, t_live() - live);
}

/* ---- Frees for threads that are dead, or asleep ---- */

#define BLOCKS 30000u

static void *passed[BLOCKS];

static size_t passed_size(size_t i)
{
	return i % 100 == 0 ? 20000 : i % 1000 == 1 ? 300000 : 16 + i % 900;
}

static void *produce(void *arg)
{
	for (size_t i = 0; i < BLOCKS; i++)
		passed[i] = filled(passed_size(i), i);
	return arg;
}

static void *consume(void *arg)
{
	size_t from = (size_t)(uintptr_t)arg;

	for (size_t i = from; i < BLOCKS; i += 2)
		free_filled(passed[i], passed_size(i), i);
	return NULL;
}

static void producer_is_dead(void)
{
	size_t live = t_live();

	for (unsigned round = 0; round < 3; round++) {
		pthread_t one, two;

		t_join(t_thread(produce, NULL));
		t_check(t_live() >= live + 20 * T_MiB);
		one = t_thread(consume, (void *)0);
		two = t_thread(consume, (void *)1);
		t_join(one);
		t_join(two);
		t_check_at(t_live() <= live + T_MiB, t_live() - live);
	}
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static enum { START, PRODUCED, WAKE } stage;

static void set_stage(int to)
{
	pthread_mutex_lock(&mutex);
	stage = to;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

static void await_stage(int which)
{
	pthread_mutex_lock(&mutex);
	while ((int)stage != which)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void *produce_and_sleep(void *arg)
{
	produce(arg);
	set_stage(PRODUCED);
	await_stage(WAKE);
	/* Awake again: its heap is in order. */
	produce(arg);
	consume((void *)0);
	consume((void *)1);
	return NULL;
}

/* Memory freed by others does not wait for an owner that sleeps. */
static void owner_is_asleep(void)
{
	pthread_t sleeper;
	struct hak_stats full, empty;
	size_t live = t_live();

	set_stage(START);
	sleeper = t_thread(produce_and_sleep, NULL);
	await_stage(PRODUCED);
	T_STATS_GET(&full);
	consume((void *)0);
	consume((void *)1);
	T_STATS_GET(&empty);
	t_say("asleep: live %zu, held %zu, bound %zu, committed %zu of %zu KiB", empty.live / T_KiB,
	      empty.held / T_KiB, empty.bound / T_KiB, empty.committed / T_KiB,
	      full.committed / T_KiB);
	t_check(full.live >= live + 20 * T_MiB);
	t_check_at(empty.live <= live + 2 * T_MiB, empty.live - live);
	t_check_at(empty.held <= empty.bound + empty.heaps * 256 * T_KiB + 4 * T_MiB, empty.held);
	/* Nor is it lost between the accounts. */
	t_check_at(empty.committed <= empty.live + empty.bound + 12 * T_MiB, empty.committed);
	set_stage(WAKE);
	t_join(sleeper);
	t_check_at(t_live() <= live + T_MiB, t_live() - live);
}

/* A block goes round: each thread frees the one it was given and allocates the next. */
static void *relay(void *arg)
{
	for (unsigned i = 0; i < 200; i++) {
		T_FREE(arg);
		arg = filled(kinds[i % T_COUNT(kinds)], i);
	}
	return arg;
}

static void relay_race(void)
{
	void *baton = filled(100, 0);
	size_t live = t_live();

	for (unsigned i = 0; i < t_scale(200, 20); i++)
		baton = t_join(t_thread(relay, baton));
	T_FREE(baton);
	t_check_at(t_live() <= live + T_MiB, t_live() - live);
}

static _Atomic unsigned detached_done;

static void *detached(void *arg)
{
	short_life(arg);
	atomic_fetch_add(&detached_done, 1);
	return NULL;
}

static void detached_threads(void)
{
	unsigned count = (unsigned)t_scale(300, 30);

	for (unsigned i = 0; i < count; i++)
		t_need(pthread_detach(t_thread(detached, (void *)(uintptr_t)i)) == 0);
	while (atomic_load(&detached_done) < count)
		t_sleep_ms(1);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(ten_thousand_in_turn), T_CASE(a_thousand_at_once),
		T_CASE(destructors_allocate), T_CASE(producer_is_dead),
		T_CASE(owner_is_asleep),      T_CASE(relay_race),
		T_CASE(detached_threads),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
