/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_LATENCY_H
#define HAKMEM_BENCH_LATENCY_H
/* --latency FILE: how long each malloc and each free took, as a histogram.
 *
 * A call is timed by the processor's own counter, with the fences that keep other instructions out
 * of the interval. Reading it costs more than a fast malloc: every time includes that cost, and the
 * file says at its head what an empty interval takes (timer_overhead_ns) and the smallest step that
 * the counter was seen to make (timer_step_ns: under a hypervisor it may be 10 ns). Neither is
 * subtracted, since call and counter overlap in the processor, and no difference of the two is a
 * measurement.
 *
 * Buckets are log-linear: 32 to an octave, so a limit is at most 1/32 above what was measured. Each
 * thread has a histogram of its own; they are added when the file is written. A loop that is not
 * timed passes a constant NULL, and is compiled without a trace of this. */
#include <stdint.h>
#include <stdlib.h>

enum {
	BENCH_LATENCY_STEPS = 32, /* buckets to an octave */
	BENCH_LATENCY_BUCKETS = BENCH_LATENCY_STEPS * 60,
};

struct bench_latency {
	struct bench_latency *next;
	uint64_t malloc_count[BENCH_LATENCY_BUCKETS];
	uint64_t free_count[BENCH_LATENCY_BUCKETS];
};

extern const char *bench_latency_path; /* what --latency was given; NULL: nothing is timed */

/* ---- The counter ----------------------------------------------------------------------------- */

#if defined(__x86_64__)
static inline uint64_t bench_ticks_begin(void)
{
	uint64_t ticks;

	__asm__ volatile("rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %0\n\tlfence"
			 : "=a"(ticks)
			 :
			 : "rdx", "memory", "cc");
	return ticks;
}

static inline uint64_t bench_ticks_end(void)
{
	uint64_t ticks;

	__asm__ volatile("rdtscp\n\tshl $32, %%rdx\n\tor %%rdx, %0\n\tlfence"
			 : "=a"(ticks)
			 :
			 : "rcx", "rdx", "memory", "cc");
	return ticks;
}
#elif defined(__aarch64__)
static inline uint64_t bench_ticks_begin(void)
{
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
	return ticks;
}

static inline uint64_t bench_ticks_end(void)
{
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
	return ticks;
}
#else
#error "no counter is known for this processor"
#endif

/* ---- Buckets --------------------------------------------------------------------------------- */

/* Below 32 a bucket is one value; above, the five bits behind the highest tell buckets apart. */
static inline unsigned bench_latency_bucket(uint64_t ticks)
{
	unsigned octave;

	if (ticks < BENCH_LATENCY_STEPS)
		return (unsigned)ticks;
	octave = 63 - 5 - (unsigned)__builtin_clzll(ticks);
	return octave * BENCH_LATENCY_STEPS + (unsigned)(ticks >> octave);
}

/* The highest value that is in a bucket. */
uint64_t bench_latency_limit(unsigned bucket);

/* A thread that moved to a CPU whose counter is behind may read an end before its beginning. */
static inline void bench_latency_count(uint64_t *count, uint64_t begin, uint64_t end)
{
	count[bench_latency_bucket(end > begin ? end - begin : 0)]++;
}

/* ---- Timed calls ----------------------------------------------------------------------------- */

static inline void *bench_timed_malloc(struct bench_latency *l, size_t size)
{
	uint64_t begin = bench_ticks_begin();
	void *p = malloc(size);

	bench_latency_count(l->malloc_count, begin, bench_ticks_end());
	return p;
}

static inline void bench_timed_free(struct bench_latency *l, void *p)
{
	uint64_t begin = bench_ticks_begin();

	free(p);
	bench_latency_count(l->free_count, begin, bench_ticks_end());
}

/* ---- Program (its first thread only) --------------------------------------------------------- */

/* Opens the file and starts to calibrate, when there is a path. */
void bench_latency_open(void);
/* A histogram for a thread that is to be timed; NULL when nothing is timed. */
struct bench_latency *bench_latency_new(void);
/* Writes the sum of all histograms. The threads that were timed have ended, or rest. */
void bench_latency_close(const char *program);

#endif
