# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --suite mimalloc-bench --from DIR: the programs of a mimalloc-bench that the user
has built (its out/bench), with the arguments that its bench.sh gives them.

Some run by the clock and print what they did in it: of these, the time is what they say a fixed
amount of work would have taken, as there.
"""

import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple

from lab import cli, places, real_programs, rounds, runs

TIMEOUT_S = 300


class Test(NamedTuple):
    """command: {n} is the number of CPUs, {2n} twice that, {top} the suite's directory. relative:
    the seconds that its output tells, or None."""

    name: str
    command: str
    relative: Callable = None
    stdin: str = None
    folder: str = "out/bench"

    def words(self, top, cpus):
        text = self.command.replace("{n}", str(cpus)).replace("{2n}", str(2 * cpus))
        words = [word.replace("{top}", str(top)) for word in shlex.split(text)]
        return [str(top / self.folder / words[0]) if "/" in words[0] else words[0], *words[1:]]


def told(pattern, work=None):
    """A reader of what a program prints: seconds, or how much of `work` it did in one."""
    def seconds(text):
        found = re.search(pattern, text, re.M)
        if not found:
            return None
        number = float(found[1])
        return work / number if work and number else number
    return seconds


LARSON = told(r" time: ([\d.]+)")
TESTS = [
    Test("cfrac", "./cfrac 17545186520507317056371138836327483792789528"),
    Test("espresso", "./espresso ../../bench/espresso/largest.espresso"),
    Test("barnes", "./barnes", stdin="bench/barnes/input"),
    Test("gs", "gs -dBATCH -dNODISPLAY {top}/extern/large.pdf"),
    Test("larson-sized", "./larson-sized 5 8 1000 5000 100 4141 {n}", LARSON),
    Test("mstress", "./mstress {n} 50 25"),
    Test("rptest", "./rptest {n} 0 1 2 500 1000 100 8 16000",
         told(r"\.\.\.(\d+) memory ops", 2_000_000)),
    Test("alloc-test1", "./alloc-test 1"),
    Test("alloc-testN", "./alloc-test {n}"),
    Test("sh6bench", "./sh6bench {2n}"),
    Test("sh8bench", "./sh8bench {2n}"),
    Test("xmalloc-test", "./xmalloc-test -w {n} -t 5 -s 64", told(r"^rtime: ([\d.]+)")),
    Test("cache-scratch1", "./cache-scratch 1 1000 1 2000000 {n}"),
    Test("cache-scratchN", "./cache-scratch {n} 1000 1 2000000 {n}"),
    Test("cache-thrash1", "./cache-thrash 1 1000 1 2000000 {n}"),
    Test("cache-thrashN", "./cache-thrash {n} 1000 1 2000000 {n}"),
    Test("glibc-simple", "./glibc-simple"),
    Test("glibc-thread", "./glibc-thread {n}", told(r"^([\d.]+)", 1e9)),
    Test("larson", "./larson 5 8 1000 5000 100 4141 {n}", LARSON),
    Test("malloc-large", "./malloc-large"),
    Test("mleak10", "./mleak 5"),
    Test("mleak100", "./mleak 50"),
    Test("z3", "z3 -smt2 ../../bench/z3/test1.smt2"),
    Test("rbstress1", "ruby ../../bench/rbstress/stress_mem.rb 1"),
    Test("rbstressN", "ruby ../../bench/rbstress/stress_mem.rb {n}"),
    Test("rocksdb", "./db_bench --benchmarks=fillrandom", folder="extern/rocksdb-10.10.1"),
    Test("lua", "make -j {n}", folder="extern/lua"),
]
# They need a server beside them, a licence, or hours. redis is a row of --programs.
NOT_HERE = "redis, lean, lean-mathlib, linux, spec, security"


def reason(test, top):
    """Why a test can't run here, or None."""
    program = test.words(top, 1)[0]
    if not shutil.which(program):
        return f"there is no {places.shown(program) if '/' in program else program}"
    if not (top / test.folder).is_dir():
        return f"there is no {test.folder}"
    needed = [word for word in test.words(top, 1)[1:] if "/" in word and "=" not in word]
    needed += [str(top / test.stdin)] if test.stdin else []
    for word in needed:
        if not (top / test.folder / word).exists():
            return f"there is no {word}"
    return None


