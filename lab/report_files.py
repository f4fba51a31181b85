# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Reads the results files that a report is made of, and proves their rows.

Owns: which kinds there are, and their columns. A file is good as a whole or refused as a whole,
with a sentence that names file and line; nothing of a refused file reaches the page.
"""

import math
from pathlib import Path

from lab import places, results
from lab.scaling import COUNTERS

# Columns of each kind: text, then numbers. All must be there; a number's cell may be empty.
KINDS = {
    "suite": ("workload arguments allocator status",
              "threads repetition ops ops_per_s ops_per_cpu_s wall_s cpu_s peak_kib steal_percent "
              "foreign_percent disturbed"),
    "programs": ("program allocator status",
                 "repetition wall_s cpu_s peak_kib minor_faults steal_percent foreign_percent "
                 "disturbed"),
    "syscalls": ("workload arguments allocator",
                 "ops mmap munmap madvise other per_million_ops inside"),
    "instructions": ("workload arguments allocator", "ops instructions per_op"),
    "scaling": ("workload arguments", f"threads ops ns_per_op atomics {' '.join(COUNTERS)}"),
    "memory": ("workload arguments allocator", "repetition time_s rss_kib"),
    "retain": ("scenario arguments allocator status",
               "repetition own_kib live_kib left_kib freed_kib rss_kib calls peak_kib"),
    "latency": ("workload arguments allocator operation", "repetition le_ns count"),
    "soak": ("process",
             "epoch time_s ops wall_s cpu_s ops_per_s ops_per_cpu_s rss_kib vmhwm_kib minor_faults "
             "major_faults system_calls hakmem_system_calls"),
    "ab": ("workload arguments arm",
           "repetition ops_per_s ops_per_cpu_s wall_s cpu_s peak_kib steal_percent "
           "foreign_percent disturbed"),
}
POSITIVE = {"ops_per_s", "ops_per_cpu_s", "peak_kib"}  # figures that ratios are made of
MAY_BE_INFINITE = {"le_ns"}  # the last bucket of a histogram
# Differences to a run of one operation, which may have had a call that the long one did without.
MAY_BE_NEGATIVE = {"mmap", "munmap", "madvise", "other", "per_million_ops", "inside"}


class Source:
    """One results file: kind, facts and rows, numbers as float or None."""

    def __init__(self, name, kind, facts, rows, notes):
        self.number = 0  # among the files of a report, from 1
        self.name = name
        self.kind = kind
        self.facts = facts
        self.rows = rows
        self.notes = notes  # what a reader of the page should know about the file


def shown(path):
    """A path as the page prints it: from the root of the checkout, if it lies in there."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(places.ROOT))
    except ValueError:
        return str(path)


def find(words):
    """([file], [sentence about what was not found]): directories stand for the CSV files in them,
    or, if there are none, below them. Each file once, in the order of the words."""
    files, refused = [], []
    for word in words:
        path = Path(word)
        if path.is_dir():
            found = sorted(path.glob("*.csv")) or sorted(path.rglob("*.csv"))
            if not found:
                refused.append(f"{shown(path)}: no CSV files in this directory")
        elif path.exists():
            found = [path]
        else:
            found = []
            refused.append(f"{shown(path)}: there is no such file")
        files += [file for file in found if file not in files]
    return files, refused


def _number(text, column, where):
    if text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or (math.isinf(value) and column not in MAY_BE_INFINITE):
        raise results.Damaged(f"{where}: {column} is '{text}', not a number")
    if value < 0 and column not in MAY_BE_NEGATIVE:
        raise results.Damaged(f"{where}: {column} is '{text}', below 0")
    if value == 0 and column in POSITIVE:
        raise results.Damaged(f"{where}: {column} is 0")
    return value


def _head_lines(path):
    """Lines before the first row: the facts and the line of column names."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.startswith("#"):
                return number
    return 0


def _ends_whole(path):
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def read(path):
    """The Source in a file; results.Damaged, if it is none."""
    name = shown(path)
    try:
        table = results.read(path)
    except results.Damaged as damaged:
        raise results.Damaged(str(damaged).replace(str(path), name, 1)) from damaged
    kind = table.facts.get("kind", "")
    if kind not in KINDS:
        said = f"unknown kind '{kind}'" if kind else "no line '# kind: …'"
        raise results.Damaged(f"{name}: {said} (known: {', '.join(KINDS)})")
    texts, numbers = (words.split() for words in KINDS[kind])
    first = _head_lines(path)
    missing = [column for column in texts + numbers if column not in table.columns]
    if missing:
        raise results.Damaged(f"{name}:{first}: no column {', '.join(missing)}")
    if not table.rows:
        raise results.Damaged(f"{name}: no rows")
    rows = []
    for line, cells in enumerate(table.rows, first + 1):
        where = f"{name}:{line}"
        row = {column: _number(cells[column], column, where) for column in numbers}
        row |= {column: cells[column] for column in texts}
        for column in texts:
            if cells[column] == "" and column != "arguments":
                raise results.Damaged(f"{where}: {column} is empty")
        rows.append(row)
    notes = [] if _ends_whole(path) else \
        ["the last line has no end: the run was interrupted, and that line is left out"]
    return Source(name, kind, table.facts, rows, notes)


def read_all(words):
    """([Source], [sentence about each file that is refused])."""
    files, refused = find(words)
    sources = []
    for path in files:
        try:
            source = read(path)
        except results.Damaged as damaged:
            refused.append(str(damaged))
            continue
        sources.append(source)
        source.number = len(sources)
    return sources, refused
