# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --instructions: instructions an operation, counted by callgrind.

The difference between two lengths: what the start, the warm-up and the end cost cancels out. The
program's own loop is part of it, the same under every allocator. Nothing else that runs on the
machine changes these figures; what they leave out is everything about memory and caches.
"""

import re

from lab import cli, places, rounds, runs

COLUMNS = "workload,arguments,allocator,ops,instructions,per_op".split(",")
OPS = {"vm_mixed": 3_000, "mid_large_mt": 50_000}
OPS_USUAL = 300_000
COLLECTED = re.compile(r"Collected : (\d+)")


def warm_up(workload):
    """Operations until the slots are filled as they stay: twice their number."""
    words = workload.words(1)
    slots = int(words[1]) if workload.name in ("random_mixed", "vm_mixed") else 10_000
    return 2 * slots


def count(workload, allocator, ops):
    """Instructions of one run; ends the command if it fails."""
    env = {**allocator.env(), **workload.environment,
           "HAKMEM_BENCH_PREFAULT": str(warm_up(workload))}
    done = runs.execute(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                         *workload.command(ops)], env)
    found = COLLECTED.search(done.errors)
    if done.status != "ok" or not found:
        cli.fail(f"callgrind of {workload.name} under {allocator.name}: {done.status}: "
                 f"{done.errors.strip()[-300:]}", 1)
    return int(found[1])


def measure(workload, allocator, ops):
    """A row: the second of two halves."""
    first = count(workload, allocator, ops)
    second = count(workload, allocator, 2 * ops)
    real = ops // workload.per * workload.per
    return {"workload": workload.name, "arguments": workload.label(ops),
            "allocator": allocator.name, "ops": real, "instructions": second - first,
            "per_op": f"{(second - first) / real:.2f}"}


def countable(workload):
    """With threads, the length of a wait is chance."""
    return (workload.same_each_time() and workload.threads == 1
            and workload.name != "phase_shift")


def main(plan):
    rounds.tool("valgrind")
    rows = rounds.only(plan, countable,
                       "left out, since only one thread and equal steps count exactly",
                       "none of these workloads can be counted exactly")
    folder = rounds.directory("instructions", plan.out)
    progress = cli.Progress(len(rows) * len(plan.allocators))
    names = [a.name for a in plan.allocators]
    lines, done = [], 0
    with rounds.opened(folder / "instructions.csv", "instructions", COLUMNS,
                       plan.allocators) as writer:
        for workload in rows:
            ops = max(plan.ops or OPS.get(workload.name, OPS_USUAL), workload.per)
            cells = [f"{workload.name} {workload.label(ops)}"]
            for allocator in plan.allocators:
                progress.show(done, f"{workload.name}, {allocator.name}")
                done += 1
                row = measure(workload, allocator, ops)
                writer.row(**row)
                cells.append(row["per_op"])
            lines.append(cells)
    progress.clear()
    rounds.show(["instructions an operation", *names], lines, left=1)
    print(f"\nThe program's own share is in each figure.\n"
          f"\nEvery run: {places.shown(folder / 'instructions.csv')}")
    return folder, 0
