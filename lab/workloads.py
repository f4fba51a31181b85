# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The workloads and their parameters: which program of bench/, how long, with which arguments.

Lengths are fixed, so that every allocator does the same work. They were chosen once, so that glibc
takes 0.3 to 0.6 s of CPU time; the others take what they take. vm_mixed --touch is
shorter: it is bound by page faults, of which tbb takes over ten times as long as glibc.
"""

import functools
import os
from pathlib import Path
from typing import NamedTuple

from lab import cli, places, runs


class Workload(NamedTuple):
    """One row of the matrix. arguments: the program's words, with {n} where the length goes, which
    is ops / per operations; without {n} the run has its own length (a clock, a file)."""

    name: str
    program: str
    arguments: str
    ops: int = 0
    per: int = 1
    threads: int = 1
    quick: bool = False
    environment: dict = {}
    variant: str = "system"

    def words(self, ops=None):
        """The arguments of a run of so many operations, or of the usual number."""
        n = max((ops or self.ops) // self.per, 1)
        return [word.replace("{n}", str(n)) for word in self.arguments.split()]

    def label(self, ops=None):
        """The column `arguments`: the words, and the variables before them."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        words = [word.rsplit("/", 1)[-1] for word in self.words(ops)]
        return " ".join(variables + words)

    def path(self):
        """The program, linked with glibc: allocators are preloaded. None if it isn't built."""
        path = places.build_dir() / "bench" / f"{self.program}_{self.variant}"
        return path if path.exists() else None

    def command(self, ops=None):
        return [str(self.path()), *self.words(ops)]

    def is_fixed(self):
        """Whether its length is a number of operations."""
        return "{n}" in self.arguments

    def touching(self):
        """The same, writing every page of every block."""
        if "--touch" in self.arguments.split():
            return self
        return self._replace(arguments=f"{self.arguments} --touch")

    def same_each_time(self):
        """Whether every run makes the same calls, in the same order: not when threads meet."""
        return self.is_fixed() and self.name not in ("producer_consumer", "replay")


def _random_mixed():
    wide = {"BENCH_MIN_SIZE": "16", "BENCH_MAX_SIZE": "8192"}
    def one(arguments, ops, **more):
        return Workload("random_mixed", "bench_random_mixed", arguments, ops, **more)

    return [one("{n} 400 1", 30_000_000, quick=True),
            one("{n} 8192 1", 20_000_000, quick=True),
            one("{n} 200000 1", 3_000_000, quick=True),
            one("{n} 400 1", 10_000_000, environment=wide, quick=True),
            one("{n} 8192 1", 5_000_000, environment=wide)]


def _tiny_hot():
    return [Workload("tiny_hot", "bench_tiny_hot", f"{size} {batch} {{n}}{order}",
                     60_000_000 if size < 128 else 30_000_000, 2 * batch,
                     quick=(size, batch) == (32, 1000))
            for size in (16, 32, 64, 128) for batch in (100, 1000, 5000)
            for order in ("", " --fifo")]


def _larson():
    """By the clock: one second, whatever is done in it."""
    return [Workload("larson", "larson", f"1 8 {largest} 5000 100 4141 {threads}",
                     threads=threads, quick=(threads, largest) == (2, 1000))
            for threads in (1, 2, 4, 8) for largest in (128, 1000)]


def _threads():
    pairs = [(1, 1), (1, 3), (3, 1), (2, 2)]
    return [
        *(Workload("mid_large_mt", "bench_mid_large_mt", f"{threads} {{n}} 256 1", 6_000_000,
                   threads, threads=threads, quick=threads == 2) for threads in (1, 2, 4)),
        *(Workload("producer_consumer", "bench_producer_consumer", f"{p} {c} {words}",
                   15_000_000, threads=p + c, quick=(p, c, words) == (1, 1, "64 {n} 1"))
          for p, c in pairs for words in ("64 {n} 1", "1000 {n} 1 --mixed")),
    ]


def _phases():
    return [
        Workload("vm_mixed", "bench_vm_mixed", "{n} 256 1", 400_000, quick=True),
        Workload("vm_mixed", "bench_vm_mixed", "{n} 256 1 --touch", 20_000, quick=True),
        # A cycle of 16 MiB is that many operations, more or less.
        Workload("phase_shift", "bench_phase_shift", "{n} 16777216 1", 2_900_000, 2_900_000,
                 quick=True),
    ]


def _unpacked(path, data):
    """The trace in the build tree, as bench_replay reads it."""
    folder = places.build_dir() / "bench" / "traces"
    plain = folder / path.name.removesuffix(".xz")
    if not plain.exists() or plain.stat().st_mtime < path.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{plain.name}.{os.getpid()}"
        new.write_bytes(data)
        new.replace(plain)
    return plain


def _replays():
    """The traces that come with hakmem, each as often as makes up the length."""
    files = sorted((places.ROOT / "bench" / "traces").glob("*.hktrace.xz"))
    if not files or not any(places.build_dir().glob("bench/bench_replay_system")):
        return []
    from lab import tracefile
    rows = []
    for path in files:
        data = tracefile.load(path)
        header = tracefile.read_header(data)
        rows.append(Workload("replay", "bench_replay", f"--repeat {{n}} {_unpacked(path, data)}",
                             10_000_000, header.events, threads=header.threads,
                             quick=path.name.startswith(("python", "redis"))))
    return rows


def table():
    """Every workload with every set of parameters."""
    return _random_mixed() + _tiny_hot() + _larson() + _threads() + _phases() + _replays()


def choose(which="quick", names=None, touch=False):
    """The rows of a set, or of some workloads in it. Names those whose program isn't built."""
    rows = table()
    known = list(dict.fromkeys(w.name for w in rows))
    for name in names or ():
        if name not in known:
            cli.fail(f"there is no workload '{name}': {', '.join(known)}")
    rows = [w for w in rows if (which == "full" or w.quick) and (not names or w.name in names)]
    missing = list(dict.fromkeys(w.program for w in rows if not w.path()))
    if missing:
        cli.note(f"not built, and left out: {', '.join(missing)}")
    rows = _once([w.touching() if touch else w for w in rows if w.path()])
    if not rows:
        cli.fail("there is nothing to measure: build the programs first (make)", 1)
    return rows


def _once(rows):
    """Without rows that --touch made equal."""
    return list({(w.name, w.label()): w for w in rows}.values())


@functools.lru_cache(maxsize=None)
def help_text(path: Path):
    return runs.execute([path, "--help"]).output


def supports(workload, option):
    """Whether its program knows an option."""
    return option in help_text(workload.path()).replace("[", " ").split()
