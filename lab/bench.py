# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench: measures allocators on workloads, on real programs, and on other suites."""

import argparse
import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

from lab import allocators, cli, runs, workloads

ABOUT = """Measures allocators, interleaved, and prints medians beside glibc's.

Without a mode: the workloads of bench/, which gives results.csv. Debian's mimalloc, jemalloc,
tcmalloc and tbb are measured where they are installed.

    hakmem bench --set full -n 15
    hakmem bench --preload snmalloc=/path/to/libsnmallocshim.so --workload larson
    hakmem bench --preload tcmalloc-google=/path/to.so,GLIBC_TUNABLES=glibc.pthread.rseq=0
    hakmem bench --programs --allocators glibc,hakmem
    hakmem bench --memory --profiles --scenario 'equal 256 1000 13'
    hakmem bench --suite mimalloc-bench --from /path/to/mimalloc-bench"""

# Mode: (module, repetitions unless -n says otherwise, what it does)
MODES = {
    "syscalls": ("counts", 1, "mmap, munmap and madvise calls, seen by strace, and by hakmem"),
    "instructions": ("instructions", 1, "instructions an operation, by callgrind"),
    "scaling": ("scaling", 3, "writes to memory that threads share, counted by the observe build"),
    "memory": ("memory", 3, "resident memory: over time, of the phase-shift workload, and what "
                            "stays in the scenarios of bench_retain"),
    "latency": ("latency", 5, "times of single calls of malloc and free"),
    "programs": ("real_programs", 5, "compilers, interpreters, sqlite3, git, searches, servers"),
}
SUITES = {"mimalloc-bench": ("mimalloc_bench", 3)}


class Plan(NamedTuple):
    """What a mode gets: who is measured on what, how often, where, and where to put it."""

    allocators: list
    workloads: list
    repetitions: int
    ops: int  # of each run; None: as many as usual
    cpu: int  # where runs of one thread go
    set: str
    out: Path
    resume: Path
    suite_from: Path
    names: list  # of --workload
    scenarios: list = None  # of --scenario


def positive(text):
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return number


def make_parser():
    parser = cli.parser("bench", ABOUT)
    parser.add_argument("--set", choices=["quick", "full"], default="quick",
                        help="sets of parameters (default quick)")
    parser.add_argument("--workload", "--program", action="append", metavar="NAME", dest="names",
                        help="only this one (of a suite: program); may be repeated")
    parser.add_argument("--scenario", action="append", metavar="'NAME [NUMBER]…'",
                        dest="scenarios", help="with --memory: only this scenario, with these "
                                               "numbers; may be repeated")
    parser.add_argument("-n", type=positive, dest="repetitions", metavar="N",
                        help="repetitions (default 7)")
    parser.add_argument("--ops", type=positive, metavar="N",
                        help="operations of each run, instead of the usual number")
    parser.add_argument("--touch", action="store_true", help="write every page of every block")
    parser.add_argument("--allocators", metavar="A,B,…", help="only these")
    parser.add_argument("--preload", action="append", default=[], metavar="NAME=FILE[,VAR=VALUE]",
                        help="another allocator, and the environment it needs; may be repeated")
    parser.add_argument("--profiles", action="store_true",
                        help="hakmem's profiles speed and lean, too")
    parser.add_argument("--out", type=Path, metavar="DIR", help="results go there")
    parser.add_argument("--resume", type=Path, metavar="DIR",
                        help="goes on with an interrupted run, as that was started; also "
                             "measures again what others disturbed")
    parser.add_argument("--report", action="store_true", help="makes a page of the results")
    modes = parser.add_mutually_exclusive_group()
    for name, (_, _, about) in MODES.items():
        modes.add_argument(f"--{name}", action="store_const", const=name, dest="mode", help=about)
    modes.add_argument("--suite", choices=list(SUITES), help="the programs of another suite, "
                                                             "which --from has built")
    parser.add_argument("--from", type=Path, metavar="DIR", dest="suite_from",
                        help="where that suite is")
    return parser


def parse(argv):
    """The arguments; with --resume, those of the run that it goes on with."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.resume:
        if argv not in (["--resume", str(args.resume)], [f"--resume={args.resume}"]):
            cli.fail("--resume DIR takes everything else from the run in DIR")
        if not (args.resume / "results.csv").exists():
            cli.fail(f"--resume {args.resume}: there is no results.csv")
        from lab import suite
        resume = args.resume
        args = parser.parse_args(suite.former_arguments(resume))
        args.resume, args.out = resume, None
    if bool(args.suite) != bool(args.suite_from):
        cli.fail("--suite NAME and --from DIR belong together")
    if args.scenarios and args.mode != "memory":
        cli.fail("--scenario belongs to --memory")
    return args


def make_plan(args, repetitions):
    names = args.allocators.split(",") if args.allocators else None
    chosen = allocators.choose(names, args.preload, args.profiles)
    rows = []
    if args.mode != "programs" and not args.suite:
        rows = workloads.choose(args.set, args.names, args.touch)
    return Plan(chosen, rows, args.repetitions or repetitions, args.ops, runs.pick_cpu(), args.set,
                args.out, args.resume, args.suite_from, args.names, args.scenarios)


def report(folder):
    """The page of `hakmem report`."""
    if not importlib.util.find_spec("lab.report"):
        cli.note("there is no hakmem report")
        return
    importlib.import_module("lab.report").main([str(folder)])


def main(argv):
    args = parse(argv)
    module, repetitions = "suite", 7
    if args.suite:
        module, repetitions = SUITES[args.suite]
    elif args.mode:
        module, repetitions, _ = MODES[args.mode]
    mode = importlib.import_module(f"lab.{module}")
    plan = make_plan(args, repetitions)
    folder, status = mode.main(plan)
    if args.report:
        report(folder)
    return status
