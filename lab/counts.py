# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --syscalls: how often an allocator asks the system for memory.

Seen from outside by strace; and for hakmem also as it counts itself (HAKMEM_SS_OS_STATS). From each
count, that of the same program with one operation is taken off: the loader's calls, the tables of
the program, and what an allocator does once. A run of twice the length shows the second half.
"""

import re
import tempfile
from pathlib import Path

from lab import cli, places, rounds, runs

COLUMNS = ("workload,arguments,allocator,ops,mmap,munmap,madvise,other,per_million_ops,inside"
           .split(","))
# A strace'd program runs some tens of times slower where it calls the system often.
OPS = {"vm_mixed": 5_000, "mid_large_mt": 100_000}
OPS_USUAL = 500_000
WARM_UP = {"HAKMEM_BENCH_PREFAULT": "0"}
INSIDE = re.compile(r"hakmem: os map (\d+) unmap (\d+) remap (\d+) purge (\d+) \(\d+ bytes\) "
                    r"populate (\d+)")
NAMED = ("mmap", "munmap", "madvise")


def parse_strace(text):
    """{call: count} out of a table of strace -c."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) in (5, 6) and words[3].isdigit() and words[-1] != "total":
            found[words[-1]] = int(words[3])
    return found


def count(workload, allocator, ops):
    """({call: count}, hakmem's own sum or None) of one run; ends the command if it fails."""
    env = {**allocator.env(), **workload.environment, **WARM_UP}
    if allocator.name.startswith("hakmem"):
        env["HAKMEM_SS_OS_STATS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls"
        settings = [word for name, value in env.items() for word in ("-E", f"{name}={value}")]
        done = runs.execute(["strace", "-f", "-qq", "-c", "-e", "trace=%memory", "-o", path,
                             *settings, *workload.command(ops)])
        if done.status != "ok":
            cli.fail(f"strace of {workload.name} under {allocator.name}: {done.status}: "
                     f"{done.errors.strip()[-300:]}", 1)
        outside = parse_strace(path.read_text())
    inside = INSIDE.search(done.errors)
    return outside, sum(map(int, inside.groups())) if inside else None


def net(counts, base):
    """What is left of a count when the empty program's is taken off."""
    outside = {call: counts[0].get(call, 0) - base[0].get(call, 0)
               for call in {*counts[0], *base[0]}}
    inside = None if counts[1] is None else counts[1] - base[1]
    return outside, inside


def rows_of(workload, allocator, ops):
    """Two rows, of `ops` operations and of twice as many."""
    base = count(workload, allocator, 1)
    for length in (ops, 2 * ops):
        outside, inside = net(count(workload, allocator, length), base)
        named = {call: outside.pop(call, 0) for call in NAMED}
        other = sum(outside.values())
        yield {"workload": workload.name, "arguments": workload.label(length),
               "allocator": allocator.name, "ops": length, **named, "other": other,
               "per_million_ops": f"{1e6 * sum(named.values()) / length:.2f}",
               "inside": "" if inside is None else inside}


def line(first, second):
    """A line of the table, and whether hakmem's own count agrees."""
    calls = [sum(row[name] for name in (*NAMED, "other")) for row in (first, second)]
    agrees = [row["inside"] in ("", total) for row, total in zip((first, second), calls)]
    inside = f"{second['inside']}{'' if all(agrees) else '!'}"
    named = [str(second[name]) for name in (*NAMED, "other")]
    return [first["allocator"], *named, second["per_million_ops"], str(calls[1] - calls[0]),
            inside], all(agrees)


def main(plan):
    rounds.tool("strace")
    # A workload of whole phases has no run of one operation that could be taken off.
    rows = rounds.only(plan, lambda w: w.same_each_time() and w.per < OPS_USUAL,
                       "of no fixed number of operations, so left out",
                       "none of these workloads has a fixed number of operations")
    folder = rounds.directory("syscalls", plan.out)
    progress = cli.Progress(len(rows) * len(plan.allocators))
    lines, whole, done = [], True, 0
    with rounds.opened(folder / "syscalls.csv", "syscalls", COLUMNS, plan.allocators,
                       subtracted="the same program with one operation",
                       warm_up="none") as writer:
        for workload in rows:
            ops = max(plan.ops or OPS.get(workload.name, OPS_USUAL), workload.per)
            lines += ["", f"{workload.name} {workload.label(2 * ops)}"]
            for allocator in plan.allocators:
                progress.show(done, f"{workload.name}, {allocator.name}")
                done += 1
                pair = list(rows_of(workload, allocator, ops))
                for row in pair:
                    writer.row(**row)
                cells, agrees = line(*pair)
                lines.append(cells)
                whole &= agrees
    progress.clear()
    rounds.show(["", *NAMED, "other", "a M ops", "2nd half", "inside"], lines, left=1)
    print("\nCalls of the whole run, less those of the program with one operation; a M ops: mmap, "
          "munmap and\nmadvise in a million operations; 2nd half: how many calls more than a run "
          "of half the length\n(either frees all at its end); inside: as hakmem counts them, with "
          "! where strace sees others.")
    print(f"\nEvery run: {places.shown(folder / 'syscalls.csv')}")
    return folder, 0 if whole else 1
