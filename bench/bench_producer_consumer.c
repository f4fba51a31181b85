/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* PRODUCERS threads allocate, CONSUMERS threads check and free: every block is freed by another
 * thread than its own. Each pair of them has a bounded ring; a producer goes on to the next
 * consumer after every batch, past those whose ring is full.
 *
 * A ring has one writer and one reader, who publish BATCH blocks at a time, so that the hand-over
 * costs a cache line or two a batch and the allocator the rest. A thread that has nothing to do
 * spins shortly and then yields: its CPU time is in the result's. */
#define _GNU_SOURCE /* pthread_barrier_t */
#include "bench_common.h"
#include "bench_latency.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum {
	RING = 512, /* blocks under way between two threads, at most */
	BATCH = 16,
	SPINS = 64, /* looks before a waiting thread yields */
	THREADS_MAX = 64,
	SIZE_MAX_ARG = 1 << 20,
};

struct ring {
	/* The producer's line: blocks put in, and the run (1: warm-up, 2) that it has finished. */
	_Atomic uint64_t tail __attribute__((aligned(128)));
	_Atomic unsigned finished;
	uint64_t head_seen;
	/* The consumer's: blocks taken out. */
	_Atomic uint64_t head __attribute__((aligned(128)));
	unsigned char *block[RING] __attribute__((aligned(128)));
};

struct worker {
	pthread_t thread;
	void (*part)(struct worker *w, unsigned run, struct bench_latency *l);
	size_t index;
	struct bench_rng rng;
	struct bench_latency *latency;
};

static struct {
	struct ring *ring; /* [producer * consumers + consumer] */
	size_t producers, consumers;
	size_t size_min, size_span;
	uint64_t blocks[2]; /* of each producer: in warm-up, in the run */
	pthread_barrier_t gate;
} all;

/* A block's tag is its place in the ring: one that is lost, or comes twice, does not match. */
static inline __attribute__((always_inline)) void put_batch(struct worker *w, struct ring *r,
							    size_t count, struct bench_latency *l)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	for (size_t i = 0; i < count; i++, tail++) {
		size_t size = all.size_min + bench_low(bench_next(&w->rng), all.size_span);

		r->block[tail % RING] = bench_malloc_timed(size, (uint8_t)tail, l);
	}
	atomic_store_explicit(&r->tail, tail, memory_order_release);
}

/* Takes what is there; how many that were. */
static inline __attribute__((always_inline)) size_t take(struct ring *r, struct bench_latency *l)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	size_t taken = (size_t)(tail - head);

	while (head != tail) {
		uint64_t stop = tail - head < BATCH ? tail : head + BATCH;

		for (; head != stop; head++)
			bench_free_timed(r->block[head % RING], (uint8_t)head, l);
		atomic_store_explicit(&r->head, head, memory_order_release);
	}
	return taken;
}

static bool has_room(struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail - r->head_seen + BATCH <= RING)
		return true;
	r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
	return tail - r->head_seen + BATCH <= RING;
}

static void wait_a_little(unsigned *looks)
{
	if (++*looks % SPINS == 0)
		sched_yield();
}

static void produce(struct worker *w, unsigned run, struct bench_latency *l)
{
	struct ring *mine = &all.ring[w->index * all.consumers];
	uint64_t left = all.blocks[run - 1];
	size_t to = w->index % all.consumers;
	unsigned looks = 0;

	while (left > 0) {
		size_t count = left < BATCH ? (size_t)left : BATCH;

		if (has_room(&mine[to])) {
			if (l)
				put_batch(w, &mine[to], count, l);
			else
				put_batch(w, &mine[to], count, NULL);
			left -= count;
		} else if (to == w->index % all.consumers) {
			wait_a_little(&looks);
		}
		to = (to + 1) % all.consumers;
	}
	for (size_t c = 0; c < all.consumers; c++)
		atomic_store_explicit(&mine[c].finished, run, memory_order_release);
}

/* A ring is at its end when it was found empty after its producer had finished. */
static void consume(struct worker *w, unsigned run, struct bench_latency *l)
{
	size_t open;
	unsigned looks = 0;

	do {
		size_t taken = 0;

		open = 0;
		for (size_t p = 0; p < all.producers; p++) {
			struct ring *r = &all.ring[p * all.consumers + w->index];

			open += atomic_load_explicit(&r->finished, memory_order_acquire) != run;
			taken += l ? take(r, l) : take(r, NULL);
		}
		if (taken == 0)
			wait_a_little(&looks);
	} while (open > 0);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->part(w, 1, NULL);
	pthread_barrier_wait(&all.gate);
	w->part(w, 2, w->latency);
	pthread_barrier_wait(&all.gate);
	return NULL;
}

static void start_threads(struct worker *worker, uint64_t seed)
{
	for (size_t i = 0; i < all.producers + all.consumers; i++) {
		bool producer = i < all.producers;
		struct worker *w = &worker[i];

		w->part = producer ? produce : consume;
		w->index = producer ? i : i - all.producers;
		w->rng = bench_seed(seed, i);
		w->latency = bench_latency_new();
		if (pthread_create(&w->thread, NULL, work, w))
			bench_usage_error("thread %zu cannot be started", i);
	}
}

/* Blocks of each producer, at least one, when `operations` are shared among all. */
static uint64_t share(uint64_t operations)
{
	return (operations + 2 * all.producers - 1) / (2 * all.producers);
}

int main(int argc, char **argv)
{
	bool mixed = false;
	struct bench_arg args[] = {
		{ "PRODUCERS", 1, 1, THREADS_MAX },
		{ "CONSUMERS", 1, 1, THREADS_MAX },
		{ "SIZE", 64, BENCH_SIZE_MIN, SIZE_MAX_ARG },
		{ "OPS", 10000000, 1, UINT64_C(1000000000000) },
		{ "SEED", 1, 0, UINT64_MAX },
	};
	const struct bench_option options[] = { { "--mixed", .value = &mixed },
						{ "--latency", .text = &bench_latency_path },
						{ 0 } };
	struct worker *worker;
	struct bench_time start, elapsed;
	size_t threads;

	bench_parse(argc, argv,
		    "PRODUCERS threads allocate blocks of SIZE bytes (--mixed: 8 to SIZE), and "
		    "CONSUMERS threads free them;\nOPS allocations and frees in all.",
		    args, 5, options);
	bench_latency_open();
	all.producers = args[0].value;
	all.consumers = args[1].value;
	all.size_min = mixed ? BENCH_SIZE_MIN : args[2].value;
	all.size_span = args[2].value - all.size_min + 1;
	all.blocks[0] = share(bench_prefault(args[3].value / 10));
	all.blocks[1] = share(args[3].value);
	all.ring = bench_map(all.producers * all.consumers * sizeof(all.ring[0]));
	threads = all.producers + all.consumers;
	worker = bench_map(threads * sizeof(worker[0]));
	pthread_barrier_init(&all.gate, NULL, (unsigned int)threads + 1);
	start_threads(worker, args[4].value);

	pthread_barrier_wait(&all.gate);
	start = bench_now();
	pthread_barrier_wait(&all.gate);
	elapsed = bench_since(start);
	for (size_t i = 0; i < threads; i++)
		pthread_join(worker[i].thread, NULL);
	bench_report(all.blocks[1] * all.producers * 2, elapsed, all.blocks[0] * all.producers * 2,
		     mixed ? "producer_consumer_mixed" : "producer_consumer", args, 5);
	bench_latency_close("producer_consumer");
	return 0;
}
