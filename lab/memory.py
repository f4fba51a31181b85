# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --memory: resident memory over time, of a program whose sizes shift, and what stays
in the scenarios of lab.scenarios.

Over time: every 10 ms from /proc/PID/statm, under each allocator in turn.
"""

import os
import time

from lab import cli, places, rounds, runs, scenarios, workloads

COLUMNS = "workload,arguments,allocator,repetition,time_s,rss_kib".split(",")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
CYCLES, BYTES = 2, 32 << 20


class Sampler:
    """Called while a program runs: [(seconds since the first call, KiB)]."""

    def __init__(self):
        self.start = None
        self.samples = []

    def __call__(self, pid):
        now = time.monotonic()
        self.start = self.start or now
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                fields = file.read().split()
        except OSError:
            return
        if len(fields) > 1 and int(fields[1]) > 0:  # 0: it is about to end
            self.samples.append((now - self.start, int(fields[1]) * PAGE_KIB))


def measure(workload, allocator, ops, cpu):
    sampler = Sampler()
    done = runs.execute(workload.command(ops), {**allocator.env(), **workload.environment}, cpu,
                        watch=sampler)
    return done, sampler.samples


def mean(samples):
    """Over time: KiB seconds by seconds."""
    area = sum((b[0] - a[0]) * a[1] for a, b in zip(samples, samples[1:]))
    span = samples[-1][0] - samples[0][0]
    return area / span if span else samples[0][1]


def rows_to_watch(plan):
    """The phase-shift workload, unless --workload names others."""
    if plan.names:
        return plan.workloads
    found = workloads.choose("full", ["phase_shift"])
    return [w._replace(arguments=f"{CYCLES} {BYTES} 1") for w in found[:1]]


def main(plan):
    """Over time alone with --workload, the scenarios alone with --scenario, or both."""
    folder = rounds.directory("memory", plan.out)
    whole = True
    if plan.names or not plan.scenarios:
        whole = over_time(plan, folder)
    if plan.scenarios or not plan.names:
        whole = scenarios.main(plan, folder) and whole
    return folder, 0 if whole else 1


def over_time(plan, folder):
    rows = rows_to_watch(plan)
    runs_of = [x for x in rounds.order(rows, plan.allocators, plan.repetitions) if x[0] >= 0]
    progress = cli.Progress(len(runs_of))
    peaks, means, whole = {}, {}, True
    with rounds.opened(folder / "memory.csv", "memory", COLUMNS, plan.allocators,
                       repetitions=plan.repetitions, every_s=runs.WATCH_S) as writer:
        for number, (repetition, workload, allocator) in enumerate(runs_of):
            progress.show(number, f"{workload.name}, {allocator.name}")
            done, samples = measure(workload, allocator, plan.ops, plan.cpu)
            rounds.log(folder, workload.name, workload.command(plan.ops), allocator, done)
            if done.status != "ok" or not samples:
                progress.clear()
                cli.note(f"{workload.name} under {allocator.name}: {done.status}")
                whole = False
                continue
            for time_s, kib in samples:
                writer.row(workload=workload.name, arguments=workload.label(plan.ops),
                           allocator=allocator.name, repetition=repetition,
                           time_s=f"{time_s:.3f}", rss_kib=kib)
            name = (workload.name, workload.label(plan.ops), allocator.name)
            peaks.setdefault(name, []).append(max(kib for _, kib in samples))
            means.setdefault(name, []).append(mean(samples))
    progress.clear()
    table(plan, rows, peaks, means)
    print(f"\nEvery sample: {places.shown(folder / 'memory.csv')}")
    return whole


def table(plan, rows, peaks, means):
    lines = []
    for workload in rows:
        lines += ["", f"{workload.name} {workload.label(plan.ops)}"]
        for allocator in plan.allocators:
            name = (workload.name, workload.label(plan.ops), allocator.name)
            if name in peaks:
                lines.append([allocator.name, *(f"{rounds.median(x[name]) / 1024:.1f}"
                                                for x in (means, peaks))])
    rounds.show(["", "mean RSS MiB", "largest RSS MiB"], lines, left=1)
    print("\nOver the run's time; medians. The largest sample: a peak between two is not seen.")
