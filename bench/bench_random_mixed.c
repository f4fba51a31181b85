/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* One thread, WS slots picked at random: a taken slot is freed, an empty one gets a block of 16 to
 * 1024 bytes. About half of the slots are live. With --duration it runs by the clock, and prints a
 * CSV row an epoch before the result (bench_epoch.h). */
#include "bench_common.h"
#include "bench_epoch.h"

enum { WIDEST = 8192 };

int main(int argc, char **argv)
{
	struct bench_arg args[] = {
		{ "ITERS", 20000000, 1, UINT64_C(1000000000000) },
		{ "WS", 400, 1, 100000000 },
		{ "SEED", 1, 0, UINT64_MAX },
		{ "BENCH_MIN_SIZE", 16, 0, 0 }, /* from the environment */
		{ "BENCH_MAX_SIZE", 1024, 0, 0 },
	};
	uint64_t duration_s = 0, epoch_s = 5;
	const struct bench_option options[] = { { "--duration", .number = &duration_s },
						{ "--epoch", .number = &epoch_s },
						{ "--latency", .text = &bench_latency_path },
						{ 0 } };
	struct bench_slots slots;
	uint64_t warm_up, ops = 0;
	struct bench_time start;

	bench_parse(argc, argv,
		    "One thread; a random slot is freed if it is taken, else filled with 16 to "
		    "1024 bytes.\nBENCH_MIN_SIZE and BENCH_MAX_SIZE set other limits, 8 to 8192.\n"
		    "--duration runs for N seconds instead of ITERS, with a CSV row every --epoch "
		    "seconds.",
		    args, 3, options);
	args[3].value = bench_env("BENCH_MIN_SIZE", args[3].value, BENCH_SIZE_MIN, WIDEST);
	args[4].value = bench_env("BENCH_MAX_SIZE", args[4].value, BENCH_SIZE_MIN, WIDEST);
	if (args[3].value > args[4].value)
		bench_usage_error("BENCH_MIN_SIZE is larger than BENCH_MAX_SIZE");
	warm_up = bench_prefault(args[0].value / 10);
	bench_latency_open();

	bench_slots_init(&slots, args[1].value, args[3].value, args[4].value,
			 bench_seed(args[2].value, 0));
	bench_slots_run(&slots, warm_up);
	slots.latency = bench_latency_new();
	start = bench_now();
	if (duration_s)
		ops = bench_epochs_run(&slots, duration_s, epoch_s);
	else
		bench_slots_run(&slots, ops = args[0].value);
	bench_report(ops, bench_since(start), warm_up, "random_mixed", args, 5);
	bench_latency_close("random_mixed");
	bench_slots_finish(&slots);
	return 0;
}
