/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Batches of equal small blocks: BATCH allocations, then as many frees in the opposite order
 * (LIFO), or in the same one with --fifo. Says what the fast path costs, and where a cache ends. */
#include "bench_common.h"

static void run(unsigned char **block, size_t batch, size_t size, uint64_t cycles, bool fifo)
{
	for (uint64_t c = 0; c < cycles; c++) {
		for (size_t i = 0; i < batch; i++)
			block[i] = bench_malloc(size, (uint8_t)i);
		if (fifo) {
			for (size_t i = 0; i < batch; i++)
				bench_free(block[i], (uint8_t)i);
		} else {
			for (size_t i = batch; i-- > 0;)
				bench_free(block[i], (uint8_t)i);
		}
	}
}

int main(int argc, char **argv)
{
	bool fifo = false;
	struct bench_arg args[] = {
		{ "SIZE", 32, BENCH_SIZE_MIN, 128 },
		{ "BATCH", 64, 1, 10000000 },
		{ "CYCLES", 300000, 1, UINT64_C(1000000000000) },
	};
	const struct bench_option options[] = { { "--fifo", .value = &fifo }, { 0 } };
	uint64_t size, batch, cycles, warm_up;
	struct bench_time start;
	unsigned char **block;

	bench_parse(argc, argv,
		    "One thread; BATCH blocks are allocated, then freed last first (--fifo: first "
		    "first), CYCLES times.",
		    args, 3, options);
	size = args[0].value;
	batch = args[1].value;
	cycles = args[2].value;
	/* Whole batches: a cycle is 2 * batch operations. */
	warm_up = (bench_prefault(cycles / 10 * 2 * batch) + 2 * batch - 1) / (2 * batch);

	block = bench_map(batch * sizeof(block[0]));
	run(block, batch, size, warm_up, fifo);
	start = bench_now();
	run(block, batch, size, cycles, fifo);
	bench_report(cycles * 2 * batch, bench_since(start), warm_up * 2 * batch,
		     fifo ? "tiny_hot_fifo" : "tiny_hot", args, 3);
	return 0;
}
