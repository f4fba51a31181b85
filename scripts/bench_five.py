#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Runs the five workloads of bench/ under several allocators and prints medians.

One binary, linked with glibc, serves all: the allocators are preloaded, so that nothing but the
allocator differs. Runs are interleaved (every allocator once, then again), and the order is
rotated, so that a slow minute of the machine hits all of them. Single-threaded workloads are pinned
to one CPU.

    scripts/bench_five.py                              glibc, Debian's mimalloc, hakmem
    scripts/bench_five.py -n 15 snmalloc=/path/to/libsnmallocshim.so
"""

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIMALLOC_PLACES = sorted(Path("/usr/lib").glob("*-linux-gnu/libmimalloc.so.2"))

# name, program, arguments, pinned to one CPU
WORKLOADS = [
    ("random_mixed", "bench_random_mixed", ["20000000", "400", "1"], True),
    ("tiny_hot", "bench_tiny_hot", ["32", "64", "1000000"], True),
    ("mid_large_mt", "bench_mid_large_mt", ["2", "5000000", "256", "1"], False),
    ("vm_mixed", "bench_vm_mixed", ["200000", "256", "1"], True),
    ("larson", "larson", ["2", "8", "1000", "5000", "100", "4141", "2"], False),
]

RESULT = re.compile(r"^Throughput = (\d+) ops/s .* ops=(\d+) .* cpu=([\d.]+)s vmhwm=(\d+)KiB "
                    r"malloc=(\S+)$", re.M)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Runs the five workloads under several allocators; prints medians.")
    parser.add_argument("allocators", nargs="*", metavar="NAME=PATH",
                        help="further allocators to preload")
    parser.add_argument("-n", "--repetitions", type=int, default=7)
    parser.add_argument("-b", "--build", type=Path, default=ROOT / "build/release",
                        help="build tree with bench/ and libhakmem.so (default build/release)")
    parser.add_argument("-w", "--workload", action="append", metavar="NAME",
                        choices=[w[0] for w in WORKLOADS], help="only this one; may be repeated")
    parser.add_argument("--touch", action="store_true", help="write every page of every block")
    parser.add_argument("--csv", type=Path, help="write every run to this file")
    args = parser.parse_args()
    if args.repetitions < 1:
        parser.error("at least one repetition")
    return parser, args


def describe_machine():
    """CPU, its number, kernel and libc: what a figure means without the machine's name."""
    cpus = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    kernel = os.uname()
    return f"{len(cpus)} x {cpus[0] if cpus else kernel.machine}, {kernel.sysname} " \
           f"{kernel.release.split('-')[0]}, {os.confstr('CS_GNU_LIBC_VERSION')}"


def find_allocators(parser, args):
    """Name to library path; glibc, the first, preloads nothing."""
    found = {"glibc": None}
    if MIMALLOC_PLACES:
        found["mimalloc"] = MIMALLOC_PLACES[0]
    else:
        print("bench_five: Debian's libmimalloc2.0 is not installed: no mimalloc column",
              file=sys.stderr)
    hakmem = args.build / "libhakmem.so"
    if hakmem.exists():
        found["hakmem"] = hakmem.resolve()
    else:
        print(f"bench_five: {hakmem} is not built: no hakmem column", file=sys.stderr)
    for word in args.allocators:
        name, equals, path = word.partition("=")
        if not equals or not name or not Path(path).is_file():
            parser.error(f"'{word}' is not NAME=PATH with a library at PATH")
        found[name] = Path(path).resolve()
    return found


def run_once(command, library, pinned):
    """(operations a second, the same of CPU time, peak KiB) of one run."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if library:
        env["LD_PRELOAD"] = str(library)
    if pinned:
        cpu = max(os.sched_getaffinity(0))
        command = ["taskset", "-c", str(cpu), *command]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600,
                          check=False)
    match = RESULT.search(done.stdout)
    if done.returncode or not match:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    origin = os.path.realpath(library) if library else "libc.so"
    if not os.path.basename(origin).startswith(match[5].split(".so")[0]):
        raise RuntimeError(f"malloc came from {match[5]}, not from {origin}")
    return int(match[1]), round(int(match[2]) / float(match[3])), int(match[4])


def measure(args, allocators, log):
    """{workload: {allocator: [run_once(), …]}}; failures are said and left out."""
    names = list(allocators)
    results = {}
    for name, program, arguments, pinned in WORKLOADS:
        if args.workload and name not in args.workload:
            continue
        command = [str(args.build / "bench" / f"{program}_system"), *arguments]
        if args.touch:
            command.append("--touch")
        rows = results[name] = {a: [] for a in names}
        for repetition in range(args.repetitions):
            shift = repetition % len(names)
            for allocator in names[shift:] + names[:shift]:
                try:
                    run = run_once(command, allocators[allocator], pinned)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    print(f"bench_five: {name} under {allocator}: {error}", file=sys.stderr)
                    continue
                rows[allocator].append(run)
                log([name, allocator, repetition, *run])
    return results


def mega(value):
    """Millions with three figures or so."""
    value /= 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def print_table(results):
    print(f"{'workload':<13} {'allocator':<12} {'M ops/s':>8} {'min–max':>15} {'x glibc':>8} "
          f"{'by CPU':>8} {'RSS MiB':>8} {'x glibc':>8}")
    for name, rows in results.items():
        base = None
        for allocator, runs in rows.items():
            if not runs:
                print(f"{name:<13} {allocator:<12} {'failed':>8}")
                continue
            speeds = [r[0] for r in runs]
            median = [statistics.median(column) for column in zip(*runs)]
            base = base or (median if allocator == "glibc" else None)
            ratios = [f"{m / b:.2f}" for m, b in zip(median, base)] if base else ["-"] * 3
            spread = f"{mega(min(speeds))}–{mega(max(speeds))}"
            print(f"{name:<13} {allocator:<12} {mega(median[0]):>8} {spread:>15} {ratios[0]:>8} "
                  f"{ratios[1]:>8} {median[2] / 1024:>8.1f} {ratios[2]:>8}")
        print()


def main():
    parser, args = parse_arguments()
    allocators = find_allocators(parser, args)
    if not (args.build / "bench/larson_system").exists():
        parser.error(f"no programs in {args.build}/bench: build first "
                     f"(make BUILD_FLAVOR={args.build.name})")
    if not args.csv:
        results = measure(args, allocators, lambda row: None)
    else:
        with open(args.csv, "w", newline="", encoding="utf-8") as file:
            file.write(f"# {' '.join(sys.argv)}\n# {describe_machine()}\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["workload", "allocator", "repetition", "ops_per_s", "ops_per_cpu_s",
                             "vmhwm_kib"])
            results = measure(args, allocators, writer.writerow)
    print_table(results)
    print(f"Medians of {args.repetitions}; an operation is one malloc or one free; peak RSS is "
          "VmHWM.\nBy CPU: operations in a second of CPU time, as a multiple of glibc's; on a busy "
          "machine, look there.")
    return 0 if all(runs for rows in results.values() for runs in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
