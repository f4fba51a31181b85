/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Blow-up: how much more than what is live a process comes to, at its peak (VmHWM), in the patterns that
 * allocators are known to grow in. The formula is that of docs/memory.md:
 *
 *   peak <= sum over the classes of the most that was live in each      (slabs are one class's)
 *         + bound + 2 MiB a thread                                      (free, and not yet given back)
 *         + 64 KiB a class and thread                                   (a slab that is begun)
 *         + 256 KiB a thread                                            (on the way home)
 *         + a hundredth, for the records
 *
 * A process of its own for each case. */
#include <string.h>

#include "door.h"

#define SPANS   (256 * T_KiB / 16 + 1) /* the index of all that are larger than a slab's blocks */
#define CROWD   64u
#define HANDED  64u
#define BLOCKS  (1u << 21)
#define LONGEST 2000u

static struct {
	size_t live, most;
} class[SPANS + 1];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void *block[BLOCKS];
static size_t before, live, bound_most;
static uint64_t seed = 1;

/* ---- Blocks, counted by class ---- */

static void count(const void *p, bool taken)
{
	size_t usable = T_USABLE(p), at = usable <= 256 * T_KiB ? usable / 16 : SPANS;

	pthread_mutex_lock(&mutex);
	live += taken ? usable : -usable;
	class[at].live += taken ? usable : -usable;
	if (class[at].live > class[at].most)
		class[at].most = class[at].live;
	pthread_mutex_unlock(&mutex);
}

static void *take(size_t bytes)
{
	void *p = T_MALLOC(bytes);

	t_need(p != NULL);
	memset(p, 0x5a, bytes);
	count(p, true);
	return p;
}

static void give(void *p)
{
	count(p, false);
	T_FREE(p);
}

static void look_at_bound(void)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	if (s.bound > bound_most)
		bound_most = s.bound;
}

/* So that the test's own tables are not taken for the allocator's. */
static void begin(void)
{
	memset(block, 0, sizeof(block));
	memset(class, 0, sizeof(class));
	before = t_status_kib("VmHWM") * T_KiB;
	look_at_bound();
}

static void check_peak(const char *what, size_t threads)
{
	size_t sum = 0, classes = 0, may, peak;

	look_at_bound();
	for (size_t i = 0; i <= SPANS; i++) {
		sum += class[i].most;
		classes += class[i].most != 0 && i != SPANS;
	}
	may = sum + sum / 100 + bound_most +
	      threads * (2 * T_MiB + 256 * T_KiB + classes * 64 * T_KiB);
	peak = t_status_kib("VmHWM") * T_KiB - before;
	t_say("%s: peak %zu KiB, may be %zu: classes %zu, bound %zu", what, peak / T_KiB,
	      may / T_KiB, sum / T_KiB, bound_most / T_KiB);
	t_check_at(!T_RSS_COUNTS || peak <= may, peak);
}

/* ---- Sizes that shift ---- */

static size_t fill(size_t n, size_t bytes, size_t size)
{
	while (live < bytes) {
		t_need(n < BLOCKS);
		block[n++] = take(size - size / 4 + t_below(&seed, size / 2));
	}
	return n;
}

/* Nine in ten, at random. */
static size_t thin_out(size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (t_below(&seed, 10) != 0)
			give(block[i]);
		else
			block[kept++] = block[i];
	}
	return kept;
}

static void shift(const size_t *sizes, size_t count, unsigned rounds)
{
	size_t n = 0;

	for (size_t i = 0; i < rounds * count; i++) {
		n = fill(n, 24 * T_MiB, sizes[i % count]);
		look_at_bound();
		n = thin_out(n);
		look_at_bound();
	}
}

static void shifting_sizes(void)
{
	static const size_t sizes[] = { 24, 200, 3000, 40000, 1000000, 40000, 3000, 200, 24 };

	begin();
	shift(sizes, T_COUNT(sizes), 2);
	check_peak("shifting sizes", 1);
}

/* What few blocks hold on to is used again. */
static void same_size_again(void)
{
	static const size_t size = 200;

	begin();
	shift(&size, 1, 8);
	check_peak("the same size again", 1);
}

/* ---- One thread allocates, another frees ---- */

static size_t head, tail; /* of a ring of blocks [mutex] */
static bool over;

static void *consume(void *arg)
{
	void *p[HANDED];
	size_t n;

	do {
		pthread_mutex_lock(&mutex);
		while (head == tail && !over)
			pthread_cond_wait(&changed, &mutex);
		for (n = 0; n < HANDED && head != tail; n++)
			p[n] = block[head++ % BLOCKS];
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
		for (size_t i = 0; i < n; i++)
			give(p[i]);
	} while (n != 0);
	return arg;
}

/* At most so many blocks are between them. */
static void produce(size_t total, size_t most)
{
	for (size_t sum = 0; sum < total;) {
		size_t bytes = 16 + t_below(&seed, LONGEST);
		void *p = take(bytes);

		sum += bytes;
		pthread_mutex_lock(&mutex);
		while (tail - head == most)
			pthread_cond_wait(&changed, &mutex);
		block[tail++ % BLOCKS] = p;
		if (tail - head >= most / 2)
			pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
	}
	pthread_mutex_lock(&mutex);
	over = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

static void producer_and_consumer(void)
{
	pthread_t consumer;

	begin();
	consumer = t_thread(consume, NULL);
	produce(400 * T_MiB, 16 * T_MiB / (LONGEST / 2));
	look_at_bound();
	t_join(consumer);
	check_peak("producer and consumer", 2);
}

/* The thread that allocates never frees, and lives on. */
static void *give_all(void *arg)
{
	size_t *n = arg;

	for (size_t i = 0; i < *n; i++)
		give(block[i]);
	return NULL;
}

static void freed_by_another(void)
{
	begin();
	for (unsigned round = 0; round < 12; round++) {
		size_t n = 0;

		while (live < 24 * T_MiB)
			block[n++] = take(16 + t_below(&seed, LONGEST));
		look_at_bound();
		t_join(t_thread(give_all, &n));
		t_equal(live, 0);
	}
	check_peak("freed by another", 2);
}

/* ---- Threads that come and go ---- */

#define EACH (T_MiB / 2)
#define PART (BLOCKS / CROWD)

/* Replaces what the thread before it has left, block by block. */
static void *inherit(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg, n = 0;
	void **p = block + me * PART;
	uint64_t own = me + seed;

	for (size_t sum = 0; sum < EACH; n++) {
		size_t bytes = 16 + t_below(&own, 200);

		t_need(n < PART);
		if (p[n] != NULL)
			give(p[n]);
		p[n] = take(bytes);
		sum += bytes;
	}
	for (; p[n] != NULL; n++) {
		give(p[n]);
		p[n] = NULL;
	}
	return NULL;
}

static void threads_that_come_and_go(void)
{
	pthread_t thread[CROWD];

	begin();
	for (unsigned round = 0; round < 12; round++, seed++) {
		for (size_t i = 0; i < CROWD; i++)
			thread[i] = t_thread(inherit, (void *)(uintptr_t)i);
		for (size_t i = 0; i < CROWD; i++)
			t_join(thread[i]);
		look_at_bound();
	}
	check_peak("threads that come and go", CROWD);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(shifting_sizes),           T_CASE(same_size_again),
		T_CASE(producer_and_consumer),    T_CASE(freed_by_another),
		T_CASE(threads_that_come_and_go),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
