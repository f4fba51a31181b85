# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem trace: records what a program allocates, tells what is in a recording, and replays it.

The recorder is a preloaded library (bench/trace/), the replay a benchmark program
(bench/bench_replay.c); the file format is docs/trace-format.md."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from lab import cli, places, tracefile

ABOUT = """\
Records every malloc and free of a program in all its threads:
    hakmem trace -o redis.hktrace.xz -- redis-server --port 7777
    hakmem trace --info redis.hktrace.xz
    hakmem trace --replay redis.hktrace.xz --preload hakmem=build/release/libhakmem.so

Of a program that starts others, the process with the most calls is kept. Traces of real
programs are in bench/traces/.
"""
DRIVER = "bench_replay_system"
RECORDER = "libhakmem_trace.so"
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_arguments(argv):
    parser = cli.parser("trace", ABOUT)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--info", metavar="FILE", type=Path, help="tell what is in a trace")
    what.add_argument("--replay", metavar="FILE", type=Path, help="replay one")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path,
                        help="default: the program's name with .hktrace.xz; .gz or neither also do")
    parser.add_argument("--limit", metavar="SIZE", default="64M", type=parse_size,
                        help="stop recording at this size before compression (default 64M, which "
                             "is about 3 million calls)")
    parser.add_argument("--process", metavar="NAME",
                        help="of the processes that are started, keep one of this name")
    parser.add_argument("--preload", metavar="NAME=PATH", action="append", default=[],
                        help="an allocator to record or replay on; may be repeated for --replay")
    parser.add_argument("--repeat", metavar="N", type=int, default=1, help="for --replay")
    own, program = split_words(argv)
    args = parser.parse_args(own)
    args.program = program
    if not args.info and not args.replay and not program:
        parser.error("what is to be recorded? hakmem trace -- PROGRAM …")
    if program and (args.info or args.replay):
        parser.error("--info and --replay start no program")
    return args


def split_words(argv):
    """What stands before the first -- is ours, the rest is the program's."""
    if "--" in argv:
        at = argv.index("--")
        return argv[:at], argv[at + 1:]
    return argv, []


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text, re.I)
    if not match:
        cli.fail(f"'{text}' is no size: it is a number with K, M or G, as 64M")
    return int(match[1]) * UNITS[match[2].upper()]


def parse_preloads(words):
    found = []
    for word in words:
        name, _, path = word.rpartition("=")
        if not Path(path).is_file():
            cli.fail(f"'{word}' is not NAME=PATH with a library at PATH")
        found.append((name or Path(path).name, Path(path).resolve()))
    return found


# ---- Record --------------------------------------------------------------------------------------

def run_program(program, env):
    """The exit status of the program. An interrupt reaches it too; what it did is kept."""
    try:
        child = subprocess.Popen(program, env=env)
    except OSError as error:
        return cli.fail(f"{program[0]}: {error.strerror}", 127)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            pass


def choose(folder, name):
    """The recording with the most calls, and the names of all."""
    raws = []
    for path in folder.iterdir():
        raws.append(tracefile.Raw(path))
    if not raws:
        cli.fail("nothing was recorded: is it a static program, a setuid one, or one without a "
                 "malloc of its own library?", 1)
    names = sorted({raw.program for raw in raws})
    if name:
        raws = [raw for raw in raws if raw.program == name]
        if not raws:
            cli.fail(f"there was no process of the name {name}: {', '.join(names)}", 1)
    return max(raws, key=lambda raw: sum(len(words) for pieces in raw.streams.values()
                                         for _, words in pieces)), names


def record(args):
    recorder = places.bench(RECORDER)
    preloads = parse_preloads(args.preload)
    if len(preloads) > 1:
        cli.fail("a recording has one allocator")
    with tempfile.TemporaryDirectory(prefix="hakmem-trace-") as folder:
        libraries = [str(recorder), *(str(path) for _, path in preloads)]
        if os.environ.get("LD_PRELOAD"):
            libraries.append(os.environ["LD_PRELOAD"])
        status = run_program(args.program, {
            **os.environ, "LD_PRELOAD": ":".join(libraries),
            "HAKMEM_TRACE_FILE": f"{folder}/%p", "HAKMEM_TRACE_LIMIT": str(args.limit)})
        raw, names = choose(Path(folder), args.process)
        progress = cli.Progress(raw.about)
        header, data = tracefile.Converter(raw).convert(
            lambda number: progress.show(min(number, raw.about), "converting"))
        progress.clear()
    output = args.output or Path(f"{header.program}.hktrace.xz")
    try:
        tracefile.compress(output, data)
    except OSError as error:
        cli.fail(f"{output}: {error.strerror}", 1)
    print("\n".join(tracefile.describe(tracefile.summarize(data))))
    if len(names) > 1:
        print(f"of the processes {', '.join(names)}: {header.program} (--process chooses another)")
    print(f"{output}: {tracefile.bytes_text(output.stat().st_size)}")
    if status:
        cli.note(f"{args.program[0]} ended with status {status}")
    return 0


# ---- Info and replay -----------------------------------------------------------------------------

def load(path):
    try:
        return tracefile.load(path)
    except OSError as error:
        return cli.fail(f"{path}: {error.strerror}")


def show(path):
    print("\n".join(tracefile.describe(tracefile.summarize(load(path)))))
    return 0


def replay(args):
    """One run an allocator, glibc alone if none is named."""
    data = load(args.replay)
    tracefile.read_header(data)
    driver = places.bench(DRIVER)
    worst = 0
    for name, library in parse_preloads(args.preload) or [("glibc", None)]:
        env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        if library:
            env["LD_PRELOAD"] = str(library)
        print(f"{name}: ", end="", flush=True)
        done = subprocess.run([driver, "--repeat", str(args.repeat), "-"], input=data, env=env,
                              check=False)
        if done.returncode:
            print()
            worst = max(worst, done.returncode if done.returncode > 0 else 128 - done.returncode)
    return worst


def main(argv):
    args = parse_arguments(argv)
    try:
        if args.info:
            return show(args.info)
        if args.replay:
            return replay(args)
        return record(args)
    except tracefile.Damaged as damage:
        return cli.fail(f"{args.info or args.replay or 'recording'}: {damage}")
