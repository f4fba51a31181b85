# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What counts of shared writes mean on machines with many processors: docs/scaling.md.

An operation costs what it costs on one processor, and the time of each line that another one wrote
to last. A line that all threads write to passes from one to the next, one at a time: its rate is at
most 1 / price, however many processors there are.
"""

from typing import NamedTuple


class Machine(NamedTuple):
    """cores, and what it costs that a line comes from another of them, as published."""

    cores: int
    line_ns: float
    what: str


# Medians of https://github.com/nviennot/core-to-core-latency; two sockets: the mean of EPYC 7R13's
# within one and across.
MACHINES = (
    Machine(16, 48, "one die: Xeon Gold 6242"),
    Machine(64, 115, "one socket of eight dies: EPYC 7773X"),
    Machine(192, 152, "two sockets: as EPYC 7R13, 107 and 197"),
)
# Lines that all threads share: the row that counts its writes, and how many lines pass from one
# thread to the next for each: of the pool, its lock, tiers, marks and records.
GLOBAL = {"pool": ("lock.pool", 6), "table": ("lock.table", 3), "huge": ("lock.huge", 3),
          "meta": ("lock.meta", 1), "held": ("word.held", 1), "live": ("word.live", 1)}
# Lines of two threads: who frees, and whose it is. Each write moves one.
PAIRED = ("word.remote", "word.mailbox", "lock.other_heap")
# What else a send reads of its owner's: the slab's record, its words in the page map.
READ_BY_SEND = 2
NOTE = """
ns/op: of one thread, release build, by CPU time. +moved: lines from other processors. share: of one
processor's speed that each of them has. first: the line that is written to most, and from how many
processors on nothing is gained, since it is always on its way."""


class Prediction(NamedTuple):
    """moved_ns: lines of one operation; share: speed of a core by that of one alone; line: the
    busiest one, or None; saturates: the cores that keep it busy."""

    moved_ns: float
    share: float
    line: str
    saturates: float


def predict(row, ns, machine):
    """row: counts of a run (lab/scaling.py); ns: an operation on one processor."""
    def each(name):
        return float(row[name]) / float(row["ops"])

    others = (machine.cores - 1) / machine.cores  # the chance that the last writer was another
    busy = {name: each(counter) * lines * machine.line_ns
            for name, (counter, lines) in GLOBAL.items()}
    lines = sum(map(each, PAIRED)) + READ_BY_SEND * each("word.remote") / 2 + each("moved.map")
    # A look finds its own copy of the accounts, unless one of the others has written since.
    lines += min(each("release.look"), (machine.cores - 1) * each("word.held"))
    moved = others * (sum(busy.values()) + lines * machine.line_ns)
    first = max(busy, key=busy.get)
    alone = 1 / ns
    most = 1 / busy[first] if busy[first] else float("inf")
    total = min(machine.cores / (ns + moved), most)
    if not busy[first]:
        return Prediction(moved, total / machine.cores / alone, None, None)
    return Prediction(moved, total / machine.cores / alone, first, (ns + moved) * most)
