#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Writes docs/telemetry.md from src/base/tele.def; with --check, only says whether it is so already."""

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src" / "base" / "tele.def"
PAGE = ROOT / "docs" / "telemetry.md"
ROW = re.compile(r"^HK_TELE_ROW\((.*)\)$", re.M)
LEVELS = {"1": "cold paths", "2": "hot paths"}
HEAD = """# Telemetry

Written by tools/tele_doc.py from src/base/tele.def: change it there.

Counters of a build with `HK_TELE_LEVEL` (`src/base/tele.h`). A counter of a higher level than the
build's leaves no instruction behind; at level 0, the release build's, none exists. The preset
`observe` is level 2:

    cmake --preset observe && cmake --build --preset observe
    HAKMEM_STATS=1 LD_PRELOAD=$PWD/build/observe/libhakmem.so program

With `HAKMEM_STATS=1` every counter is printed on stderr when the process ends, summed over its
threads; JSON has them as `counters` (docs/statistics.md). A thread writes only its own counters, with plain loads and stores; so sums taken
while others run are approximate. Of more than 64 threads at once, the rest share one set, inexactly.

What any build can tell, by `HAKMEM_STATS`, the dumps and `hak_stats_get`, needs no counter:
docs/statistics.md.

| counter | unit | what | level |
|---|---|---|---|
"""


def read_table():
    for arguments in ROW.findall(TABLE.read_text()):
        yield next(csv.reader([arguments], skipinitialspace=True))


def render():
    lines = []
    for box, name, level, unit, meaning in read_table():
        lines.append(f"| `{box}.{name}` | {unit} | {meaning} | {level}: {LEVELS[level]} |\n")
    return HEAD + "".join(lines)


def main():
    page = render()
    if "--check" not in sys.argv:
        PAGE.write_text(page)
        return 0
    if not PAGE.exists() or PAGE.read_text() != page:
        print("docs/telemetry.md is not what tools/tele_doc.py writes: run it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
