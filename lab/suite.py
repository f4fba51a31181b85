# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench: the matrix of workloads and allocators, interleaved, and its table."""

import shlex

from lab import cli, places, results, rounds, runs, stats

COLUMNS = ("workload,arguments,threads,allocator,repetition,status,ops,ops_per_s,ops_per_cpu_s,"
           "wall_s,cpu_s,peak_kib,steal_percent,foreign_percent,disturbed").split(",")
WARM_UP_SHARE = 10  # of a run
FEW = 3  # undisturbed repetitions below which a figure is marked


def key(row):
    return row["workload"], row["arguments"], row["allocator"], int(row["repetition"])


def finished(rows):
    """Runs that need no further attempt: undisturbed, failed, or tried often enough."""
    tried = {}
    done = set()
    for row in rows:
        tried[key(row)] = tried.get(key(row), 0) + 1
        if row["disturbed"] != "1" or tried[key(row)] > rounds.REDO_MAX:
            done.add(key(row))
    return done


def measure(workload, allocator, ops, cpu):
    """One run, as a Run whose status also says that malloc was another's."""
    pinned = cpu if workload.threads == 1 else None
    run = runs.run(workload.command(ops), {**allocator.env(), **workload.environment}, pinned)
    if run.status == "ok" and not allocator.served(run.malloc):
        run = run._replace(status=f"malloc of {run.malloc}")
    return run


