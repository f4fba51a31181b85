/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* One thread, WS slots of blocks of 512 KiB to 2 MiB: what spans and the span cache are for. */
#include "bench_common.h"

int main(int argc, char **argv)
{
	struct bench_arg args[] = {
		{ "CYCLES", 20000, 1, UINT64_C(1000000000000) },
		{ "WS", 256, 1, 100000 },
		{ "SEED", 1, 0, UINT64_MAX },
	};
	const struct bench_option options[] = { { "--latency", .text = &bench_latency_path },
						{ 0 } };
	struct bench_slots slots;
	uint64_t warm_up;
	struct bench_time start;

	bench_parse(argc, argv,
		    "One thread; a random slot is freed if it is taken, else filled with 512 KiB "
		    "to 2 MiB.",
		    args, 3, options);
	warm_up = bench_prefault(args[0].value / 10);
	bench_latency_open();

	bench_slots_init(&slots, args[1].value, 512 << 10, 2 << 20, bench_seed(args[2].value, 0));
	bench_slots_run(&slots, warm_up);
	slots.latency = bench_latency_new();
	start = bench_now();
	bench_slots_run(&slots, args[0].value);
	bench_report(args[0].value, bench_since(start), warm_up, "vm_mixed", args, 3);
	bench_latency_close("vm_mixed");
	bench_slots_finish(&slots);
	return 0;
}
