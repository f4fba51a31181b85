/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* What an allocator retains: scenarios in which a program has used much memory and needs little, or
 * in which its blocks move between threads, sizes or lifetimes. Each is a process of its own, ends
 * with some idle seconds, and reports KiB:
 *
 *   own     RSS before the first block, with the program's own tables
 *   live    the most that was live, as asked for
 *   left    what is live at the end
 *   freed   RSS after the last free
 *   rss     RSS after the idle seconds
 *   calls   under hakmem: its system calls since the first free, most of which give memory back
 *
 * The peak is VmHWM, in every result line. All bytes of every block are written. Own tables are
 * mapped and written before the first block, so that none of them grows on the way. */
#include "bench_common.h"
#include "retain_blocks.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

enum {
	PARAMETERS = 6, /* of a scenario, at most */
	REPORTED = 6,
	THREADS_MOST = 1024,
};

static void start(pthread_t *thread, void *(*work)(void *), void *arg)
{
	if (pthread_create(thread, NULL, work, arg) != 0)
		bench_usage_error("a thread cannot be started");
}

/* So many blocks of `size` as make up `bytes`. */
struct equal {
	unsigned char **block;
	uint64_t count;
	size_t size;
};

static struct equal equal_blocks(uint64_t bytes, size_t size)
{
	uint64_t count = bytes / size;

	return (struct equal){ retain_table(count), count, size };
}

static void *take_all(void *arg)
{
	struct equal *e = arg;

	for (uint64_t i = 0; i < e->count; i++)
		e->block[i] = retain_take(e->size);
	return NULL;
}

static void give_all(struct equal *e)
{
	for (uint64_t i = 0; i < e->count; i++)
		retain_give(e->block[i]);
}

/* ---- One thread ------------------------------------------------------------------------------- */

static void run_equal(const uint64_t *a)
{
	struct equal e = equal_blocks(a[0] * MIB, a[1]);

	retain_before_blocks();
	take_all(&e);
	retain_before_frees();
	give_all(&e);
	retain_idle(a[2]);
}

/* Replaces blocks at random, for so many seconds. */
static void replace(unsigned char **block, uint64_t count, struct sizes *s, uint64_t seconds)
{
	uint64_t end = bench_wall_ns() + seconds * UINT64_C(1000000000);

	while (bench_wall_ns() < end) {
		for (unsigned i = 0; i < 1000; i++) {
			size_t k = bench_low(bench_next(&s->rng), count);

			retain_give(block[k]);
			block[k] = retain_take(retain_next_size(s));
		}
	}
}

static void run_burst(const uint64_t *a)
{
	unsigned char **block = retain_table(a[0]);
	struct sizes s = retain_sizes(a[1], a[2], a[5], 0);

	if (a[3] > a[0])
		bench_usage_error("KEPT is more than COUNT");
	retain_before_blocks();
	for (uint64_t i = 0; i < a[0]; i++)
		block[i] = retain_take(retain_next_size(&s));
	retain_before_frees();
	for (uint64_t i = 0; i < a[0]; i++)
		retain_give(block[i]);
	for (uint64_t i = 0; i < a[3]; i++)
		block[i] = retain_take(retain_next_size(&s));
	replace(block, a[3], &s, a[4]);
	retain_idle(0);
}

static void thin_out(struct mix *m, uint64_t percent, struct bench_rng *rng)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < m->count; i++) {
		if (bench_low(bench_next(rng), 100) < percent)
			retain_give(m->block[i]);
		else
			m->block[kept++] = m->block[i];
	}
	m->count = kept;
}

static void run_scatter(const uint64_t *a)
{
	struct sizes s = retain_sizes(a[1], a[2], a[5], 0);
	struct mix m = retain_mix(a[0] * MIB, a[1], a[2]);

	retain_before_blocks();
	while (atomic_load(&retain.live) < a[0] * MIB)
		retain_add(&m, retain_next_size(&s));
	retain_before_frees();
	thin_out(&m, a[3], &s.rng);
	retain_idle(a[4]);
}

/* ---- Sizes that shift ------------------------------------------------------------------------- */

static const size_t shift_sizes[] = { 24, 200, 3000, 40000, 1000000, 40000, 3000, 200, 24 };

/* Up to `bytes` live, with sizes around `size`: a quarter more or less. */
static void fill(struct mix *m, uint64_t bytes, size_t size, struct bench_rng *rng)
{
	while (atomic_load(&retain.live) < bytes) {
		size_t spread = bench_high(bench_next(rng), size / 2 + 1);

		retain_add(m, size - size / 4 + spread);
	}
}