def run_all(plan, folder, writer, done):
    """Measures what is not done yet. plan: allocators, workloads, repetitions, ops, cpu."""
    todo = [(r, w, a) for r, w, a in rounds.order(plan.workloads, plan.allocators,
                                                  plan.repetitions)
            if (w.name, w.label(plan.ops), a.name, r) not in done]
    if all(r < 0 for r, _, _ in todo):
        return
    progress = cli.Progress(len(todo))
    redo = rounds.Redo(len(todo))
    failed = set()
    for number, (repetition, workload, allocator) in enumerate(todo):
        progress.show(number, f"{workload.name} {workload.label(plan.ops)}, {allocator.name}")
        if repetition < 0:  # short: it fills the page cache, and wakes the CPU up
            measure(workload, allocator, (plan.ops or workload.ops) // WARM_UP_SHARE, plan.cpu)
            continue
        for run in redo.attempts(lambda w=workload, a=allocator: measure(w, a, plan.ops, plan.cpu)):
            writer.row(workload=workload.name, arguments=workload.label(plan.ops),
                       threads=workload.threads or "", allocator=allocator.name,
                       repetition=repetition, **run.figures())
            rounds.log(folder, workload.name, workload.command(plan.ops), allocator, run)
        if run.status != "ok" and (workload.name, allocator.name) not in failed:
            failed.add((workload.name, allocator.name))
            progress.clear()
            cli.note(f"{workload.name} under {allocator.name}: {run.status}"
                     f"{': ' if run.errors else ''}{run.errors.strip()[-200:]}")
    progress.clear()


# ---- Table ---------------------------------------------------------------------------------------

def usable(rows):
    """{repetition: row} of the runs that figures are made of, and whether there are enough that
    nobody disturbed: with fewer, the disturbed ones have to do."""
    good = [row for row in rows if row["status"] == "ok"]
    calm = {int(row["repetition"]): row for row in good if row["disturbed"] != "1"}
    every = {int(row["repetition"]): row for row in good}
    enough = len(calm) >= min(FEW, len(every))
    return (calm, True) if enough else (every, False)


def compared(rows, base, column):
    """The ratio to the base by the repetitions that both have."""
    both = sorted(set(rows) & set(base))
    pairs = [(float(rows[r][column]), float(base[r][column])) for r in both
             if rows[r][column] and base[r][column]]
    return stats.ratio([a for a, _ in pairs], [b for _, b in pairs]) if pairs else None


def lines_of(found):
    """The lines of one workload: {allocator: ({repetition: row}, enough)}."""
    base = found.get("glibc", ({}, True))[0]
    for name, (rows, enough) in found.items():
        if not rows:
            yield [name, "failed", "", "", "", "", ""]
            continue
        speed = rounds.median([float(row["ops_per_s"]) for row in rows.values()]) / 1e6
        peak = rounds.median([float(row["peak_kib"]) for row in rows.values()]) / 1024
        line = [name, rounds.figures(speed) + ("" if enough else "*")]
        for column in ("ops_per_s", "ops_per_cpu_s"):
            ratio = compared(rows, base, column)
            line += [f"{ratio.value:.2f}", f"{ratio.low:.2f}–{ratio.high:.2f}"
                     if ratio.high < 1e3 else "unknown"] if ratio else ["", ""]
        ratio = compared(rows, base, "peak_kib")
        yield line[:5] + [f"{peak:.1f}", f"{ratio.value:.2f}" if ratio else ""]


def table(rows, names):
    """Prints medians and ratios to glibc, allocators in the order of `names`; false when a figure
    is missing."""
    groups = {}
    for row in rows:
        group = groups.setdefault((row["workload"], row["arguments"]), {})
        group.setdefault(row["allocator"], []).append(row)
    lines, whole, calm = [], True, True
    for (workload, arguments), by_name in groups.items():
        found = {name: usable(by_name[name]) for name in names if name in by_name}
        whole &= all(found_rows for found_rows, _ in found.values())
        calm &= all(enough for _, enough in found.values())
        lines += ["", f"{workload} {arguments}"]
        lines += [["  " + line[0], *line[1:]] for line in lines_of(found)]
    head = ["", "M ops/s", "x glibc", "95%", "by CPU", "RSS MiB", "x glibc"]
    rounds.show(head, lines, left=1)
    count = len({row["repetition"] for row in rows})
    print(f"\nMedians of {count}; an operation is one malloc or one free; peak RSS is VmHWM. By "
          "CPU: operations in\na second of CPU time, as a multiple of glibc's; on a busy machine, "
          "look there.")
    if not calm:
        print("* Other programs took CPU time from most of these runs.")
    return whole


# ---- Command -------------------------------------------------------------------------------------

def former_arguments(folder):
    """The command line of the run that --resume goes on with."""
    try:
        command = results.read(folder / "results.csv").facts.get("command", "")
    except results.Damaged as error:
        cli.fail(str(error), 1)
    words = shlex.split(command)
    if words[:2] != ["hakmem", "bench"]:
        cli.fail(f"{folder / 'results.csv'} does not say which hakmem bench it came from", 1)
    return words[2:]


def reopen(folder, plan):
    """(writer, rows that are there) of an interrupted run. What was measured must be the same."""
    path = folder / "results.csv"
    before = results.read(path)
    now = rounds.facts("suite", plan.allocators)
    for name in ("allocators", "cpu", "kernel", "commit"):
        if before.facts.get(name, "") != now[name]:
            cli.fail(f"--resume {folder}: {name} was '{before.facts.get(name, '')}', and is now "
                     f"'{now[name]}': start anew", 1)
    return results.Writer.reopen(path), before.rows


def main(plan):
    """plan: see bench.Plan. (directory of the results, exit status)."""
    if plan.resume:
        folder = plan.resume
        writer, rows = reopen(folder, plan)
    else:
        folder = rounds.directory("suite", plan.out)
        rows = []
        writer = rounds.opened(folder / "results.csv", "suite", COLUMNS, plan.allocators,
                               repetitions=plan.repetitions, set=plan.set,
                               pinned=f"CPU {plan.cpu}, runs of one thread")
    with writer:
        try:
            run_all(plan, folder, writer, finished(rows))
        except KeyboardInterrupt:
            cli.note(f"hakmem bench --resume {folder} goes on from here")
            raise
    whole = table(results.read(folder / "results.csv").rows, [a.name for a in plan.allocators])
    print(f"\nEvery run: {places.shown(folder / 'results.csv')}")
    return folder, 0 if whole else 1
