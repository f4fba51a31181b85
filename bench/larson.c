/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A server, after Larson and Krishnan's simulation: THREADS lanes hold CHUNKS blocks each and
 * replace random ones. After ROUNDS * CHUNKS replacements a lane's thread starts its successor,
 * hands all blocks over, and ends: so blocks outlive the threads that allocated them and are freed
 * by others. The first blocks all come from the main thread and are shuffled over the lanes. */
#define _GNU_SOURCE /* nanosleep */
#include "bench_common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { STRIDE = 256 }; /* replacements between two looks at the clock */

struct lane {
	unsigned char **chunk;
	size_t chunks;
	uint64_t replacements; /* a thread's life */
	size_t size_min;
	size_t size_span;
	struct bench_rng rng;
	struct bench_latency *latency;
	pthread_t before; /* the thread that came before the one that is being started */
	bool has_before;
	pthread_t last; /* the one that was told to stop [stopped_lock] */
	/* Written by the running thread, read by the main one. */
	_Atomic uint64_t operations __attribute__((aligned(128)));
	_Atomic uint64_t threads;
};

static atomic_bool measuring; /* warm-up is over */
static atomic_bool stop_all;
/* Lanes that have stopped, and the signal to who waits for them. */
static pthread_mutex_t stopped_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stopped_signal = PTHREAD_COND_INITIALIZER;
static size_t stopped;

/* A block's tag must not depend on its slot, since shuffling moves blocks: its size decides. */
static uint8_t tag_of(size_t size) { return (uint8_t)(size * 7 + 1); }

static inline unsigned char *chunk_new(struct lane *l, uint64_t random,
				       struct bench_latency *latency)
{
	size_t size = l->size_min + bench_high(random, l->size_span);

	return bench_malloc_timed(size, tag_of(size), latency);
}

static inline void chunk_free(unsigned char *chunk, struct bench_latency *latency)
{
	uint32_t head;

	__builtin_memcpy(&head, chunk, sizeof(head));
	bench_free_timed(chunk, tag_of(head >> 8), latency);
}

static inline __attribute__((always_inline)) void replace_loop(struct lane *l, size_t count,
							       struct bench_latency *latency)
{
	struct bench_rng rng = l->rng;

	for (size_t i = 0; i < count; i++) {
		uint64_t random = bench_next(&rng);
		size_t k = bench_low(random, l->chunks);

		chunk_free(l->chunk[k], latency);
		l->chunk[k] = chunk_new(l, random, latency);
	}
	l->rng = rng;
}

static __attribute__((noinline)) void replace(struct lane *l, size_t count)
{
	replace_loop(l, count, NULL);
}

static __attribute__((noinline)) void replace_timed(struct lane *l, size_t count)
{
	replace_loop(l, count, l->latency);
}

static void *serve(void *arg);

static void start_thread(struct lane *l)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, serve, l))
		bench_usage_error("a thread cannot be started");
}

/* One thread's life. A predecessor is joined at the end of it, so that the two overlap as they do
 * in a server, and yet no thread is left behind. */
static void *serve(void *arg)
{
	struct lane *l = arg;
	uint64_t left = l->replacements;
	pthread_t before = l->before;
	bool has_before = l->has_before;
	uint64_t operations = atomic_load_explicit(&l->operations, memory_order_relaxed);

	atomic_fetch_add_explicit(&l->threads, 1, memory_order_relaxed);
	while (left > 0 && !atomic_load_explicit(&stop_all, memory_order_relaxed)) {
		size_t count = left < STRIDE ? left : STRIDE;

		if (l->latency && atomic_load_explicit(&measuring, memory_order_relaxed))
			replace_timed(l, count);
		else
			replace(l, count);
		left -= count;
		operations += 2 * count;
		atomic_store_explicit(&l->operations, operations, memory_order_relaxed);
	}
	if (has_before)
		pthread_join(before, NULL);
	if (left == 0) {
		l->before = pthread_self();
		l->has_before = true;
		start_thread(l);
		return NULL;
	}
	pthread_mutex_lock(&stopped_lock);
	l->last = pthread_self();
	stopped++;
	pthread_cond_signal(&stopped_signal);
	pthread_mutex_unlock(&stopped_lock);
	return NULL;
}