static void run_shift(const uint64_t *a)
{
	struct mix m = retain_mix(a[0] * MIB, shift_sizes[0], shift_sizes[0]);
	struct bench_rng rng = bench_seed(a[3], 0);

	retain_before_blocks();
	retain_before_frees();
	for (size_t i = 0; i < sizeof(shift_sizes) / sizeof(shift_sizes[0]); i++) {
		fill(&m, a[0] * MIB, shift_sizes[i], &rng);
		thin_out(&m, a[1], &rng);
	}
	retain_idle(a[2]);
}

/* ---- Threads: a dead one, sleeping ones ------------------------------------------------------- */

static void run_dead(const uint64_t *a)
{
	struct equal e = equal_blocks(a[0] * MIB, a[1]);
	pthread_t thread;

	retain_before_blocks();
	start(&thread, take_all, &e);
	pthread_join(thread, NULL);
	retain_before_frees();
	give_all(&e);
	retain_idle(a[2]);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct {
	struct equal
		*spare; /* tables that no thread uses at present: so many are at work at once */
	uint64_t spares;
	uint64_t done;
} sleepers;

static void *use_and_sleep(void *arg)
{
	struct equal mine;

	pthread_mutex_lock(&mutex);
	while (sleepers.spares == 0)
		pthread_cond_wait(&changed, &mutex);
	mine = sleepers.spare[--sleepers.spares];
	pthread_mutex_unlock(&mutex);
	take_all(&mine);
	give_all(&mine);
	pthread_mutex_lock(&mutex);
	sleepers.spare[sleepers.spares++] = mine;
	sleepers.done++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	for (;;)
		pause();
	return arg;
}

static void run_sleepers(const uint64_t *a)
{
	static struct equal spare[THREADS_MOST];
	pthread_t thread;

	for (uint64_t i = 0; i < a[3]; i++)
		spare[i] = equal_blocks(a[1] * MIB, a[2]);
	sleepers.spare = spare;
	sleepers.spares = a[3];
	retain_before_blocks();
	retain_before_frees();
	for (uint64_t i = 0; i < a[0]; i++)
		start(&thread, use_and_sleep, NULL);
	pthread_mutex_lock(&mutex);
	while (sleepers.done < a[0])
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
	retain_idle(a[4]);
}

/* ---- Threads that come and go ----------------------------------------------------------------- */

struct place {
	struct mix mix;
	struct sizes sizes;
	uint64_t bytes;
};

/* Replaces what the thread before it has left in its place, block by block. */
static void *inherit(void *arg)
{
	struct place *p = arg;
	struct mix *m = &p->mix;
	uint64_t taken = 0, old = m->count;

	for (m->count = 0; taken < p->bytes;) {
		if (m->count < old)
			retain_give(m->block[m->count]);
		retain_add(m, retain_next_size(&p->sizes));
		taken += retain_size_of(m->block[m->count - 1]);
	}
	for (uint64_t i = m->count; i < old; i++)
		retain_give(m->block[i]);
	return NULL;
}

static void run_crowd(const uint64_t *a)
{
	static struct place place[THREADS_MOST];
	static pthread_t thread[THREADS_MOST];

	for (uint64_t i = 0; i < a[0]; i++) {
		place[i].bytes = a[2] * MIB;
		place[i].sizes = retain_sizes(a[3], a[4], a[5], i);
		place[i].mix = retain_mix(a[2] * MIB, a[3], a[4]);
	}
	retain_before_blocks();
	retain_before_frees();
	for (uint64_t round = 0; round < a[1]; round++) {
		for (uint64_t i = 0; i < a[0]; i++)
			start(&thread[i], inherit, &place[i]);
		for (uint64_t i = 0; i < a[0]; i++)
			pthread_join(thread[i], NULL);
	}
	retain_idle(1);
}

/* ---- From one thread to another --------------------------------------------------------------- */

enum { HANDED = 256 }; /* blocks that a consumer takes at once, at most */

static struct {
	struct mix ring;
	uint64_t head, tail;
	uint64_t bytes, most; /* in it now, and what it may hold */
	bool ended;
} queue;

static bool is_full(void)
{
	return queue.bytes >= queue.most || queue.tail - queue.head == queue.ring.places;
}

static void put(unsigned char *block)
{
	pthread_mutex_lock(&mutex);
	while (is_full())
		pthread_cond_wait(&changed, &mutex);
	queue.ring.block[queue.tail++ % queue.ring.places] = block;
	queue.bytes += retain_size_of(block);
	if (is_full())
		pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

/* From a full queue down to half of it; then waits until it is full again. 0: the end. */
static unsigned fetch(unsigned char **out)
{
	unsigned n = 0;

	pthread_mutex_lock(&mutex);
	while (queue.bytes < queue.most / 2 && !queue.ended)
		pthread_cond_wait(&changed, &mutex);
	for (; n < HANDED && queue.head != queue.tail; n++) {
		out[n] = queue.ring.block[queue.head++ % queue.ring.places];
		queue.bytes -= retain_size_of(out[n]);
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	return n;
}

static void *consume(void *arg)
{
	unsigned char *block[HANDED];
	unsigned n;

	while ((n = fetch(block)) != 0) {
		for (unsigned i = 0; i < n; i++)
			retain_give(block[i]);
	}
	return arg;
}

static void run_queue(const uint64_t *a)
{
	struct sizes s = retain_sizes(a[2], a[3], a[4], 0);
	pthread_t consumer;

	queue.ring = retain_mix(a[0] * MIB, a[2], a[3]);
	queue.most = a[0] * MIB;
	retain_before_blocks();
	retain_before_frees();
	start(&consumer, consume, NULL);
	for (uint64_t sum = 0; sum < a[1] * MIB;) {
		unsigned char *block = retain_take(retain_next_size(&s));

		sum += retain_size_of(block);
		put(block);
	}
	pthread_mutex_lock(&mutex);
	queue.ended = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	pthread_join(consumer, NULL);
	retain_idle(1);
}

static struct {
	struct mix mix;
	pthread_barrier_t turn;
} handed;

static void *free_rounds(void *arg)
{
	const uint64_t *rounds = arg;

	for (uint64_t i = 0; i < *rounds; i++) {
		pthread_barrier_wait(&handed.turn);
		thin_out(&handed.mix, 100, &(struct bench_rng){ 1 });
		pthread_barrier_wait(&handed.turn);
	}
	return NULL;
}

/* Both threads live on, so nobody's memory is inherited. */
static void run_handed(const uint64_t *a)
{
	struct sizes s = retain_sizes(a[2], a[3], a[5], 0);
	pthread_t other;

	handed.mix = retain_mix(a[0] * MIB, a[2], a[3]);
	pthread_barrier_init(&handed.turn, NULL, 2);
	retain_before_blocks();
	retain_before_frees();
	start(&other, free_rounds, (void *)(uintptr_t)&a[1]);
	for (uint64_t round = 0; round < a[1]; round++) {
		while (atomic_load(&retain.live) < a[0] * MIB)
			retain_add(&handed.mix, retain_next_size(&s));
		pthread_barrier_wait(&handed.turn);
		pthread_barrier_wait(&handed.turn);
	}
	retain_idle(a[4]);
}

/* ---- Program ---------------------------------------------------------------------------------- */

struct scenario {
	const char *name;
	const char *about;
	void (*run)(const uint64_t *value);
	struct bench_arg args[PARAMETERS + REPORTED];
	size_t count;
};

/* clang-format off */
#define A_MIB(name, n)  { name, n, 1, 1 << 20 }
#define A_SIZE(name, n) { name, n, RETAIN_SIZE_LEAST, 1 << 30 }
#define A_SECONDS(n)    { "SECONDS", n, 0, 100000 }
#define A_SEED          { "SEED", 1, 0, UINT64_MAX }

static struct scenario scenarios[] = {
	{ "equal", "MIB of blocks of SIZE bytes, all freed; idle for SECONDS.", run_equal,
	  { A_MIB("MIB", 1024), A_SIZE("SIZE", 1000), A_SECONDS(13) }, 3 },
	{ "burst", "COUNT blocks of MIN to MAX bytes, all freed at once; then KEPT such blocks, one "
		   "at random\nreplaced again and again, for SECONDS.", run_burst,
	  { { "COUNT", 250000, 1, 1 << 30 }, A_SIZE("MIN", 200), A_SIZE("MAX", 3200),
	    { "KEPT", 20000, 1, 1 << 30 }, A_SECONDS(11), A_SEED }, 6 },
	{ "scatter", "MIB of blocks of MIN to MAX bytes, PERCENT of them freed at random; idle for "
		     "SECONDS.", run_scatter,
	  { A_MIB("MIB", 2048), A_SIZE("MIN", 16), A_SIZE("MAX", 65536),
	    { "PERCENT", 90, 0, 100 }, A_SECONDS(10), A_SEED }, 6 },
	{ "shift", "Sizes that shift: MIB of blocks around 24 bytes, PERCENT of all freed at random, "
		   "filled up with\nblocks around 200 bytes, and so on to 1 MB and back; idle for "
		   "SECONDS.", run_shift,
	  { A_MIB("MIB", 64), { "PERCENT", 90, 0, 100 }, A_SECONDS(1), A_SEED }, 4 },
	{ "dead", "A thread takes MIB of blocks of SIZE bytes and ends; another frees them, and is "
		  "idle for SECONDS.", run_dead,
	  { A_MIB("MIB", 100), A_SIZE("SIZE", 1000), A_SECONDS(3) }, 3 },
	{ "sleepers", "THREADS threads, AT_ONCE at a time: each takes MIB of blocks of SIZE bytes, "
		      "frees them, and\nsleeps; all idle for SECONDS.", run_sleepers,
	  { { "THREADS", 100, 1, 100000 }, A_MIB("MIB", 64), A_SIZE("SIZE", 1000),
	    { "AT_ONCE", 4, 1, THREADS_MOST }, A_SECONDS(3) }, 5 },
	{ "crowd", "THREADS threads that come and go, ROUNDS times: each replaces the MIB of blocks "
		   "of MIN to MAX\nbytes that the one before it has left.", run_crowd,
	  { { "THREADS", 64, 1, THREADS_MOST }, { "ROUNDS", 16, 1, 1 << 20 }, A_MIB("MIB", 1),
	    A_SIZE("MIN", 16), A_SIZE("MAX", 2000), A_SEED }, 6 },
	{ "queue", "A thread takes TOTAL MiB of blocks of MIN to MAX bytes, another frees them; half "
		   "to all of MIB is\nbetween them.", run_queue,
	  { A_MIB("MIB", 64), A_MIB("TOTAL", 2048), A_SIZE("MIN", 16), A_SIZE("MAX", 2000), A_SEED },
	  5 },
	{ "handed", "ROUNDS times, a thread takes MIB of blocks of MIN to MAX bytes and another frees "
		    "them all; idle\nfor SECONDS.", run_handed,
	  { A_MIB("MIB", 64), { "ROUNDS", 8, 1, 1 << 20 }, A_SIZE("MIN", 16), A_SIZE("MAX", 2000),
	    A_SECONDS(1), A_SEED }, 6 },
};
/* clang-format on */

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static struct scenario *find(const char *name)
{
	for (size_t i = 0; i < SCENARIOS; i++) {
		if (name && strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	}
	return NULL;
}

static void report(struct scenario *s, struct bench_time elapsed)
{
	uint64_t rss_kib = bench_status_kib("VmRSS:"), blocks = atomic_load(&retain.blocks);
	struct bench_arg figures[REPORTED] = {
		{ .name = "own_kib", .value = retain.own_kib },
		{ .name = "live_kib", .value = atomic_load(&retain.live_most) / 1024 },
		{ .name = "left_kib", .value = atomic_load(&retain.live) / 1024 },
		{ .name = "freed_kib", .value = retain.freed_kib },
		{ .name = "rss_kib", .value = rss_kib },
		{ .name = "calls", .value = retain_calls() - retain.calls },
	};

	memcpy(s->args + s->count, figures, sizeof(figures));
	bench_report(blocks, elapsed, 0, s->name, s->args,
		     s->count + REPORTED - (retain_is_hakmem() ? 0 : 1));
}

int main(int argc, char **argv)
{
	struct scenario *s = find(argc > 1 ? argv[1] : NULL);
	struct bench_time begun = bench_now();
	uint64_t value[PARAMETERS];

	if (!s) {
		bool asks = argc > 1 && strcmp(argv[1], "--help") == 0;

		bench_parse(asks ? 2 : 1, argv,
			    "The first word is a scenario: equal, burst, scatter, shift, "
			    "dead, sleepers, crowd, queue or handed.\nSCENARIO --help tells its "
			    "numbers.",
			    NULL, 0, NULL);
		bench_usage_error("the first word must be a scenario");
	}
	argv[1] = argv[0];
	bench_parse(argc - 1, argv + 1, s->about, s->args, s->count, NULL);
	for (size_t i = 0; i < s->count; i++)
		value[i] = s->args[i].value;
	s->run(value);
	report(s, bench_since(begun));
	return 0;
}
