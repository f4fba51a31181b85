# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --latency: how long single calls take, as the programs of bench/ time them with
their option --latency: a histogram of malloc and one of free."""

import tempfile
from pathlib import Path

from lab import cli, places, results, rounds, runs, workloads

COLUMNS = "workload,arguments,allocator,repetition,operation,le_ns,count".split(",")
PERCENTS = (50, 90, 99, 99.9)


def measure(workload, allocator, ops, cpu):
    """(Run, its histogram's rows, the facts of its timer)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "histogram"
        run = runs.run([*workload.command(ops), "--latency", path],
                       {**allocator.env(), **workload.environment},
                       cpu if workload.threads == 1 else None)
        if run.status != "ok":
            return run, [], {}
        if not allocator.served(run.malloc):
            return run._replace(status=f"malloc of {run.malloc}"), [], {}
        table = results.read(path)
    return run, table.rows, table.facts


class Histogram:
    """Counts by upper limit."""

    def __init__(self):
        self.counts = {}

    def add(self, le_ns, count):
        self.counts[le_ns] = self.counts.get(le_ns, 0) + count

    def percentile(self, percent):
        """The limit of the bucket that this share of all calls stays within."""
        total, seen = sum(self.counts.values()), 0
        for le_ns in sorted(self.counts):
            seen += self.counts[le_ns]
            if seen * 100 >= total * percent:
                return le_ns
        return None

    def worst(self):
        return max(le_ns for le_ns, count in self.counts.items() if count)


def short(nanoseconds):
    """12 ns, 3.4 us, 5.6 ms."""
    for unit, size in (("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.1f} {unit}"
    return f"{nanoseconds:.0f} ns"


def table(plan, rows, found):
    lines = []
    for workload in rows:
        for operation in ("malloc", "free"):
            lines += ["", f"{workload.name} {workload.label(plan.ops)}: {operation}"]
            for allocator in plan.allocators:
                histogram = found.get((workload.name, workload.label(plan.ops), allocator.name,
                                       operation))
                if histogram:
                    times = [histogram.percentile(p) for p in PERCENTS] + [histogram.worst()]
                    lines.append([allocator.name, *map(short, times)])
    rounds.show(["", *(f"p{p:g}" for p in PERCENTS), "worst"], lines, left=1)


def main(plan):
    rows = rounds.only(plan, lambda w: workloads.supports(w, "--latency"),
                       "without a histogram, so left out",
                       "none of these workloads times single calls")
    folder = rounds.directory("latency", plan.out)
    todo = list(rounds.order(rows, plan.allocators, plan.repetitions))
    progress = cli.Progress(len(todo))
    found, whole, disturbed, timer = {}, True, 0, {}
    with rounds.opened(folder / "latency.csv", "latency", COLUMNS, plan.allocators,
                       repetitions=plan.repetitions) as writer:
        for number, (repetition, workload, allocator) in enumerate(todo):
            progress.show(number, f"{workload.name}, {allocator.name}")
            run, buckets, timer = measure(workload, allocator, plan.ops, plan.cpu)
            if repetition < 0:
                continue
            rounds.log(folder, workload.name, workload.command(plan.ops), allocator, run)
            disturbed += run.disturbed
            if run.status != "ok":
                progress.clear()
                cli.note(f"{workload.name} under {allocator.name}: {run.status}")
                whole = False
            for row in buckets:
                where = (workload.name, workload.label(plan.ops), allocator.name)
                writer.row(**dict(zip(COLUMNS, (*where, repetition, row["operation"],
                                                row["le_ns"], row["count"]))))
                found.setdefault((*where, row["operation"]), Histogram()).add(
                    float(row["le_ns"]), int(row["count"]))
    progress.clear()
    table(plan, rows, found)
    print(f"\nEvery call of {plan.repetitions} runs. A time includes what reading the timer costs: "
          f"{timer.get('timer_overhead_ns', '?')} ns here.\nThe worst are often the system's: "
          f"interrupts, page faults, other programs.")
    if disturbed:
        print(f"Other programs took CPU time from {disturbed} of the runs.")
    print(f"\nEvery bucket: {places.shown(folder / 'latency.csv')}")
    return folder, 0 if whole else 1
