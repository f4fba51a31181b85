# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Compares allocators row by row, and over all rows.

A row is one workload with its arguments and threads, in one file: allocators are only compared with
what was measured in the same run. Failed repetitions are left out of every figure, disturbed ones
wherever enough calm ones are left; both are counted.
"""

import statistics
from collections import Counter
from typing import NamedTuple

from lab import stats

SUBJECT = "hakmem"
FEW = 3  # calm repetitions below which the disturbed ones have to do, as in the table of bench
# In tables, plots and sentences; others follow by name. Slots of colours: the same numbers.
ORDER = ["hakmem", "hakmem-speed", "hakmem-lean", "glibc", "mimalloc", "jemalloc",
         "tcmalloc", "tbb"]


def in_order(names):
    """Allocators, each once, in the order that holds everywhere."""
    names = set(names)
    return [n for n in ORDER if n in names] + sorted(names - set(ORDER))


class Cell:
    """One allocator in one row."""

    def __init__(self):
        self.calm = {}  # repetition: row
        self.every = {}  # the same, and the last of the disturbed attempts
        self.failed = Counter()  # status: how often
        self.disturbed = 0

    def add(self, run):
        self.disturbed += bool(run["disturbed"])
        if run["status"] != "ok":
            self.failed[run["status"]] += 1
            return
        if not run["disturbed"]:
            self.calm[run["repetition"]] = run
        self.every[run["repetition"]] = run

    @property
    def shaky(self):
        """Whether the figures have to use disturbed repetitions."""
        return len(self.calm) < min(FEW, len(self.every))

    @property
    def runs(self):
        """{repetition: row}: what figures are made of."""
        return self.every if self.shaky else self.calm

    def values(self, column):
        """{repetition: figure}."""
        return {at: run[column] for at, run in self.runs.items() if run[column] is not None}

    def median(self, column):
        values = list(self.values(column).values())
        return statistics.median(values) if values else None

    def trouble(self):
        """What went wrong, in words; empty if nothing did."""
        said = [f"{status} ({n}×)" for status, n in sorted(self.failed.items())]
        if not said and not self.every:
            said.append("not measured")
        return ", ".join(said)


class Row:
    """One workload, in one file, with a Cell for each allocator of that file."""

    def __init__(self, source, workload, arguments, threads):
        self.source = source
        self.workload = workload
        self.arguments = arguments
        self.threads = threads
        self.cells = {}
        self.title = workload  # with the file, where two have this row
        self.label = workload  # unique among all rows by itself

    def details(self):
        """Arguments and threads."""
        said = [self.arguments] if self.arguments else []
        if self.threads:
            said.append(self.count_threads())
        return " · ".join(said)

    def count_threads(self):
        return f"{self.threads:.0f} thread{'s' if self.threads != 1 else ''}"


def _label(rows):
    """As much behind the workload's name as tells rows apart."""
    def clashes():
        count = Counter(row.label for row in rows)
        return [row for row in rows if count[row.label] > 1]

    twice = Counter((row.workload, row.arguments, row.threads) for row in rows)
    for row in rows:
        if twice[row.workload, row.arguments, row.threads] > 1:
            row.title = row.label = f"{row.workload} [file {row.source.number}]"

    same = clashes()
    threads = {}
    for row in same:
        threads.setdefault(row.workload, set()).add(row.threads)
    for row in same:
        if len(threads[row.workload]) > 1 and row.threads:
            row.label += f", {row.count_threads()}"
    for row in clashes():
        row.label += f" ({row.arguments})" if row.arguments else ""


def gather(sources):
    """Rows of suites and programs, in the order of the files. Allocators that the facts name and no
    row has get empty cells, so that they are seen to be missing."""
    rows = {}
    for source in sources:
        names = [word.partition("=")[0].strip()
                 for word in source.facts.get("allocators", "").split(",")]
        names = in_order([n for n in names if n] + [run["allocator"] for run in source.rows])
        for run in source.rows:
            key = (source, run.get("workload") or run["program"], run.get("arguments", ""),
                   run.get("threads"))
            if key not in rows:
                rows[key] = Row(*key)
                rows[key].cells = {name: Cell() for name in names}
            rows[key].cells[run["allocator"]].add(run)
    rows = list(rows.values())
    _label(rows)
    return rows


def allocators(rows):
    return in_order(name for row in rows for name in row.cells)


def base_of(rows):
    """What ratios are to: glibc, or the first allocator where it was not measured."""
    names = allocators(rows)
    return "glibc" if "glibc" in names or not names else names[0]


class Measure(NamedTuple):
    """A column to compare. smaller: less is better, and the ratio is that of the values; of times,
    the ratio is turned over (speed), so that more is better."""

    column: str
    smaller: bool = False
    time: bool = False


SPEED = Measure("ops_per_s")
SPEED_BY_CPU = Measure("ops_per_cpu_s")
PEAK = Measure("peak_kib", smaller=True)
WALL = Measure("wall_s", time=True)
CPU = Measure("cpu_s", time=True)


def ratio(row, one, other, measure):
    """stats.Ratio of one allocator to another in a row; None if either has no figures. Only
    repetitions that both have: they ran one after the other."""
    if one not in row.cells or other not in row.cells:
        return None
    a, b = (row.cells[name].values(measure.column) for name in (one, other))
    common = sorted(a.keys() & b.keys())
    if not common:
        return None
    a, b = ([values[at] for at in common] for values in (a, b))
    if min(a + b) <= 0:  # a time below the clock's step
        return None
    return stats.ratio(b, a) if measure.time else stats.ratio(a, b)


class Standing(NamedTuple):
    """One allocator against another over all rows that both have."""

    mean: stats.Ratio  # geometric
    ratios: list       # (Row, Ratio)
    rows: int          # that there are

    def best(self, measure):
        pick = min if measure.smaller else max
        return pick(self.ratios, key=lambda pair: pair[1].value)

    def worst(self, measure):
        pick = max if measure.smaller else min
        return pick(self.ratios, key=lambda pair: pair[1].value)

    def counts(self, measure):
        """(won, lost, undecided) rows."""
        said = Counter(outcome(found, measure) for _, found in self.ratios)
        return said["won"], said["lost"], said["even"]


def outcome(found, measure):
    """A row is won or lost when the whole interval lies on one side of 1."""
    if found.low > 1:
        return "lost" if measure.smaller else "won"
    if found.high < 1:
        return "won" if measure.smaller else "lost"
    return "even"


def standing(rows, one, other, measure):
    """None, if no row has both."""
    ratios = [(row, ratio(row, one, other, measure)) for row in rows]
    ratios = [(row, found) for row, found in ratios if found]
    if not ratios:
        return None
    return Standing(stats.geomean([found for _, found in ratios]), ratios, len(rows))


def troubles(rows):
    """[(row's label, allocator, what)]: failures, what is missing, and what stayed incomplete."""
    found = []
    for row in rows:
        facts = row.source.facts
        asked = int(facts["repetitions"]) if facts.get("repetitions", "").isdigit() else 0
        for name in in_order(row.cells):
            cell = row.cells[name]
            said = cell.trouble()
            if not said and len(cell.every) < asked:
                said = f"{len(cell.every)} of {asked} repetitions"
            if said:
                found.append((row.label, name, said))
    return found


def shaky(row, *names):
    """* behind a figure that disturbed repetitions are in."""
    return "*" if any(row.cells[name].shaky for name in names if name in row.cells) else ""
