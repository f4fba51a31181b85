# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem ab: is B better than A? Runs both, interleaved, and says GO, NO-GO or NEUTRAL.

An arm is a binary, a library and an environment, as its SPEC says. Pairs of runs go A B, B A, A B …,
so that a machine that becomes slower hits both alike. A run in which others took the CPU is redone;
on a machine that is always in use, soon no more, and that is said.
"""

import os
import re
import shlex
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lab import cli, machine, places, results, runs, workloads

ABOUT = "Compares two builds, libraries, binaries or environments: is B better than A?"
SPECS = """\
SPEC is one or more of these, with commas between them:

  build:DIR         libhakmem.so of that build tree, preloaded
  lib:FILE          any other library, preloaded
  glibc             nothing is preloaded
  bin:FILE          this program instead of the workload's, with the same arguments; nothing is
                    preloaded unless lib: or build: says so
  env:NAME=VALUE    a variable

What it leaves open is this checkout's hakmem, preloaded into a program that is linked with glibc:
so one binary serves both arms, and nothing but the allocator differs.

  hakmem ab --b env:HAKMEM_BIN_BYTES=256K --workload random_mixed
  hakmem ab --a build:build/before --b build:build/release --build-level
  hakmem ab --a glibc --b '' -- sqlite3 :memory: '.read scripts/demo/sort.sql'

The verdict: GO when B is faster by the threshold or more (1.0 %, --switch; 0.5 %, --build-level) and
the 95 % interval is all above 1; NO-GO the same downwards; else NEUTRAL."""

COLUMNS = ["workload", "arguments", "arm", "repetition", "ops_per_s", "ops_per_cpu_s", "wall_s",
           "cpu_s", "peak_kib", "steal_percent", "foreign_percent", "disturbed"]
REDO_MAX = 3  # further tries of a disturbed run; in all of a job, as many as it has pairs
THREADS_AT = {"larson": 6, "mid_large_mt": 0}  # which argument is the number of threads


class Arm(NamedTuple):
    """library: what is preloaded, or None; program: what runs instead, or None."""

    spec: str
    library: Path = None
    program: Path = None
    variables: dict = {}

    def env(self):
        return {**({"LD_PRELOAD": str(self.library)} if self.library else {}), **self.variables}


class Job(NamedTuple):
    """One thing that both arms run."""

    name: str
    label: str
    command: list
    env: dict
    pinned: bool
    is_workload: bool


def _file(spec, text):
    path = Path(text)
    if not path.is_file():
        cli.fail(f"'{spec}': there is no file {path}")
    return path.resolve()


def arm(spec):
    """The Arm of a SPEC."""
    library, program, variables, is_glibc = None, None, {}, False
    for part in filter(None, spec.split(",")):
        kind, _, rest = part.partition(":")
        if kind == "env" and re.match(r"\w+=", rest):
            name, _, variables[name] = rest.partition("=")
        elif kind in ("lib", "build") and rest:
            library = _file(spec, rest if kind == "lib" else os.path.join(rest, "libhakmem.so"))
        elif kind == "bin" and rest:
            program = _file(spec, rest)
        elif part == "glibc":
            is_glibc = True
        else:
            cli.fail(f"'{part}' in '{spec}' is none of build:DIR, lib:FILE, glibc, bin:FILE, "
                     "env:NAME=VALUE")
    if is_glibc and library:
        cli.fail(f"'{spec}': glibc, and a library")
    if not (is_glibc or library or program):
        library = places.library().resolve()
    if library and re.search(r"[\s:]", str(library)):
        cli.fail(f"'{spec}': LD_PRELOAD takes no path with a space or a colon")
    shown = spec.replace(f"{places.ROOT}/", "") or "hakmem"
    return Arm(shown, library, program, variables)


def workload_jobs(texts):
    """The jobs of --workload: a name, or a name and the program's arguments; none: the quick set."""
    jobs = []
    for text in texts or [None]:
        name, *words = shlex.split(text) if text else [None]
        rows = workloads.choose("quick", [name] if name else None)
        for row in rows[:1] if words else rows:
            threads = row.threads
            if words and row.name in THREADS_AT:
                at = THREADS_AT[row.name]
                threads = int(words[at]) if len(words) > at and words[at].isdigit() else 0
            jobs.append(Job(row.name, " ".join(words) if words else row.label(),
                            [str(row.path()), *(words or row.words())],
                            {} if words else row.environment, threads == 1, True))
    return jobs


def program_job(words, pinned):
    """The job of a program of the user's."""
    path = shutil.which(words[0])
    if not path:
        cli.fail(f"{words[0]}: not found, or not executable")
    places.bench("measure")  # before anything is made
    return Job(Path(path).name, shlex.join(words[1:]), [path, *words[1:]], {}, pinned, False)


