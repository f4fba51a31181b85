#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Runs one real program on glibc's malloc and on hakmem, and compares.

    run_program.py --library build/release/libhakmem.so redis      one program of programs.py
    run_program.py --list                                          name, time limit, resources

A program passes when both runs end well, both give the same output, hakmem says nothing on stderr,
and the statistics that hakmem writes at exit prove that it served at least 1,000 blocks. A program
that is not installed is a failure. Each run has a directory of its own, which is removed; servers
listen on 127.0.0.1 or a socket in that directory. Variables that begin with HAKMEM_ are handed on.
"""

import argparse
import concurrent.futures
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

from program_run import PATH, Failure, Run  # pylint: disable=wrong-import-position
from programs import TABLE  # pylint: disable=wrong-import-position

BLOCKS_MIN = 1000


def check_served(run, name):
    blocks = run.blocks()
    total = sum(blocks.values())
    if total < BLOCKS_MIN:
        raise Failure(f"{name}: {total} blocks in the statistics of {len(blocks)} processes: "
                      f"hakmem did not serve it, which takes {BLOCKS_MIN}")
    return f"{total} blocks in {len(blocks)} processes"


def check_quiet(run, name):
    for text in run.errors:
        for line in text.splitlines():
            if line.startswith("hakmem:") or "cannot be preloaded" in line:
                raise Failure(f"{name}: on stderr: {line}")


def first_difference(expected, got):
    for number, (a, b) in enumerate(zip(expected.splitlines(), got.splitlines()), 1):
        if a != b:
            return f"line {number}:\n  glibc:  {a[:300]}\n  hakmem: {b[:300]}"
    return f"{len(expected)} against {len(got)} characters"


def run_both(entry, library, tools, directory):
    """Both runs, at the same time."""
    runs = [Run(entry.name, directory / "glibc", tools=tools),
            Run(entry.name, directory / "hakmem", library, tools)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(entry.function, run) for run in runs]
        outputs = []
        for run, job in zip(runs, jobs):
            try:
                outputs.append(job.result())
            except Failure as failure:
                side = "hakmem" if run.preload else "glibc"
                raise Failure(f"on {side}: {failure}") from None
    check_quiet(runs[1], entry.name)
    if outputs[0] != outputs[1]:
        raise Failure(f"{entry.name}: another output than on glibc, "
                      + first_difference(*outputs))
    if not outputs[0].strip():
        raise Failure(f"{entry.name}: no output, so nothing was compared")
    return check_served(runs[1], entry.name)


def run_program(entry, library, tools):
    for program in entry.needs:
        if not (shutil.which(program, path=PATH) or Path(program).exists()):
            raise Failure(f"{entry.name}: {program} is not installed "
                          "(scripts/install_deps.sh check installs it)")
    directory = Path(tempfile.mkdtemp(prefix=f"hakmem-{entry.name}-"))
    directory.chmod(0o755)
    try:
        return run_both(entry, library, tools, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Runs real programs on hakmem.")
    parser.add_argument("names", nargs="*", metavar="PROGRAM", help="default: all")
    parser.add_argument("--library", type=Path, help="libhakmem.so")
    parser.add_argument("--measure", type=Path, help="bench/measure of the build tree")
    parser.add_argument("--cxx", type=Path, help="cxx_program of the build tree")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        for entry in TABLE.values():
            print(f"{entry.name} {entry.timeout} {','.join(entry.locks) or '-'}")
        return 0
    unknown = [n for n in args.names if n not in TABLE]
    if unknown or not args.library or not args.library.is_file():
        parser.error(f"no such program: {unknown[0]}" if unknown
                     else "--library is needed: the path of libhakmem.so")
    tools = {k: v.resolve() for k, v in vars(args).items() if k in ("measure", "cxx") and v}
    failed = 0
    for name in args.names or TABLE:
        start = time.monotonic()
        try:
            verdict = "ok, " + run_program(TABLE[name], args.library, tools)
        except Failure as failure:
            failed += 1
            verdict = f"FAILED\n{failure}"
        print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
