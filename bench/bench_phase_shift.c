/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A program whose sizes shift: it fills up to BYTES with blocks around 24 bytes, frees nine in ten
 * at random, fills up again around 200 bytes, and so on to 1 MB and back down: one cycle. What
 * survives of a phase holds the memory that the next one could use, so peak and end RSS say as much
 * as the speed does.
 *
 * Blocks are linked through their own bytes: a table of pointers would be a third of the RSS when
 * they are small. There are many lists, chosen at random, so that blocks of a list lie scattered
 * over the heap, and freeing list by list frees in no order of addresses. */
#include "bench_common.h"
#include "bench_latency.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
	LISTS = 4096,
	LINK_AT = 8, /* in a block, behind its stamp */
	KEEP = 10,   /* one in so many outlives its phase */
};

static const size_t phase_sizes[] = { 24, 200, 3000, 40000, 1000000, 40000, 3000, 200, 24 };
enum { PHASES = sizeof(phase_sizes) / sizeof(phase_sizes[0]) };

struct run {
	unsigned char **list;
	uint64_t bytes;      /* to fill up to */
	uint64_t live_bytes; /* as asked for */
	uint64_t operations;
	struct bench_rng rng;
	bool rows;
	uint64_t start_ns;
	struct bench_latency *latency;
};

static unsigned char *next_of(const unsigned char *block)
{
	unsigned char *next;

	__builtin_memcpy(&next, block + LINK_AT, sizeof(next));
	return next;
}

static void set_next(unsigned char *block, unsigned char *next)
{
	__builtin_memcpy(block + LINK_AT, &next, sizeof(next));
}

static size_t size_of(const unsigned char *block)
{
	uint32_t head;

	__builtin_memcpy(&head, block, sizeof(head));
	return head >> 8;
}

/* ---- Two halves of a phase ------------------------------------------------------------------- */

/* Sizes are `size`, a quarter more or less. */
static inline __attribute__((always_inline)) void fill(struct run *r, size_t size,
						       struct bench_latency *l)
{
	size_t size_min = size - size / 4;
	size_t size_span = size / 2 + 1;

	while (r->live_bytes < r->bytes) {
		uint64_t random = bench_next(&r->rng);
		size_t k = bench_low(random, LISTS);
		size_t bytes = size_min + bench_high(random, size_span);
		unsigned char *block = bench_malloc_timed(bytes, (uint8_t)k, l);

		set_next(block, r->list[k]);
		r->list[k] = block;
		r->live_bytes += bytes;
		r->operations++;
	}
}

/* Frees all but one in `keep`; with 0 all. */
static inline __attribute__((always_inline)) void shed(struct run *r, size_t keep,
						       struct bench_latency *l)
{
	for (size_t k = 0; k < LISTS; k++) {
		unsigned char *kept = NULL;

		for (unsigned char *block = r->list[k], *next; block; block = next) {
			next = next_of(block);
			if (keep && bench_low(bench_next(&r->rng), keep) == 0) {
				set_next(block, kept);
				kept = block;
				continue;
			}
			r->live_bytes -= size_of(block);
			bench_free_timed(block, (uint8_t)k, l);
			r->operations++;
		}
		r->list[k] = kept;
	}
}

static void fill_phase(struct run *r, size_t size)
{
	if (r->latency)
		fill(r, size, r->latency);
	else
		fill(r, size, NULL);
}

static void shed_phase(struct run *r)
{
	if (r->latency)
		shed(r, KEEP, r->latency);
	else
		shed(r, KEEP, NULL);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static void put_row(const struct run *r, const char *step, size_t size)
{
	char text[128];
	int length;

	if (!r->rows)
		return;
	length = snprintf(text, sizeof(text), "%s-%zu,%.3f,%" PRIu64 ",%" PRIu64 "\n", step, size,
			  (double)(bench_wall_ns() - r->start_ns) / 1e9, r->live_bytes,
			  bench_status_kib("VmRSS:"));
	if (write(STDOUT_FILENO, text, (size_t)length) != length)
		_exit(1); /* nobody reads any more */
}

static void put_head(void)
{
	static const char head[] = "phase,time_s,live_bytes,rss_kib\n";

	if (write(STDOUT_FILENO, head, sizeof(head) - 1) < 0)
		_exit(1);
}

/* ---- Program --------------------------------------------------------------------------------- */

static void run_cycle(struct run *r)
{
	for (size_t i = 0; i < PHASES; i++) {
		fill_phase(r, phase_sizes[i]);
		put_row(r, "fill", phase_sizes[i]);
		shed_phase(r);
		put_row(r, "free", phase_sizes[i]);
	}
}

/* Whole cycles: `operations` or more, a tenth of the run when those are not given (UINT64_MAX). */
static uint64_t warm_up_run(struct run *r, uint64_t operations, uint64_t cycles)
{
	if (operations == UINT64_MAX) {
		for (uint64_t c = 0; c < cycles / 10; c++)
			run_cycle(r);
	} else {
		while (r->operations < operations)
			run_cycle(r);
	}
	return r->operations;
}

int main(int argc, char **argv)
{
	struct bench_arg args[] = {
		{ "CYCLES", 2, 1, UINT64_C(1000000000) },
		{ "BYTES", 32 << 20, 1 << 20, UINT64_C(1) << 40 },
		{ "SEED", 1, 0, UINT64_MAX },
		{ "rss_live_kib", 0, 0, 0 }, /* reported: with what the last phase has left */
		{ "rss_end_kib", 0, 0, 0 },  /* and when all is freed */
	};
	bool rows = false;
	const struct bench_option options[] = { { "--rows", .value = &rows },
						{ "--latency", .text = &bench_latency_path },
						{ 0 } };
	struct run run = { 0 };
	struct bench_time start, elapsed;
	uint64_t warm_up, operations;

	bench_parse(
		argc, argv,
		"One thread; CYCLES times: fills up to BYTES with blocks around 24 bytes, frees "
		"nine in ten, then the same\naround 200, 3000, 40000, 1000000 bytes, and back "
		"down. --rows prints a CSV row after each step.",
		args, 3, options);
	bench_latency_open();
	run.list = bench_map(LISTS * sizeof(run.list[0]));
	run.bytes = args[1].value;
	run.rng = bench_seed(args[2].value, 0);
	warm_up = warm_up_run(&run, bench_prefault(UINT64_MAX), args[0].value);

	run.rows = rows;
	run.latency = bench_latency_new();
	if (rows)
		put_head();
	start = bench_now();
	run.start_ns = start.wall_ns;
	for (uint64_t c = 0; c < args[0].value; c++)
		run_cycle(&run);
	elapsed = bench_since(start);
	operations = run.operations - warm_up;
	args[3].value = bench_status_kib("VmRSS:");
	shed(&run, 0, NULL);
	args[4].value = bench_status_kib("VmRSS:");
	put_row(&run, "end", 0);
	bench_report(operations, elapsed, warm_up, "phase_shift", args, 5);
	bench_latency_close("phase_shift");
	return 0;
}