def run_program(command, env, cpu):
    """A Run of any program: its operation is to be run once."""
    meter = runs.Meter(cpu)
    with tempfile.NamedTemporaryFile("r", prefix="hakmem_ab_") as report:
        sets = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        done = runs.execute([places.bench("measure"), "-o", report.name, *sets, "--", *command],
                            cpu=cpu)
        found = dict(re.findall(r"(\w+)=(\S+)", report.read()))
    steal, foreign, disturbed = meter.since()
    if done.status != "ok" or "wall_s" not in found:
        return runs.Run(done.status if done.status != "ok" else "no result", output=done.output,
                        errors=done.errors)
    wall = max(float(found["wall_s"]), 1e-6)
    cpu_s = max(float(found["user_s"]) + float(found["sys_s"]), 1e-6)
    return runs.Run("ok", 1, 1 / wall, 1 / cpu_s, wall, cpu_s, int(found["vmhwm_kib"]) or None,
                    steal, foreign, disturbed, errors=done.errors)


def run_once(job, side, cpu):
    """One Run of a job by an arm; a failure ends the command."""
    command = [str(side.program), *job.command[1:]] if side.program else job.command
    run = (runs.run if job.is_workload else run_program)(command, {**job.env, **side.env()},
                                                         cpu if job.pinned else None)
    if run.status != "ok":
        cli.fail(f"{job.name} with '{side.spec}': {run.status}: "
                 f"{(run.errors or run.output).strip()[-300:]}", 1)
    if side.library and job.is_workload:
        ours = side.library.name.split(".so")[0]
        if run.malloc.split(".so")[0] != ours:
            cli.fail(f"{job.name} with '{side.spec}': malloc came from {run.malloc}, not from "
                     f"{side.library.name}", 1)
    return run


class Session:
    """The runs of one comparison: {job: [(run of A, run of B)]}, written as they come."""

    def __init__(self, arms, jobs, n, writer, cpu):
        self.arms = arms
        self.n = n
        self.writer = writer
        self.cpu = cpu
        self.pairs = {job.label + job.name: (job, []) for job in jobs}
        self.redone = self.kept = self.redo_left = 0
        self.progress = cli.Progress(len(self.pairs) * (2 * n + 2))
        self.done = 0

    def measure(self):
        for job, pairs in self.pairs.values():
            for side in self.arms:  # to warm up: files, caches, the CPU's clock
                for line in run_once(job, side, self.cpu).errors.strip().splitlines()[:1]:
                    cli.note(f"{job.name} with '{side.spec}' says: {line}")
                self.done += 1
            self.redo_left = max(self.n, REDO_MAX)
            for repetition in range(1, self.n + 1):
                pairs.append(self._pair(job, repetition))
        self.progress.clear()

    def _pair(self, job, repetition):
        """(A, B), in the order that is this repetition's."""
        order = (0, 1) if repetition % 2 else (1, 0)
        found = {at: self._settled(job, at, repetition) for at in order}
        return found[0], found[1]

    def _settled(self, job, at, repetition):
        """A run that nobody disturbed, if one of the tries is; else the last."""
        for tries_left in range(REDO_MAX, -1, -1):
            self.progress.show(self.done, f"{job.name} {job.label}, {'AB'[at]} {repetition}")
            run = run_once(job, self.arms[at], self.cpu)
            again = run.disturbed and tries_left > 0 and self.redo_left > 0
            figures = run.figures()
            self.writer.row(workload=job.name, arguments=job.label, arm="ab"[at],
                            repetition=repetition,
                            **{c: figures[c] for c in COLUMNS if c in figures and c != "disturbed"},
                            disturbed=int(again))
            if not again:
                break
            self.redone += 1
            self.redo_left -= 1
        self.kept += run.disturbed
        self.done += 1
        return run


def _amount(job, values):
    """Median, smallest and largest of one arm, as docs/experiments wants them."""
    if job.is_workload:
        values, unit, digits = [v / 1e6 for v in values], "M ops/s", 1
    else:
        values, unit, digits = [1 / v for v in values], "s", 3
    middle, low, high = (f"{x:.{digits}f}" for x in (statistics.median(values), min(values),
                                                     max(values)))
    return f"{middle} ({low}–{high}) {unit}"


def _memory(pair_runs):
    peaks = [run.peak_kib for run in pair_runs if run.peak_kib]
    return f", {statistics.median(peaks) / 1024:.1f} MiB" if peaks else ""


def percent(ratio):
    """+2.1 % [+1.5, +2.8]"""
    value, low, high = (100 * (x - 1) for x in ratio)
    inside = f"[{low:+.1f}, {high:+.1f}]" if high < 1e6 else "[unknown]"
    return f"{value:+.1f} % {inside}"


