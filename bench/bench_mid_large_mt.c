/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* THREADS threads, each with WS slots of its own and blocks of 8 to 32 KiB: no block changes hands,
 * so what is measured is what threads take from each other inside the allocator. */
#define _GNU_SOURCE /* pthread_barrier_t */
#include "bench_common.h"

#include <pthread.h>

struct worker {
	pthread_t thread;
	pthread_barrier_t *gate;
	struct bench_slots slots;
	struct bench_latency *latency;
	uint64_t warm_up;
	uint64_t cycles;
};

/* The clock starts when all have warmed up and stops when the last one has finished. */
static void *work(void *arg)
{
	struct worker *w = arg;

	bench_slots_run(&w->slots, w->warm_up);
	w->slots.latency = w->latency;
	pthread_barrier_wait(w->gate);
	bench_slots_run(&w->slots, w->cycles);
	pthread_barrier_wait(w->gate);
	bench_slots_finish(&w->slots);
	return NULL;
}

int main(int argc, char **argv)
{
	struct bench_arg args[] = {
		{ "THREADS", 2, 1, 1024 },
		{ "CYCLES", 2000000, 1, UINT64_C(1000000000000) },
		{ "WS", 256, 1, 10000000 },
		{ "SEED", 1, 0, UINT64_MAX },
	};
	const struct bench_option options[] = { { "--latency", .text = &bench_latency_path },
						{ 0 } };
	pthread_barrier_t gate;
	struct worker *worker;
	size_t threads;
	struct bench_time start, elapsed;
	uint64_t warm_up;

	bench_parse(argc, argv,
		    "Every thread: CYCLES times, a random slot of its WS is freed if it is taken, "
		    "else filled with 8 to 32 KiB.",
		    args, 4, options);
	bench_latency_open();
	threads = args[0].value;
	warm_up = bench_prefault(args[1].value / 10);
	worker = bench_map(threads * sizeof(worker[0]));
	pthread_barrier_init(&gate, NULL, (unsigned int)threads + 1);
	for (size_t i = 0; i < threads; i++) {
		struct worker *w = &worker[i];

		*w = (struct worker){ .gate = &gate,
				      .latency = bench_latency_new(),
				      .warm_up = warm_up,
				      .cycles = args[1].value };
		bench_slots_init(&w->slots, args[2].value, 8 << 10, 32 << 10,
				 bench_seed(args[3].value, i));
		if (pthread_create(&w->thread, NULL, work, w))
			bench_usage_error("thread %zu cannot be started", i);
	}
	pthread_barrier_wait(&gate);
	start = bench_now();
	pthread_barrier_wait(&gate);
	elapsed = bench_since(start);
	bench_report(args[1].value * threads, elapsed, warm_up * threads, "mid_large_mt", args, 4);
	for (size_t i = 0; i < threads; i++)
		pthread_join(worker[i].thread, NULL);
	bench_latency_close("mid_large_mt");
	return 0;
}
