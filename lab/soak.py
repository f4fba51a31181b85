# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem soak: a workload for long, with a row an epoch; then whether memory and speed held.

The driver is bench_random_mixed with --duration: it measures, and this writes each row down as it
comes. So a driver that dies, or a machine that goes down, costs the epoch under way and no more,
and --resume goes on with the rest of the time as a further process.
"""

import contextlib
import csv
import hashlib
import math
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from lab import cli, machine, places, results, run, runs, soak_analysis

FILE = "epochs.csv"
DRIVER_COLUMNS = ["epoch", "time_s", "ops", "wall_s", "cpu_s", "ops_per_s", "ops_per_cpu_s",
                  "rss_kib", "vmhwm_kib", "minor_faults", "major_faults", "system_calls",
                  "hakmem_system_calls"]  # fmt: skip
COLUMNS = ["process", *DRIVER_COLUMNS]
PROFILES = [*run.PROFILES, "MIXED_TINYV3_C7_SAFE", "MIXED_TINYV3_C7_BALANCED"]
WARM_UP_BASE = "1000000"  # the driver's ITERS, a tenth of which is its warm-up; else unused here
SAME = ["cpu", "memory", "kernel", "libc", "driver"]  # facts that a resumed run must find again
TICK_S = 0.5

ABOUT = """Runs a workload for long and watches memory and speed: RSS and throughput of every epoch
in bench_results/soak/<time>/epochs.csv, and a verdict at the end, as by scripts/analyze_soak.py.
Exit status: 0 passed, 1 failed or the driver died, 2 bad arguments."""


class Plan(NamedTuple):
    """What is to be run, as in the facts of its file."""

    program: Path
    profile: str
    ws: int
    seed: int
    cpu: int
    duration_s: int
    epoch_s: int
    process_s: int = None  # a new process so often; None: one process

    def epochs(self):
        return math.ceil(self.duration_s / self.epoch_s)

    def epochs_a_process(self):
        return math.ceil((self.process_s or self.duration_s) / self.epoch_s)

    def command(self, epochs):
        return [str(self.program), "--duration", str(epochs * self.epoch_s), "--epoch",
                str(self.epoch_s), WARM_UP_BASE, str(self.ws), str(self.seed)]  # fmt: skip

    def facts(self):
        inside = self.program.is_relative_to(places.ROOT)
        found = {
            **machine.facts("soak"),
            "program": self.program.relative_to(places.ROOT) if inside else self.program,
            "driver": hashlib.sha256(self.program.read_bytes()).hexdigest()[:16],
            "profile": self.profile,
            "ws": self.ws,
            "seed": self.seed,
            "pinned": self.cpu,
            "duration_s": self.duration_s,
            "epoch_s": self.epoch_s,
        }
        if self.process_s:
            found["process_s"] = self.process_s
        return found

    @classmethod
    def from_facts(cls, facts):
        number = {name: int(facts[name]) for name in ("ws", "seed", "pinned", "duration_s",
                                                      "epoch_s")}
        number["cpu"] = number.pop("pinned")
        each = int(facts["process_s"]) if "process_s" in facts else None
        return cls(program=places.ROOT / facts["program"], profile=facts["profile"],
                   process_s=each, **number)


# ---- The driver ----------------------------------------------------------------------------------


def _lines(stream):
    """Lines as they come, and None every TICK_S in which there is none."""
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ)
    rest = b""
    while True:
        if not selector.select(TICK_S):
            yield None
            continue
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            return  # half a line at the end is no row
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")


def _start(plan, epochs):
    def pin():
        os.sched_setaffinity(0, {plan.cpu})

    return subprocess.Popen(
        plan.command(epochs), env=runs.clean_environment({"HAKMEM_PROFILE": plan.profile}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=pin)


class Soak:
    """One run: its file, how far it is, and what it shows."""

    def __init__(self, plan, writer, rows=()):
        self.plan = plan
        self.writer = writer
        self.rows = list(rows)
        self.already = len(self.rows)
        self.process = max((int(row["process"]) for row in self.rows), default=0)
        left = plan.epochs() - self.already
        self.progress = cli.Progress(max(left, 1) * plan.epoch_s)
        self.what = "the first epoch"
        self.said = False

    def left(self):
        return self.plan.epochs() - len(self.rows)

    def _take(self, line, before_s):
        """A line of the driver; rows are written down. time_s becomes that of the whole soak."""
        fields = next(csv.reader([line]), [])
        if len(fields) != len(DRIVER_COLUMNS) or not fields[0].isdigit():
            return
        row = dict(zip(DRIVER_COLUMNS, fields))
        row["process"] = str(self.process)
        row["time_s"] = f"{before_s + float(row['time_s']):.3f}"
        self.writer.row(**row)
        self.rows.append(row)
        self.what = (f"process {self.process}, {float(row['ops_per_s']) / 1e6:.1f} M ops/s, "
                     f"RSS {int(row['rss_kib']) / 1024:.1f} MiB")
        if row["system_calls"] == "" and not self.said:
            self.said = True
            cli.note("system_calls is not counted here; it can be by root, after "
                     "mount -t tracefs nodev /sys/kernel/tracing")

    def run_process(self):
        """One process to its end; its status."""
        epochs = min(self.plan.epochs_a_process(), self.left())
        before_s = float(self.rows[-1]["time_s"]) if self.rows else 0.0
        self.process += 1
        done = (len(self.rows) - self.already) * self.plan.epoch_s
        start = time.monotonic()
        process = _start(self.plan, epochs)
        try:
            for line in _lines(process.stdout):
                if line is not None:
                    self._take(line, before_s)
                spent = min(time.monotonic() - start, epochs * self.plan.epoch_s)
                self.progress.show(done + spent, self.what)
            code = process.wait()
        finally:
            runs.end_group(process)
            process.stdout.close()
            self.progress.clear()
        if code < 0:
            return f"signal {-code}"
        return f"exit {code}" if code else "ok"

    def run(self):
        """Until the time is over, or a process fails: its status, or ok."""
        while self.left() > 0:
            before = len(self.rows)
            status = self.run_process()
            if status != "ok":
                return status
            if len(self.rows) == before:
                cli.fail(f"{self.plan.program} printed no rows: is it one of bench/?", 1)
        return "ok"


# ---- The command ---------------------------------------------------------------------------------


def _number(low, high):
    def convert(text):
        if not text.isdigit() or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    convert.__name__ = f"number from {low} to {high}"
    return convert


def _parse(argv):
    parser = cli.parser("soak", ABOUT)
    seconds = _number(1, 31_536_000)
    parser.add_argument("--duration", type=seconds, metavar="S", help="seconds in all (3600)")
    parser.add_argument("--epoch", type=seconds, metavar="S", help="seconds a row (5)")
    parser.add_argument("--ws", type=_number(1, 100_000_000), metavar="N",
                        help="slots, half of which hold a block (400)")
    parser.add_argument("--seed", type=_number(0, 2**63), metavar="N",
                        help="of the random numbers (1)")
    parser.add_argument("--profile", choices=PROFILES, metavar="P",
                        help=f"{', '.join(PROFILES[:4])} (balanced)")
    parser.add_argument("--bin", type=Path, metavar="FILE",
                        help="the driver: any bench_random_mixed_… (…_hakmem)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--processes", type=_number(1, 1_000_000), metavar="N",
                       help="share the time among N processes, one after the other")
    group.add_argument("--process-seconds", type=seconds, metavar="S",
                       help="a new process every S seconds")
    parser.add_argument("--cpu", type=_number(0, 65535), metavar="N",
                        help="the CPU to run on (the least busy one)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where the results go (a new bench_results/soak/<time>)")
    parser.add_argument("--resume", type=Path, metavar="DIR",
                        help="go on with a run that was cut short")
    args = parser.parse_args(argv)
    given = [name for name, value in vars(args).items() if value is not None]
    if args.resume and given != ["resume"]:
        cli.fail("--resume takes everything from the run that it resumes, and no other option")
    return args


def _plan(args):
    program = args.bin.resolve() if args.bin else places.bench("bench_random_mixed_hakmem")
    if not program.is_file() or not os.access(program, os.X_OK):
        cli.fail(f"{args.bin} is not a program")
    cpus = runs.allowed_cpus()
    if args.cpu is not None and args.cpu not in cpus:
        cli.fail(f"--cpu: CPU {args.cpu} is none of those that may be used: "
                 f"{', '.join(map(str, cpus))}")
    plan = Plan(program, args.profile or "balanced", args.ws or 400,
                1 if args.seed is None else args.seed,
                runs.pick_cpu() if args.cpu is None else args.cpu,
                args.duration or 3600, args.epoch or 5,
                args.process_seconds)
    if args.processes:
        plan = plan._replace(process_s=math.ceil(plan.duration_s / args.processes))
    if plan.epoch_s > plan.duration_s:
        cli.fail("an epoch is longer than the whole duration")
    if plan.process_s and plan.epoch_s > plan.process_s:
        cli.fail("an epoch is longer than a process")
    return plan


def _begin(args):
    plan = _plan(args)
    if args.out:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            cli.fail(f"{args.out}: {error.strerror}")
        if (args.out / FILE).exists():
            cli.fail(f"there are results in {args.out} already; --resume {args.out} goes on with "
                     "them")
    folder = args.out or places.results("soak", time.strftime("%Y%m%d-%H%M%S"))
    return folder, Soak(plan, results.Writer(folder / FILE, plan.facts(), COLUMNS))


def _resume(folder):
    path = folder / FILE
    try:
        table = results.read(path)
        plan = Plan.from_facts(table.facts)
    except results.Damaged as error:
        return cli.fail(str(error))
    except (KeyError, ValueError) as error:
        return cli.fail(f"{path} does not say how it was run: {error}")
    if table.columns != COLUMNS:
        cli.fail(f"{path} has other columns than a soak")
    if not plan.program.is_file():
        cli.fail(f"there is no {plan.program} any more")
    now = plan.facts()
    other = [name for name in SAME if str(now[name]) != table.facts.get(name)]
    if other:
        cli.fail(f"{path} comes from another {other[0]}: {table.facts.get(other[0])} there, "
                 f"{now[other[0]]} here")
    if plan.cpu not in runs.allowed_cpus():
        cli.fail(f"{path} was measured on CPU {plan.cpu}, which may not be used now")
    return Soak(plan, results.Writer.resume(path), table.rows)


def main(argv):
    args = _parse(argv)
    if args.resume:
        folder, soak = args.resume, _resume(args.resume)
    else:
        folder, soak = _begin(args)
    with contextlib.closing(soak.writer):
        try:
            status = soak.run()
        except KeyboardInterrupt:
            cli.note(f"hakmem soak --resume {folder} goes on with the rest of the time")
            raise
    if status != "ok":
        cli.note(f"the driver ended early ({status}); {len(soak.rows)} epochs are in {folder}, "
                 f"and hakmem soak --resume {folder} goes on")
        return 1
    return soak_analysis.judge_file(folder / FILE)
