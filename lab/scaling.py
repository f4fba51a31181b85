# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --scaling: writes to memory that threads share, counted by the observe build.

Of each workload two runs, the second of twice the length; what the second has more belongs to the
operations between, and start, warm-up and end cancel out. The counts of writes and locks hardly
depend on the machine. How often a line came from another thread (moved.*), and who had to wait
(wait.*), depend on how many processors the threads had, and are a lower bound for more of them.
lab/scaling_model.py makes a prediction of these counts.
"""

import re

from lab import allocators, cli, places, rounds, runs, scaling_model
from lab.workloads import Workload

THREADS = (1, 2, 4, 8, 16, 32, 64)
LOCKS = "own_heap other_heap pool table huge meta".split()
WORDS = "remote mailbox held live span map".split()
COUNTERS = [*(f"lock.{name}" for name in LOCKS), *(f"word.{name}" for name in WORDS),
            *(f"moved.{name}" for name in LOCKS + WORDS), *(f"wait.{name}" for name in LOCKS),
            "release.look"]
COLUMNS = ["workload", "arguments", "threads", "ops", "ns_per_op", "atomics", *COUNTERS]
COUNTER = re.compile(r"^hakmem: ([a-z]+\.[a-z_]+) +(\d+)  ", re.M)
NOTE = """
All in a million operations, with the observe build. atomics: locked instructions, two for a lock
and one for a word. own, other, pool, table: locks taken. remote, mailbox: words through which
blocks come home. accounts: the global sums. moved: lines that were last written by another thread,
with the processors of this machine. waited: locks that were not free."""


def matrix():
    """Every row: each workload at every number of threads that it can have, short."""
    def row(name, program, arguments, ops, per=1, threads=1):
        return Workload(name, program, arguments, ops, per, threads)

    many = [t for t in THREADS if t > 1]
    return [
        row("random_mixed", "bench_random_mixed", "{n} 400 1", 1_000_000),
        row("tiny_hot", "bench_tiny_hot", "32 1000 {n}", 1_000_000, 2000),
        row("vm_mixed", "bench_vm_mixed", "{n} 256 1", 10_000),
        row("phase_shift", "bench_phase_shift", "{n} 4194304 1", 2_190_000, 730_000),
        *(row("mid_large_mt", "bench_mid_large_mt", f"{t} {{n}} 256 1", max(800_000, 20_000 * t),
              t, t) for t in THREADS),
        *(row("larson", "larson", f"{{n}} 8 1000 1000 20 4141 {t}", 1, 1, t) for t in THREADS),
        *(row("producer_consumer", "bench_producer_consumer", f"{t // 2} {t // 2} 64 {{n}} 1",
              max(800_000, 20_000 * t), 1, t) for t in many),
    ]


def choose(names):
    rows = matrix()
    known = list(dict.fromkeys(row.name for row in rows))
    for name in names or ():
        if name not in known:
            cli.fail(f"--scaling has no workload '{name}': {', '.join(known)}")
    rows = [row for row in rows if not names or row.name in names]
    for row in rows:
        places.bench(f"{row.program}_{row.variant}")
    return rows


def length(workload, ops):
    """Of the shorter run; larson's is a second, whatever is done in it."""
    return workload.ops if workload.name == "larson" else max(ops or workload.ops, workload.per)


def library():
    """The build that counts."""
    path = places.ROOT / "build" / "observe" / "libhakmem.so"
    if not path.exists():
        cli.fail("there is no build/observe/libhakmem.so: build it first (cmake --preset observe && "
                 "cmake --build --preset observe)", 1)
    return allocators.hakmem()._replace(name="hakmem-observe", library=path)


def count(workload, allocator, ops):
    """(operations, {counter: count}) of one run; ends the command if it fails."""
    env = {**allocator.env(), "HAKMEM_STATS": "1", "HAKMEM_BENCH_PREFAULT": "0"}
    run = runs.run(workload.command(ops), env)
    found = {name: int(value) for name, value in COUNTER.findall(run.errors)}
    if run.status != "ok":
        cli.fail(f"{workload.name} under {allocator.name}: {run.status}: "
                 f"{run.errors.strip()[-300:]}", 1)
    missing = [name for name in COUNTERS if name not in found]
    if missing or not allocator.served(run.malloc):
        cli.fail(f"{places.shown(allocator.library)} does not count {(missing or ['malloc'])[0]}: "
                 "build it again", 1)
    return run.ops, {name: found[name] for name in COUNTERS}