def summary(session, change, figure):
    """(lines of the table, verdict of each, words of the whole): a loss anywhere is a NO-GO."""
    from lab import stats

    lines = [f"| workload | A: {session.arms[0].spec} | B: {session.arms[1].spec} | B against A | "
             "verdict |", "|---|---|---|---|---|"]
    words = []
    for job, pairs in session.pairs.values():
        if not pairs:
            continue
        first, second = ([getattr(run, figure) for run in side] for side in zip(*pairs))
        found = stats.verdict(second, first, change)
        words.append(found.word)
        cells = [_amount(job, values) + _memory(side)
                 for values, side in zip((first, second), zip(*pairs))]
        lines.append(f"| {job.name} {job.label} | {cells[0]} | {cells[1]} | "
                     f"{percent(found.ratio)} | {found.word} |")
    whole = next((word for word in ("NO-GO", "GO") if word in words), "NEUTRAL")
    return lines, words, whole


def report(session, change, figure):
    """Prints what was found, in the form of docs/experiments."""
    lines, words, whole = summary(session, change, figure)
    if not words:
        return
    by = "of CPU time" if figure == "ops_per_cpu_s" else "by the clock"
    pairs = min(len(pairs) for _, pairs in session.pairs.values() if pairs)
    print("\n".join(lines))
    print(f"\nMedians of {pairs} pairs, smallest and largest, {by}; peak RSS (VmHWM); ratio of "
          f"medians with its 95 % interval. Threshold {change:g} %.")
    if session.redone:
        print(f"{session.redone} disturbed runs were redone.")
    if session.kept:
        cli.note(f"{session.kept} of the runs in the figures were disturbed, and kept: others use this "
                 "machine")
    print(f"Verdict: {whole}" + (f" ({', '.join(words)})" if len(words) > 1 else ""))


def parse(argv):
    parser = cli.parser("ab", ABOUT, epilog=SPECS,
                        usage="hakmem ab [--a SPEC] --b SPEC [-n N] [OPTION …] [-- PROGRAM …]")
    parser.add_argument("--a", default="", metavar="SPEC", help="the base (default: this hakmem)")
    parser.add_argument("--b", required=True, metavar="SPEC", help="the candidate")
    parser.add_argument("-n", type=int, default=10, metavar="N", help="pairs of runs (default 10)")
    parser.add_argument("--workload", action="append", metavar="'NAME [ARGUMENT …]'",
                        help="a workload of the bench command, or one with its own arguments; may "
                        "be repeated (default: the quick set)")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--switch", action="store_true", help="a switch at run time: 1.0 %% (default)")
    level.add_argument("--build-level", action="store_true", help="decided by the build: 0.5 %%")
    parser.add_argument("--by-cpu", action="store_true", help="judge by CPU time instead of the "
                        "clock: on a machine that others use, and not for waiting threads")
    parser.add_argument("--pin", action="store_true", help="pin PROGRAM to one CPU (workloads of "
                        "one thread are)")
    words = None
    if "--" in argv:
        at = argv.index("--")
        argv, words = argv[:at], argv[at + 1:]
    args = parser.parse_args(argv)
    if args.n < 1:
        cli.fail("-n: one pair at least")
    if words is not None and (args.workload or not words):
        cli.fail("either --workload, or a program behind --" if args.workload
                 else "which program, behind --?")
    if args.pin and words is None:
        cli.fail("--pin is for a program behind --")
    return args, words


def main(argv):
    args, words = parse(argv)
    from lab import stats  # before anything is measured, if numpy is missing

    arms = [arm(args.a), arm(args.b)]
    jobs = [program_job(words, args.pin)] if words else workload_jobs(args.workload)
    change = stats.BUILD if args.build_level else stats.SWITCH
    figure = "ops_per_cpu_s" if args.by_cpu else "ops_per_s"
    cpu = runs.pick_cpu() if any(job.pinned for job in jobs) else None
    directory = places.results("ab", time.strftime("%Y%m%d-%H%M%S"))
    facts = {**machine.facts("ab"), "a": arms[0].spec, "b": arms[1].spec, "repetitions": args.n,
             "threshold_percent": change, "judged_by": figure,
             "pinned": "no" if cpu is None else f"CPU {cpu}, workloads of one thread"}
    with results.Writer(directory / "runs.csv", facts, COLUMNS) as writer:
        session = Session(arms, jobs, args.n, writer, cpu)
        try:
            session.measure()
        finally:
            session.progress.clear()
            report(session, change, figure)
            print(f"Every run: {os.path.relpath(directory / 'runs.csv')}")
    return 0
