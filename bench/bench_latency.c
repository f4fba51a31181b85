/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "bench_latency.h"
#include "bench_common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EMPTY_INTERVALS = 100000 };

/* The counter is compared with the clock over at least this time. */
#define CALIBRATION_NS UINT64_C(50000000)

const char *bench_latency_path;

static struct bench_latency *all; /* of this run */
static int file = -1;

struct moment {
	uint64_t ns;
	uint64_t ticks;
};
static struct moment opened;

static struct moment read_moment(void)
{
	return (struct moment){ .ns = bench_wall_ns(), .ticks = bench_ticks_end() };
}

static double ns_per_tick(void)
{
	struct moment now;

	do
		now = read_moment();
	while (now.ns - opened.ns < CALIBRATION_NS);
	return (double)(now.ns - opened.ns) / (double)(now.ticks - opened.ticks);
}

uint64_t bench_latency_limit(unsigned bucket)
{
	unsigned octave = bucket / BENCH_LATENCY_STEPS;

	if (octave == 0)
		return bucket;
	octave--;
	/* The first value of the bucket above, less one; that of the last bucket wraps to 0. */
	return ((uint64_t)(bucket - octave * BENCH_LATENCY_STEPS + 1) << octave) - 1;
}

struct timer {
	uint64_t overhead; /* ticks that half of all empty intervals do not exceed */
	uint64_t step;     /* the smallest difference of two intervals */
};

static struct timer measure_timer(void)
{
	struct timer timer = { .step = UINT64_MAX };
	struct bench_latency *l = bench_map(sizeof(*l));
	uint64_t seen = 0, before = 0;
	unsigned bucket = 0;

	for (unsigned i = 0; i < EMPTY_INTERVALS; i++) {
		uint64_t begin = bench_ticks_begin(), end = bench_ticks_end();
		uint64_t length = end - begin;
		uint64_t change = length > before ? length - before : before - length;

		bench_latency_count(l->malloc_count, begin, end);
		if (change > 0 && change < timer.step)
			timer.step = change;
		before = length;
	}
	while ((seen += l->malloc_count[bucket]) < EMPTY_INTERVALS / 2)
		bucket++;
	timer.overhead = bench_latency_limit(bucket);
	return timer;
}

void bench_latency_open(void)
{
	if (!bench_latency_path)
		return;
	file = open(bench_latency_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file < 0)
		bench_usage_error("%s cannot be written: %s", bench_latency_path, strerror(errno));
	opened = read_moment();
}

struct bench_latency *bench_latency_new(void)
{
	struct bench_latency *l;

	if (!bench_latency_path)
		return NULL;
	l = bench_map(sizeof(*l));
	l->next = all;
	all = l;
	return l;
}

static void put(const char *text, int length)
{
	if (write(file, text, (size_t)length) != length)
		bench_usage_error("%s cannot be written: %s", bench_latency_path, strerror(errno));
}

static void put_histogram(const char *operation, const uint64_t *count, double tick_ns)
{
	char text[128];

	for (unsigned i = 0; i < BENCH_LATENCY_BUCKETS; i++) {
		if (count[i] == 0)
			continue;
		put(text, snprintf(text, sizeof(text), "%s,%.3f,%" PRIu64 "\n", operation,
				   (double)bench_latency_limit(i) * tick_ns, count[i]));
	}
}

void bench_latency_close(const char *program)
{
	struct bench_latency *sum;
	struct timer timer;
	double tick_ns;
	char text[256];

	if (!bench_latency_path)
		return;
	sum = bench_map(sizeof(*sum));
	for (struct bench_latency *l = all; l; l = l->next) {
		for (unsigned i = 0; i < BENCH_LATENCY_BUCKETS; i++) {
			sum->malloc_count[i] += l->malloc_count[i];
			sum->free_count[i] += l->free_count[i];
		}
	}
	tick_ns = ns_per_tick();
	timer = measure_timer();
	put(text, snprintf(text, sizeof(text),
			   "# hakmem results 1\n# kind: latency\n# workload: %s\n"
			   "# timer_mhz: %.3f\n# timer_overhead_ns: %.1f\n"
			   "# timer_step_ns: %.1f\n"
			   "operation,le_ns,count\n",
			   program, 1e3 / tick_ns, (double)timer.overhead * tick_ns,
			   (double)timer.step * tick_ns));
	put_histogram("malloc", sum->malloc_count, tick_ns);
	put_histogram("free", sum->free_count, tick_ns);
	close(file);
}