def measure(workload, allocator, ops):
    """A row: what a run of twice the length has more."""
    short_ops, short = count(workload, allocator, ops)
    long_ops, long = count(workload, allocator, 2 * ops)
    # Where threads meet, or the clock ends the run, small counts may come out below 0 by chance.
    net = {name: max(long[name] - short[name], 0) for name in COUNTERS}
    atomics = (2 * sum(net[f"lock.{name}"] for name in LOCKS)
               + sum(net[f"word.{name}"] for name in WORDS if name != "map"))
    return {"workload": workload.name, "arguments": workload.label(ops),
            "threads": workload.threads, "ops": max(long_ops - short_ops, 1), "atomics": atomics,
            **net}


# What the table shows, and the counters that it is the sum of.
SUMS = {
    "atomics": ["atomics"], "own": ["lock.own_heap"], "other": ["lock.other_heap"],
    "pool": ["lock.pool"], "table": ["lock.table"], "remote": ["word.remote"],
    "mailbox": ["word.mailbox"], "accounts": ["word.held", "word.live"],
    "moved": [name for name in COUNTERS if name.startswith("moved.")],
    "waited": [name for name in COUNTERS if name.startswith("wait.")],
}


def total(row, names):
    return sum(row[name] for name in names)


def line(row):
    """The figures of the table, a million operations."""
    return [row["workload"], str(row["threads"]),
            *(rounds.figures(1e6 * total(row, names) / row["ops"]) for names in SUMS.values())]


def time_one(workload, allocator, ops, repetitions):
    """The least CPU time of an operation, in ns, with as few threads as there are: the model's
    first figure. The least, since others only ever take time. Empty if no run ended well."""
    found = [runs.run(workload.command(ops), allocator.env()) for _ in range(repetitions)]
    rates = [run.ops_per_cpu_s for run in found if run.status == "ok"]
    return f"{1e9 / max(rates):.2f}" if rates else ""


def predictions(rows):
    """Lines of the model's table: each workload, by its counts at its highest number of threads."""
    lines = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        mine = [row for row in rows if row["workload"] == name]
        ns = float(mine[0]["ns_per_op"] or 0)
        for machine in scaling_model.MACHINES if ns else ():
            said = scaling_model.predict(mine[-1], ns, machine)
            lines.append([name, str(machine.cores), f"{ns:.1f}", f"{said.moved_ns:.2f}",
                          f"{said.share:.0%}", said.line or "-",
                          f"{said.saturates:,.0f}" if said.saturates else "-"])
    return lines


def main(plan):
    observed, fast = library(), allocators.hakmem()
    todo = choose(plan.names)
    folder = rounds.directory("scaling", plan.out)
    progress = cli.Progress(len(todo))
    rows = []
    with rounds.opened(folder / "scaling.csv", "scaling", COLUMNS, [observed, fast],
                       subtracted="the same program with half the operations",
                       warm_up="none") as writer:
        for number, workload in enumerate(todo):
            progress.show(number, f"{workload.name}, {workload.threads} threads")
            ops = length(workload, plan.ops)
            row = measure(workload, observed, ops)
            if workload.name not in {row["workload"] for row in rows}:
                row["ns_per_op"] = time_one(workload, fast, 4 * ops, plan.repetitions)
            rows.append(row)
            writer.row(**row)
    progress.clear()
    rounds.show(["workload", "threads", *SUMS], [line(row) for row in rows], left=1)
    print(NOTE + "\n")
    rounds.show("workload cores ns/op +moved share first from".split(), predictions(rows),
                left=1)
    print(scaling_model.NOTE)
    print(f"\nEvery count: {places.shown(folder / 'scaling.csv')}")
    return folder, 0
