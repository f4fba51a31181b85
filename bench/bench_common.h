/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_COMMON_H
#define HAKMEM_BENCH_COMMON_H
/* What the workloads share: a cheap generator, the clock, stamps in blocks, arguments, and the
 * result line.
 *
 * An operation is one malloc or one free, in every workload. The programs call the standard names,
 * so one source measures any allocator: linked, preloaded, or glibc's own. Nothing here allocates:
 * tables are mapped from the system, and the result is written without stdio, so that the allocator
 * serves the workload alone. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "bench_latency.h"

/* A stamp keeps a block's size beside an 8-bit tag in its first four bytes. */
enum {
	BENCH_SIZE_MIN = 8,
	BENCH_SIZE_MAX = (1 << 24) - 1,
	BENCH_PAGE_MIN = 4096, /* the smallest page there is: steps of --touch */
};

/* ---- Generator: xorshift64, three shifts a number -------------------------------------------- */

struct bench_rng {
	uint64_t state; /* never 0 */
};

static inline uint64_t bench_next(struct bench_rng *rng)
{
	uint64_t x = rng->state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	rng->state = x;
	return x;
}

/* A number below n (n <= 2^32) out of the low half of a random number, and one out of the high. */
static inline size_t bench_low(uint64_t random, size_t n)
{
	return (size_t)(((random & 0xffffffffu) * n) >> 32);
}

static inline size_t bench_high(uint64_t random, size_t n)
{
	return (size_t)(((random >> 32) * n) >> 32);
}

/* Different streams for different seeds and threads, whatever numbers those are. */
struct bench_rng bench_seed(uint64_t seed, uint64_t stream);

/* ---- Stamps: the first and the last byte of every block are written and checked -------------- */

/* Ends the program with a sentence: the block's first or last bytes have changed. */
_Noreturn void bench_damaged(const unsigned char *block, uint8_t tag);

extern bool bench_touch; /* --touch: write every page of every block; set before threads start */

void bench_touch_pages(unsigned char *block, size_t size, uint8_t tag);

static inline void bench_stamp(unsigned char *block, size_t size, uint8_t tag)
{
	uint32_t head = (uint32_t)(size << 8) | tag;

	__builtin_memcpy(block, &head, sizeof(head));
	if (__builtin_expect(bench_touch, 0))
		bench_touch_pages(block, size, tag);
	block[size - 1] = tag;
}

static inline void bench_check(const unsigned char *block, uint8_t tag)
{
	uint32_t head;
	size_t size;

	__builtin_memcpy(&head, block, sizeof(head));
	size = head >> 8;
	if (__builtin_expect((head & 0xff) != tag || size < BENCH_SIZE_MIN, 0))
		bench_damaged(block, tag);
	if (__builtin_expect(block[size - 1] != tag, 0))
		bench_damaged(block, tag);
}

_Noreturn void bench_no_memory(size_t size);

/* malloc with a stamp, free with a check. No memory ends the program with a sentence. */
static inline unsigned char *bench_malloc(size_t size, uint8_t tag)
{
	unsigned char *block = malloc(size);

	if (__builtin_expect(block == NULL, 0))
		bench_no_memory(size);
	bench_stamp(block, size, tag);
	return block;
}

static inline void bench_free(unsigned char *block, uint8_t tag)
{
	bench_check(block, tag);
	free(block);
}

/* The same; `l` gets the time of the call alone. A loop that is not timed passes a constant NULL, and
 * is compiled without a trace of this. */
static inline unsigned char *bench_malloc_timed(size_t size, uint8_t tag, struct bench_latency *l)
{
	unsigned char *block;

	if (!l)
		return bench_malloc(size, tag);
	block = bench_timed_malloc(l, size);
	if (__builtin_expect(block == NULL, 0))
		bench_no_memory(size);
	bench_stamp(block, size, tag);
	return block;
}

static inline void bench_free_timed(unsigned char *block, uint8_t tag, struct bench_latency *l)
{
	if (!l) {
		bench_free(block, tag);
		return;
	}
	bench_check(block, tag);
	bench_timed_free(l, block);
}

/* ---- Slots: the steady state that three of the workloads have ------------------------------- */

struct bench_slots {
	unsigned char **slot; /* `count` pointers, NULL = free */
	size_t count;
	size_t size_min;
	size_t size_span; /* sizes are size_min … size_min + size_span - 1 */
	struct bench_rng rng;
	struct bench_latency *latency; /* NULL: not timed */
};

void bench_slots_init(struct bench_slots *s, size_t count, size_t size_min, size_t size_max,
		      struct bench_rng rng);
/* `operations` times: pick a slot; check and free its block, or allocate one of a random size. */
void bench_slots_run(struct bench_slots *s, uint64_t operations);
/* Checks and frees what is left. */
void bench_slots_finish(struct bench_slots *s);

/* ---- Program --------------------------------------------------------------------------------- */

/* One positional number; all of them may be left out from the right. */
struct bench_arg {
	const char *name;
	uint64_t value; /* in: the default; out: what was given */
	uint64_t min;
	uint64_t max;
};

/* A word that begins with "--": a switch; with `number` or `text` one that takes the next word. */
struct bench_option {
	const char *name;
	bool *value;      /* a switch is set to true */
	uint64_t *number; /* 1…10^12; in: the default */
	const char **text;
};

/* Reads the command line into args[] and options[] (which ends with a NULL name). --touch and
 * --help are known to all. Anything else is refused with a sentence and exit status 2. */
void bench_parse(int argc, char **argv, const char *about, struct bench_arg *args, size_t count,
		 const struct bench_option *options);
/* A size from the environment, between min and max; exit status 2 when it is anything else. */
uint64_t bench_env(const char *name, uint64_t fallback, uint64_t min, uint64_t max);
/* The operations of warm-up: HAKMEM_BENCH_PREFAULT, or `fallback` when it is not set. */
uint64_t bench_prefault(uint64_t fallback);
/* Ends the program with a sentence about itself and exit status 2. */
_Noreturn void bench_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory that does not come from the allocator. */
void *bench_map(size_t size);

/* Wall time, and the CPU time of all threads: on a busy machine only the latter is comparable. */
struct bench_time {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};
struct bench_time bench_now(void);
/* The wall clock alone, without a system call. */
uint64_t bench_wall_ns(void);
/* From `start` to now. */
struct bench_time bench_since(struct bench_time start);

/* A line of /proc/self/status in KiB, by its name with the colon; 0 when it cannot be read. The peak
 * RSS is "VmHWM:" (ru_maxrss may be the launcher's). */
uint64_t bench_status_kib(const char *name);
/* Writes the result line: throughput, the parameters, times, warm-up, peak RSS, and whose malloc it
 * was. */
void bench_report(uint64_t operations, struct bench_time elapsed, uint64_t warm_up,
		  const char *program, const struct bench_arg *args, size_t count);

#endif