static uint64_t sum_operations(struct lane *lane, size_t lanes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < lanes; i++)
		sum += atomic_load_explicit(&lane[i].operations, memory_order_relaxed);
	return sum;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u),
			      .tv_nsec = (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

/* Allocates all blocks in this thread, lane by lane, and shuffles them over the lanes. */
static void fill(struct lane *lane, size_t lanes, uint64_t seed)
{
	size_t chunks = lane[0].chunks;
	size_t total = lanes * chunks;
	unsigned char **chunk = bench_map(total * sizeof(chunk[0]));
	struct bench_rng rng = bench_seed(seed, UINT64_C(1) << 32);

	for (size_t k = 0; k < total; k++)
		chunk[k] = chunk_new(&lane[0], bench_next(&rng), NULL);
	for (size_t k = total; k > 1; k--) {
		size_t other = bench_low(bench_next(&rng), k);
		unsigned char *swap = chunk[k - 1];

		chunk[k - 1] = chunk[other];
		chunk[other] = swap;
	}
	for (size_t i = 0; i < lanes; i++)
		lane[i].chunk = chunk + i * chunks;
}

/* Waits for the last thread of every lane; checks and frees all blocks. Returns the threads that
 * there were. */
static uint64_t finish(struct lane *lane, size_t lanes)
{
	uint64_t threads = 0;

	atomic_store(&stop_all, true);
	pthread_mutex_lock(&stopped_lock);
	while (stopped < lanes)
		pthread_cond_wait(&stopped_signal, &stopped_lock);
	pthread_mutex_unlock(&stopped_lock);
	for (size_t i = 0; i < lanes; i++) {
		pthread_join(lane[i].last, NULL);
		threads += atomic_load(&lane[i].threads);
		for (size_t k = 0; k < lane[i].chunks; k++)
			chunk_free(lane[i].chunk[k], NULL);
	}
	return threads;
}

/* Lets the lanes run until they have done `operations`, or, when those are not given (UINT64_MAX),
 * for a tenth of the run. */
static void warm_up_lanes(struct lane *lane, size_t lanes, uint64_t operations, uint64_t seconds)
{
	if (operations == UINT64_MAX) {
		sleep_ns(seconds * 100000000u);
		return;
	}
	while (sum_operations(lane, lanes) < operations)
		sleep_ns(1000000);
}

int main(int argc, char **argv)
{
	struct bench_arg args[] = {
		{ "SECONDS", 5, 1, 86400 },
		{ "MIN", 8, BENCH_SIZE_MIN, BENCH_SIZE_MAX },
		{ "MAX", 1000, BENCH_SIZE_MIN, BENCH_SIZE_MAX },
		{ "CHUNKS", 5000, 1, 10000000 },
		{ "ROUNDS", 100, 1, 1000000 },
		{ "SEED", 4141, 0, UINT64_MAX },
		{ "THREADS", 2, 1, 1024 },
		{ "threads_in_all", 0, 0, 0 }, /* reported only */
	};
	const struct bench_option options[] = { { "--latency", .text = &bench_latency_path },
						{ 0 } };
	struct lane *lane;
	size_t lanes;
	struct bench_time start, elapsed;
	uint64_t before, done;

	bench_parse(argc, argv,
		    "THREADS lanes replace random ones of their CHUNKS blocks of MIN to MAX bytes; "
		    "after ROUNDS * CHUNKS\nreplacements a thread hands its blocks to a successor "
		    "and ends.",
		    args, 7, options);
	if (args[1].value > args[2].value)
		bench_usage_error("MIN is larger than MAX");
	bench_latency_open();
	lanes = args[6].value;
	lane = bench_map(lanes * sizeof(lane[0]));
	for (size_t i = 0; i < lanes; i++) {
		lane[i].chunks = args[3].value;
		lane[i].replacements = args[3].value * args[4].value;
		lane[i].size_min = args[1].value;
		lane[i].size_span = args[2].value - args[1].value + 1;
		lane[i].rng = bench_seed(args[5].value, i);
		lane[i].latency = bench_latency_new();
	}
	fill(lane, lanes, args[5].value);
	for (size_t i = 0; i < lanes; i++)
		start_thread(&lane[i]);

	warm_up_lanes(lane, lanes, bench_prefault(UINT64_MAX), args[0].value);
	atomic_store(&measuring, true);
	before = sum_operations(lane, lanes);
	start = bench_now();
	sleep_ns(args[0].value * 1000000000u);
	done = sum_operations(lane, lanes) - before;
	atomic_store(&measuring, false);
	elapsed = bench_since(start);
	args[7].value = finish(lane, lanes);
	bench_report(done, elapsed, before, "larson", args, 8);
	bench_latency_close("larson");
	return 0;
}
