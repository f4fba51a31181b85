# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What the modes of `hakmem bench` share: the order of runs, where their files go, small tables."""

import shlex
import shutil
import statistics
import time
from pathlib import Path

from lab import cli, machine, places, results

REDO_MAX = 2  # times that a disturbed run is measured again
REDO_SHARE = 5  # one in so many runs, over all, may be: a busy machine would never end


def rotated(items, by):
    """The same items, beginning with another one each time."""
    by %= max(len(items), 1)
    return items[by:] + items[:by]


def order(rows, allocators, repetitions):
    """Every run, as (repetition, row, allocator): all rows once, then again, under each allocator
    in turn, who all get to be first. Repetition -1 is the warm-up, which isn't recorded."""
    for repetition in range(-1, repetitions):
        for number, row in enumerate(rows):
            for allocator in rotated(allocators, repetition + 1 + number):
                yield repetition, row, allocator


class Redo:
    """How often a disturbed run is done again: some times each, and not too often over all."""

    def __init__(self, total):
        self.left = total // REDO_SHARE

    def attempts(self, measure):
        """What measure() returns, one to 1 + REDO_MAX times, until it is undisturbed. The last
        one counts; those before it are kept as disturbed."""
        for redone in range(REDO_MAX + 1):
            run = measure()
            yield run
            if not run.disturbed or run.status != "ok" or redone == REDO_MAX or self.left == 0:
                return
            self.left -= 1


def only(plan, fits, left_out, none):
    """The workloads of a plan that a mode can measure; names the others, and ends the command when
    there is none."""
    rows = [w for w in plan.workloads if fits(w)]
    skipped = sorted({w.name for w in plan.workloads} - {w.name for w in rows})
    if skipped:
        cli.note(f"{left_out}: {', '.join(skipped)}")
    return rows or cli.fail(none)


def stamp():
    return time.strftime("%Y%m%d-%H%M%S")


def directory(kind, out=None):
    """Where the results of a run go: bench_results/<kind>/<stamp>, or a new directory of the
    user's."""
    if not out:
        return places.results(kind, stamp())
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        cli.fail(f"--out {out}: it is there already, and not an empty directory")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cli.fail(f"--out {out}: {error.strerror}")
    return out


def facts(kind, allocators, **more):
    """The head of a file of `kind`, with the allocators and their versions."""
    return {**machine.facts(kind), "allocators": ", ".join(a.described() for a in allocators),
            **more}


def opened(path, kind, columns, allocators, **more):
    """A results file to write rows to."""
    return results.Writer(path, facts(kind, allocators, **more), columns)


def log(folder, name, command, allocator, run):
    """Adds the raw output of a run to a file of logs/."""
    folder = folder / "logs"
    folder.mkdir(exist_ok=True)
    env = " ".join(f"{k}={v}" for k, v in allocator.env().items())
    with open(folder / f"{name}-{allocator.name}.log", "a", encoding="utf-8") as file:
        file.write(f"$ {env}{' ' if env else ''}{shlex.join(map(str, command))}\n"
                   f"{run.output}{run.errors}# {run.status}\n")


def tool(name):
    """A program that a mode needs."""
    if not shutil.which(name):
        cli.fail(f"this needs {name}: apt-get install {name}", 1)
    return name


def show(head, lines, left=2):
    """Prints a table: the first `left` columns to the left, numbers to the right. A line that is a
    text goes over all columns."""
    rows = [head, *(line for line in lines if not isinstance(line, str))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in [head, *lines]:
        if isinstance(row, str):
            print(row)
            continue
        cells = [f"{cell:<{w}}" if i < left else f"{cell:>{w}}"
                 for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def figures(value):
    """Three figures, or the whole number if that has more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def median(values):
    return statistics.median(values) if values else None
