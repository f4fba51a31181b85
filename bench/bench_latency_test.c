/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The buckets of --latency: they cover every value, in order, without a gap, and none is wider than
 * 1/32 of what is in it. */
#include "bench_latency.h"
#include "harness.h"

static void limits_rise(void)
{
	for (unsigned b = 1; b < BENCH_LATENCY_BUCKETS; b++)
		t_check_at(bench_latency_limit(b) > bench_latency_limit(b - 1), b);
	t_equal(bench_latency_limit(BENCH_LATENCY_BUCKETS - 1), UINT64_MAX);
}

/* A limit is in its bucket, and the next value is in the next one. */
static void limits_are_the_last_values(void)
{
	for (unsigned b = 0; b < BENCH_LATENCY_BUCKETS; b++) {
		uint64_t limit = bench_latency_limit(b);

		t_equal(bench_latency_bucket(limit), b);
		if (limit != UINT64_MAX)
			t_equal(bench_latency_bucket(limit + 1), b + 1);
	}
}

static void limits_are_near(void)
{
	uint64_t state = 1;

	for (size_t i = 0; i < 1000000; i++) {
		uint64_t value = t_random(&state) >> (t_random(&state) % 64);
		uint64_t above = bench_latency_limit(bench_latency_bucket(value)) - value;

		t_check_at(above <= value / BENCH_LATENCY_STEPS, value);
	}
}

static void time_never_runs_backwards(void)
{
	uint64_t count[BENCH_LATENCY_BUCKETS] = { 0 };

	bench_latency_count(count, 100, 40);
	t_equal(count[0], 1);
	bench_latency_count(count, 40, 100);
	t_equal(count[bench_latency_bucket(60)], 1);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(limits_rise),
		T_CASE(limits_are_the_last_values),
		T_CASE(limits_are_near),
		T_CASE(time_never_runs_backwards),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