def choose(top, names):
    """The tests that can run; the others are named."""
    if not (top / "out" / "bench").is_dir():
        cli.fail(f"--from {top}: there is no out/bench: build mimalloc-bench first "
                 "(./build-bench-env.sh bench)")
    known = [t.name for t in TESTS]
    for name in names or ():
        if name not in known:
            cli.fail(f"there is no test '{name}': {', '.join(known)}")
    found = []
    for test in TESTS:
        if names and test.name not in names:
            continue
        why = reason(test, top)
        if why:
            cli.note(f"{test.name} is left out: {why}")
        else:
            found.append(test)
    return found or cli.fail(f"nothing in {top / 'out' / 'bench'} is built", 1)


def run(test, allocator, top, cpus):
    """A ProgramRun of one test."""
    folder = top / test.folder
    if test.name == "lua":
        runs.execute(["make", "clean"], cwd=folder)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "report"
        settings = [x for k, v in allocator.env().items() for x in ("-e", f"{k}={v}")]
        words = [places.bench("measure"), "-o", path, *settings, "--", *test.words(top, cpus)]
        if test.stdin:
            words = ["sh", "-c", f"exec {shlex.join(map(str, words))} "
                                 f"<{shlex.quote(str(top / test.stdin))}"]
        meter = runs.Meter(None)
        done = runs.execute(words, timeout=TIMEOUT_S, cwd=folder)
        others = meter.since()
        if done.status != "ok":
            return real_programs.ProgramRun(done.status, output=done.output, errors=done.errors)
        report = dict(word.split("=", 1) for word in path.read_text().split())
    wall = float(report["wall_s"])
    if test.relative:
        wall = test.relative(done.output)
        if wall is None:
            return real_programs.ProgramRun("no result", output=done.output, errors=done.errors)
    return real_programs.ProgramRun("ok", wall, float(report["user_s"]) + float(report["sys_s"]),
                               int(report["vmhwm_kib"]), int(report["minflt"]), None,
                               *others, done.output, done.errors)


def main(plan):
    top = plan.suite_from.absolute()
    chosen = choose(top, plan.names)
    if not plan.names:
        cli.note(f"this command has no rows for {NOT_HERE}")
    folder = rounds.directory("mimalloc-bench", plan.out)
    cpus = len(runs.allowed_cpus())
    # Without a warm-up: a test takes seconds, and half an hour is enough.
    todo = [x for x in rounds.order(chosen, plan.allocators, plan.repetitions) if x[0] >= 0]
    progress = cli.Progress(len(todo))
    redo = rounds.Redo(len(todo))
    found, failed = {}, {}
    with rounds.opened(folder / "programs.csv", "programs", real_programs.COLUMNS, plan.allocators,
                       repetitions=plan.repetitions, suite="mimalloc-bench", cpus=cpus) as writer:
        for number, (repetition, test, allocator) in enumerate(todo):
            progress.show(number, f"{test.name}, {allocator.name}")
            name = (test.name, allocator.name)
            found.setdefault(name, [])
            if name in failed:
                continue
            for one in redo.attempts(lambda t=test, a=allocator: run(t, a, top, cpus)):
                rounds.log(folder, test.name, test.words(top, cpus), allocator, one)
                writer.row(program=test.name, allocator=allocator.name, repetition=repetition,
                           **one.figures())
            if one.status == "ok":
                found[name].append(one)
            else:
                failed[name] = one.status
    progress.clear()
    real_programs.table(found, [a.name for a in plan.allocators], [t.name for t in chosen])
    print(f"\nMedians of {plan.repetitions}; below 1 is less than glibc. Tests that run by the "
          "clock: wall s is what a fixed\namount of work would have taken.")
    for (test, allocator), status in failed.items():
        print(f"{test} did not run on {allocator}: {status}")
    print(f"\nEvery run: {places.shown(folder / 'programs.csv')}")
    return folder, 1 if failed else 0
