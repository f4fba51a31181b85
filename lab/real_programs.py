# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --programs: wall time, CPU time and peak RSS of real programs.

bench/measure starts each and reads its peak. The warm-up round is the proof: there the loader says
which library it bound malloc to (LD_DEBUG=bindings), and a row of another one is refused; and what
a program prints there on the first allocator, it must print in every run.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lab import cli, places, program_table, rounds, runs, stats
from lab.program import PATH

COLUMNS = ("program,allocator,repetition,status,wall_s,cpu_s,peak_kib,minor_faults,settled_kib,"
           "steal_percent,foreign_percent,disturbed").split(",")
START_S = STOP_S = 60
SETTLE_S = 1
BOUND = re.compile(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `malloc'")


class Failure(Exception):
    """Why a run of a program counts as failed."""


class ProgramRun(NamedTuple):
    """One row, and what the program printed."""

    status: str
    wall_s: float = None
    cpu_s: float = None
    peak_kib: int = None
    minor_faults: int = None
    settled_kib: int = None  # RSS where the program asked for it: Session.settle()
    steal_percent: float = 0
    foreign_percent: float = 0
    disturbed: bool = False
    output: str = ""
    errors: str = ""

    def figures(self):
        """The columns of a results file, by name."""
        found = {"status": self.status, "steal_percent": f"{self.steal_percent:.1f}",
                 "foreign_percent": f"{self.foreign_percent:.1f}",
                 "disturbed": int(self.disturbed)}
        if self.wall_s is not None:
            found.update(wall_s=f"{self.wall_s:.6f}", cpu_s=f"{self.cpu_s:.6f}",
                         peak_kib=self.peak_kib, minor_faults=self.minor_faults)
        if self.settled_kib is not None:
            found.update(settled_kib=self.settled_kib)
        return found


def libc():
    """The file of our own libc: Debian's redis brings jemalloc along, which it has to win over."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = re.search(r"(/\S+/libc\.so\.6|/\S+/libc-[\d.]+\.so)$", maps.read(), re.M)
    return found[1] if found else None


class Session:
    """One run of a program: its directory, its allocator, and what it cost."""

    def __init__(self, folder, prepared, shared, allocator, trace):
        self.folder = folder
        self.prepared = prepared
        self.measurer = shared / "measure"
        self.report_file = folder / "report"
        self.trace = folder / "ld" if trace else None
        library = shared / "lib" / allocator.library.name if allocator.library else libc()
        self.env = {"LD_PRELOAD": str(library or ""), **allocator.environment}
        self.origin = os.path.realpath(library or "libc.so.6")
        if trace:
            self.env.update(LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(self.trace))
        self.wall_s = None
        self.server = None
        self.settled_kib = None

    def _words(self, words, env):
        settings = [x for k, v in {**self.env, **(env or {})}.items() for x in ("-e", f"{k}={v}")]
        return [str(x) for x in (self.measurer, "-o", self.report_file, *settings, "--", *words)]

    def _environment(self):
        folder = str(self.folder)
        return runs.clean_environment({"PATH": PATH, "LC_ALL": "C.UTF-8",
                                       "HOME": folder, "TMPDIR": folder, "TZ": "UTC"})

    def measure(self, *words, env=None):
        """Runs a program to its end: what it prints."""
        done = runs.execute(self._words(words, env), self._environment(), timeout=300,
                            cwd=self.folder)
        if done.status != "ok":
            raise Failure(f"{done.status}: {done.errors.strip()[-300:]}")
        return done.output

    @contextlib.contextmanager
    def serve(self, *words, ready, stop=lambda process: process.send_signal(signal.SIGINT),
              **options):
        """Runs a server while the body runs, and demands that it ends well."""
        log = self.folder / "server.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(self._words(words, None), cwd=self.folder, stdout=file,
                                       stderr=file, stdin=subprocess.DEVNULL,
                                       env=self._environment(), start_new_session=True, **options)
        self.server = process.pid
        try:
            deadline = time.monotonic() + START_S
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{words[0]} does not start: {self._tail(log)}")
                time.sleep(0.02)
            yield
            stop(process)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise Failure(f"{words[0]} does not end") from None
            if process.returncode:
                raise Failure(f"{words[0]}: exit {process.returncode}: {self._tail(log)}")
        finally:
            runs.end_group(process)

    @staticmethod
    def _tail(path):
        return path.read_text(errors="replace").strip()[-300:]

    @contextlib.contextmanager
    def timed(self):
        """The wall time of a server's work, without its start and its end."""
        start = time.monotonic()
        yield
        self.wall_s = time.monotonic() - start

    def settle(self):
        """Notes the server's RSS, a moment after it has freed."""
        time.sleep(SETTLE_S)
        measurer = Path(f"/proc/{self.server}/task/{self.server}/children")
        status = Path(f"/proc/{measurer.read_text().split()[0]}/status").read_text()
        self.settled_kib = int(re.search(r"^VmRSS:\s*(\d+)", status, re.M)[1])

    def figures(self):
        """(wall seconds, CPU seconds, peak KiB, minor faults, settled KiB) out of measure's
        report."""
        words = dict(word.split("=", 1) for word in self.report_file.read_text().split())
        wall = float(words["wall_s"]) if self.wall_s is None else self.wall_s
        return (wall, float(words["user_s"]) + float(words["sys_s"]), int(words["vmhwm_kib"]),
                int(words["minflt"]), self.settled_kib)

    def check_origin(self):
        """Every malloc must have been bound to the allocator."""
        bound = set()
        for path in self.folder.glob("ld.*"):
            bound |= targets(BOUND.findall(path.read_text(errors="replace")))
        wrong = {to for to in bound if os.path.realpath(to) != self.origin}
        if not bound or wrong:
            raise Failure(f"malloc of {', '.join(sorted(wrong)) or 'an unknown library'}")


def targets(bindings):
    """The files that define what was bound, of one process: [(from, to)]. A program at a fixed
    address stands in for a function whose address is asked for: it is bound to itself, and to
    where its jump then goes."""
    bindings = set(bindings)
    stand_ins = {file for file, to in bindings if file != to and (file, file) in bindings}
    return {to for _, to in bindings} - stand_ins


class Bench:
    """A run of the mode: shared files that another user can read, and what programs must print."""

    def __init__(self, base, chosen):
        self.base = Path(base)
        self.base.chmod(0o755)
        self.expected = {}
        self.prepared = {}
        (self.base / "lib").mkdir()
        shutil.copy(places.bench("measure"), self.base / "measure")
        for allocator in chosen:
            if allocator.library:
                shutil.copy(allocator.library, self.base / "lib" / allocator.library.name)

    def prepare(self, program):
        folder = self.base / program.name
        folder.mkdir()
        program.prepare(folder)
        self.prepared[program.name] = folder

    def run(self, program, allocator, proof=False):
        """A ProgramRun; with proof, it is traced and gives no figures worth keeping."""
        folder = Path(tempfile.mkdtemp(dir=self.base))
        folder.chmod(0o777)
        session = Session(folder, self.prepared[program.name], self.base, allocator, proof)
        meter = runs.Meter(None)
        try:
            output = program.run(session)
            steal, foreign, disturbed = meter.since()
            if proof:
                session.check_origin()
                self.expected.setdefault(program.name, output)
            if output != self.expected[program.name]:
                raise Failure("its output is another than on the first allocator")
            return ProgramRun("ok", *session.figures(), steal, foreign, disturbed, output)
        except (Failure, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            return ProgramRun("failed", errors=f"{error}\n")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def choose(names):
    """The programs to run; those that are not there are named."""
    known = [p.name for p in program_table.TABLE]
    for name in names or ():
        if name not in known:
            cli.fail(f"there is no program '{name}': {', '.join(known)}")
    found = []
    for program in program_table.TABLE:
        if names and program.name not in names:
            continue
        missing = program.missing()
        if missing:
            cli.note(f"{program.name} is left out: there is no {', '.join(missing)}")
        else:
            found.append(program)
    return found or cli.fail("there is no program to run", 1)


def run_all(bench, chosen, plan, folder, writer):
    """Measures, row by row; {(program, allocator): [ProgramRun]}."""
    todo = list(rounds.order(chosen, plan.allocators, plan.repetitions))
    progress = cli.Progress(len(todo))
    redo = rounds.Redo(len(todo))
    found, refused = {}, set()
    for number, (repetition, program, allocator) in enumerate(todo):
        name = (program.name, allocator.name)
        progress.show(number, f"{program.name}, {allocator.name}")
        found.setdefault(name, [])
        if name in refused:
            continue
        proof = repetition < 0
        tries = [bench.run(program, allocator, True)] if proof else redo.attempts(
            lambda p=program, a=allocator: bench.run(p, a))
        for run in tries:
            rounds.log(folder, program.name, [program.name], allocator, run)
            if not proof or run.status != "ok":
                writer.row(program=program.name, allocator=allocator.name,
                           repetition=max(repetition, 0), **run.figures())
        if run.status != "ok":
            refused.add(name)
            progress.clear()
            cli.note(f"{program.name} on {allocator.name}: {run.errors.strip()}")
        elif not proof:
            found[name].append(run)
    progress.clear()
    return found


def table(found, names, program_names):
    """Medians, and ratios of wall time, CPU time and peak to glibc's, where below 1 is better."""
    lines = []
    for program in program_names:
        lines += ["", program]
        base = found.get((program, "glibc"), [])
        for name in names:
            those = found.get((program, name), [])
            if not those:
                lines.append([f"  {name}", "failed", *[""] * 7])
                continue
            cells = [f"  {name}"]
            for column, unit, text in (("wall_s", 1, "{:.2f}"), ("cpu_s", 1, "{:.2f}"),
                                       ("peak_kib", 1024, "{:.1f}")):
                mine = [getattr(run, column) for run in those]
                cells.append(text.format(rounds.median(mine) / unit))
                ratio = stats.ratio(mine, [getattr(run, column) for run in base]) if base else None
                cells.append(f"{ratio.value:.2f}" if ratio else "")
                if column != "peak_kib":
                    cells.append(f"{ratio.low:.2f}–{ratio.high:.2f}"
                                 if ratio and ratio.high < 1e3 else "")
            lines.append(cells)
    rounds.show(["", "wall s", "x glibc", "95%", "CPU s", "x glibc", "95%", "RSS MiB", "x glibc"],
                lines, left=1)


def settled(found, names, program_names):
    """A line for each server that has freed much: what it has left then."""
    for program in program_names:
        cells = []
        for name in names:
            those = [run.settled_kib for run in found.get((program, name), []) if run.settled_kib]
            if those:
                cells.append(f"{name} {rounds.median(those) / 1024:.1f}")
        if cells:
            print(f"\n{program}, RSS in MiB after it has deleted: {', '.join(cells)}")


def main(plan):
    chosen = choose(plan.names)
    folder = rounds.directory("programs", plan.out)
    names = [a.name for a in plan.allocators]
    with tempfile.TemporaryDirectory(prefix="hakmem-") as base:
        bench = Bench(base, plan.allocators)
        ready = []
        for program in chosen:
            try:
                bench.prepare(program)
                ready.append(program)
            except (RuntimeError, OSError, KeyError) as error:
                cli.note(f"{program.name} is left out: {error}")
        with rounds.opened(folder / "programs.csv", "programs", COLUMNS, plan.allocators,
                           repetitions=plan.repetitions) as writer:
            found = run_all(bench, ready, plan, folder, writer)
    table(found, names, [p.name for p in ready])
    settled(found, names, [p.name for p in ready])
    print(f"\nMedians of {plan.repetitions}; ratios to glibc's, where below 1 is less. CPU "
          "time and peak RSS of servers\nare the server's, wall time that of their clients' work; "
          "the peak is that of the largest process.")
    print(f"\nEvery run: {places.shown(folder / 'programs.csv')}")
    return folder, 0 if all(found.values()) else 1
