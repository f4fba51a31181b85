#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Runs each case of misuse_cases and compares its last words: SIGABRT, exactly one line on stderr,
the line of the table below, and an offset that lies in the function that made the mistake.

--profile: with that HAKMEM_PROFILE. hardened goes by the table HARDENED; for others the cases hard_*
are left out.

misuse_run.py [--profile NAME] [--nm NM] [--preload LIB] [--emulator "qemu …"] program [case …]"""
import argparse
import concurrent.futures
import fnmatch
import os
import re
import resource
import shlex
import signal
import subprocess
import sys

PTR = r"0x[0-9a-f]+"
FROM = r" from (?P<module>\S+)\+0x(?P<offset>[0-9a-f]+)"
INVALID = rf"free\(\): invalid pointer {PTR}"
INSIDE = rf"free\(\): {PTR} is (?P<into>\d+) bytes into a block of (?P<size>\d+) bytes"
FREED = rf"free\(\): {PTR} \((?P<size>\d+) bytes\) is already free"
POPPED = rf"malloc\(\): block {PTR} \((?P<size>\d+) bytes\) was freed twice or written after free"
LIST = rf"corrupted free list (?:in slab {PTR} \((?P<size>\d+) bytes\)|of \d+-byte blocks)"
SIZED = rf"free_(?:aligned_)?sized\(\): {PTR} has (?P<size>\d+) bytes, not (?P<not>\d+)"

# Case (a shell pattern; the first that matches counts), the lines it may end with, and what the
# numbers must be: size is the least, and at most a quarter more. A caller may be unknown only where
# a dying thread finds the mistake ("late").
TABLE = [
    ("realloc_stack", [r"realloc\(\): invalid pointer " + PTR], {}),
    ("realloc_page", [r"realloc\(\): invalid pointer " + PTR], {}),
    ("usable_*", [r"malloc_usable_size\(\): invalid pointer " + PTR], {}),
    ("sized_stack", [r"free(?:_sized)?\(\): invalid pointer " + PTR], {}),
    ("stack", [INVALID], {}),
    ("static_object", [INVALID], {}),
    ("constant", [INVALID], {}),
    ("mapped_page*", [INVALID], {}),
    ("small_number", [INVALID], {}),
    ("wild", [INVALID], {}),
    ("not_canonical", [INVALID], {}),
    ("inside_64_other", [INSIDE], {"size": 64, "into": 16}),
    ("inside_1024_other", [INSIDE], {"size": 1024, "into": 512}),
    ("inside_20k_other", [INSIDE], {"size": 20000, "into": 4096}),
    ("inside_100k_other", [INSIDE], {"size": 100000, "into": 65536}),
    ("inside_span", [INSIDE], {"size": 8 << 20, "into": 1 << 20}),
    ("inside_span_16", [INSIDE], {"size": 8 << 20, "into": 16}),
    ("inside_span_other", [INSIDE], {"size": 8 << 20, "into": 100}),
    ("inside_huge", [INSIDE], {"size": 64 << 20, "into": 16 << 20}),
    ("inside_huge_16", [INSIDE], {"size": 64 << 20, "into": 16}),
    ("inside_huge_other", [INSIDE], {"size": 64 << 20, "into": 4096}),
    ("misaligned_64_other", [INSIDE], {"size": 64, "into": 1}),
    ("misaligned_20k_other", [INSIDE], {"size": 20000, "into": 8}),
    ("misaligned_span", [INSIDE], {"size": 8 << 20, "into": 1}),
    ("misaligned_huge", [INSIDE], {"size": 64 << 20, "into": 8}),
    ("inside_own_64", [INSIDE, LIST], {"size": 64, "into": 32}),
    ("inside_own_1024", [INSIDE, LIST], {"size": 1024, "into": 16}),
    ("inside_own_20k", [INSIDE, LIST], {"size": 20000, "into": 4096}),
    ("inside_own_100k", [INSIDE, LIST], {"size": 100000, "into": 50000}),
    ("misaligned_own_64", [INSIDE, LIST], {"size": 64, "into": 8}),
    ("sized_64_as_65", [SIZED], {"size": 64, "not": 65}),
    ("sized_64_as_5000", [SIZED], {"size": 64, "not": 5000}),
    ("sized_64_as_16", [SIZED], {"size": 64, "not": 16}),
    ("sized_64_as_max", [SIZED], {"size": 64, "not": 2**64 - 1}),
    ("sized_20k_as_64", [SIZED], {"size": 20000, "not": 64}),
    ("sized_100k_as_200k", [SIZED], {"size": 100000, "not": 200000}),
    ("sized_span_as_64", [SIZED], {"size": 8 << 20, "not": 64}),
    ("sized_span_as_9m", [SIZED], {"size": 8 << 20, "not": 9 << 20}),
    ("sized_huge_as_64", [SIZED], {"size": 64 << 20, "not": 64}),
    ("sized_huge_as_80m", [SIZED], {"size": 64 << 20, "not": 80 << 20}),
    ("aligned_sized_64_as_5000", [SIZED], {"size": 64, "not": 5000}),
    ("aligned_sized_as_64k", [rf"free_aligned_sized\(\): {PTR} .*65536.*"], {}),
    ("destroyed_*", [FREED, INVALID], {}),
    ("heap_double_free", [FREED], {"size": 64}),
    # Same thread: spans and huge blocks at the call, others when the second copy leaves the bin.
    ("twice_span", [FREED], {"size": 8 << 20}),
    ("twice_huge", [FREED], {"size": 64 << 20}),
    ("aba_span", [FREED], {"size": 8 << 20}),
    ("aba_huge", [FREED], {"size": 64 << 20}),
    ("twice_64", [POPPED], {"size": 64}),
    ("aba_64", [POPPED], {"size": 64}),
    ("twice_1k", [POPPED, FREED, LIST], {"size": 1024}),
    ("aba_1k", [POPPED, FREED, LIST], {"size": 1024}),
    ("twice_20k", [POPPED, FREED, LIST], {"size": 20000}),
    ("aba_20k", [POPPED, FREED, LIST], {"size": 20000}),
    ("twice_100k", [POPPED, FREED, LIST], {"size": 100000}),
    ("aba_100k", [POPPED, FREED, LIST], {"size": 100000}),
    ("stale_64", [FREED], {"size": 64}),
    ("stale_1k", [FREED], {"size": 1024}),
    ("stale_20k", [FREED], {"size": 20000}),
    ("stale_100k", [FREED], {"size": 100000}),
    ("far_64", [POPPED, FREED, LIST, INVALID], {}),
    ("far_1k", [POPPED, FREED, LIST, INVALID], {}),
    ("far_20k", [POPPED, FREED, LIST, INVALID], {}),
    ("other_twice_span", [FREED], {"size": 8 << 20}),
    ("other_aba_span", [FREED], {"size": 8 << 20}),
    ("*_span", [FREED], {"size": 8 << 20}),
    ("*_huge", [FREED], {"size": 64 << 20}),
    ("other_twice_64", [FREED, POPPED, LIST], {"size": 64, "late": True}),
    ("other_twice_*", [FREED, POPPED, LIST], {"late": True}),
    ("other_aba_*", [FREED, POPPED, LIST], {"late": True}),
    ("here_there_*", [FREED, POPPED, LIST], {"late": True}),
    ("there_here_*", [FREED, POPPED, LIST], {"late": True}),
    ("two_others_*", [FREED, POPPED, LIST], {"late": True}),
    ("write_64_*", [POPPED], {"size": 64}),
    ("write_16_whole", [POPPED], {"size": 16}),
    ("write_1k_whole", [POPPED], {"size": 1024}),
    ("write_20k_*", [POPPED, LIST], {"size": 20000}),
    ("write_flushed_64_*", [POPPED, LIST], {"size": 64}),
    ("write_flushed_1k_*", [POPPED, LIST], {"size": 1024}),
    ("overflow_64", [POPPED, LIST], {"size": 64}),
    ("overflow_1k", [POPPED, LIST], {"size": 1024}),
    ("overflow_4k", [POPPED, LIST], {"size": 4096}),
]

BEHIND = rf"free\(\): overflow behind block {PTR} \((?P<size>\d+) bytes\)"
TWICE = {"64": 64, "1k": 1024, "20k": 20000, "100k": 100000, "span": 8 << 20, "huge": 64 << 20}
# Written after free: seen when the block is handed out again, or when its empty slab is given away.
WRITTEN = [POPPED, rf"free\(\): block {PTR} \((?P<size>\d+) bytes\) was freed twice or written after free"]
FAULT = "fault"  # in place of a line: SIGSEGV, from a guard
NO_GUARDS = 77  # exit status where the kernel has none

# The same under HAKMEM_PROFILE=hardened: at the offending call, whoever makes it. Cases that are not
# here must end as in TABLE, whose entries for these are more lenient.
HARDENED = [
    # 65 to 72 bytes are of one class there; hard_sized_64_as_73 is the first that is not
    ("sized_64_as_65", None, {}),
    # a multiple of 64 that holds 72
    ("aligned_sized_64_as_5000", [SIZED], {"size": 120, "not": 5000}),
    ("inside_own_64", [INSIDE], {"size": 64, "into": 32}),
    ("inside_own_1024", [INSIDE], {"size": 1024, "into": 16}),
    ("inside_own_20k", [INSIDE], {"size": 20000, "into": 4096}),
    ("inside_own_100k", [INSIDE], {"size": 100000, "into": 50000}),
    ("misaligned_own_64", [INSIDE], {"size": 64, "into": 8}),
    *((f"{how}_{name}", [FREED], {"size": size}) for name, size in TWICE.items() for how in
      ("twice", "aba", "far", "other_twice", "other_aba", "here_there", "there_here", "two_others",
       "hard_race")),
    ("write_16_whole", WRITTEN, {"size": 24, "late": True}),
    *((f"write*_{name}_*", WRITTEN, {"size": TWICE[name], "late": True})
      for name in ("64", "1k", "20k")),
    ("overflow_64", WRITTEN, {"size": 64, "late": True}),
    ("overflow_1k", WRITTEN, {"size": 1024, "late": True}),
    ("overflow_4k", WRITTEN, {"size": 4096, "late": True}),
    ("hard_behind_realloc_*", [BEHIND.replace("free", "realloc")], {}),
    ("hard_heap_behind", [BEHIND], {"size": 500}),
    ("hard_switched_o*", [BEHIND], {"size": 72}),
    *((f"hard_{how}_{name}", [BEHIND], {"size": size}) for name, size in
      {"1": 8, "16": 24, "256k": 256 << 10, **TWICE}.items() for how in
      ("behind", "nul", "behind_other")),
    ("hard_behind_calloc", [BEHIND], {"size": 5000}),
    ("hard_behind_aligned", [BEHIND], {}),
    ("hard_behind_grown", [BEHIND], {"size": 72 << 20}),
    ("hard_guard_*", [FAULT], {}),
    ("hard_realloc_freed", [FREED.replace("free", "realloc", 1)], {"size": 64}),
    ("hard_usable_freed", [FREED.replace("free", "malloc_usable_size", 1)], {"size": 1000}),
    ("hard_never_out", [FREED, INVALID], {}),
    ("hard_sized_64_as_73", [SIZED], {"size": 64, "not": 73}),
    *((f"hard_sized_{how}_{name}", [line.replace("free", "free_sized", 1)], {"size": size})
      for name, size in TWICE.items() for how, line in
      (("twice", FREED), ("inside", INSIDE), ("behind", BEHIND))),
    ("hard_heap_twice_span", [FREED], {"size": 8 << 20}),
    ("hard_write_16_*", WRITTEN, {"size": 24, "late": True}),
    *((f"hard_write_{name}_*", WRITTEN, {"size": TWICE[name], "late": True})
      for name in ("64", "1k", "20k", "100k")),
    ("hard_write_span*", [FAULT, *WRITTEN], {"size": 8 << 20, "late": True}),
    ("hard_write_huge", [FAULT], {}),
    ("hard_destroy_64", [BEHIND.replace("free", "hak_heap_destroy")], {"size": 64, "late": True}),
    ("hard_destroy_span", [BEHIND.replace("free", "hak_heap_destroy")], {"late": True}),
    ("hard_destroy_huge", [BEHIND.replace("free", "hak_heap_destroy")], {"late": True}),
]


class Symbols:
    """Which function of the program an offset lies in."""

    def __init__(self, nm, program):
        self.name = os.path.basename(program)
        lines = subprocess.run([nm, "--defined-only", "-n", program], capture_output=True, text=True,
                               check=True).stdout.splitlines()
        fields = [line.split() for line in lines]
        self.symbols = [(int(f[0], 16), f[2]) for f in fields if len(f) == 3 and f[1] in "tTwW"]
        with open(program, "rb") as file:
            head = file.read(64)
        # ET_EXEC: addresses are absolute, and the usual base is the module's.
        self.base = 0x400000 if head[16] == 2 else 0

    def at(self, offset):
        found = "?"
        for value, name in self.symbols:
            if value - self.base > offset:
                break
            found = name
        return found


def expectation(case, hardened):
    for pattern, lines, numbers in (HARDENED if hardened else []) + TABLE:
        if fnmatch.fnmatch(case, pattern):
            return lines, numbers
    return [], {}


def numbers_are_right(match, numbers):
    groups = match.groupdict()
    for key, want in numbers.items():
        if key == "late" or groups.get(key) is None:
            continue
        got = int(groups[key])
        if key == "size" and not want <= got <= want + want // 4:
            return f"size {got}, wanted about {want}"
        if key != "size" and got != want:
            return f"{key} {got}, wanted {want}"
    return None


def judge(case, done, symbols, hardened):
    """None, or what is wrong."""
    lines, numbers = expectation(case, hardened)
    if lines is None:
        return f"exit {done.returncode}, not 0" if done.returncode else None
    if not lines:
        return "no line of the table"
    if case.startswith("hard_guard_") and done.returncode == NO_GUARDS:
        return None
    if FAULT in lines and done.returncode in (-signal.SIGSEGV, 128 + signal.SIGSEGV):
        return None
    said = re.sub(r"qemu: uncaught target signal .*\n", "", done.stderr.decode(errors="replace"))
    if done.returncode == 3:
        return f"a block was handed out twice; stderr {said!r}"
    if done.returncode not in (-signal.SIGABRT, 128 + signal.SIGABRT):
        return f"exit {done.returncode}, no SIGABRT; stderr {said!r}"
    if not said.endswith("\n") or said.count("\n") != 1:
        return f"not one line: {said!r}"
    for line in lines:
        match = re.fullmatch("hakmem: " + line + FROM, said[:-1])
        if match is None and numbers.get("late"):
            match = re.fullmatch("hakmem: " + line, said[:-1])
        if match is not None:
            break
    else:
        return f"line {said[:-1]!r} is none of {lines}"
    wrong = numbers_are_right(match, numbers)
    if wrong:
        return f"{wrong}: {said[:-1]!r}"
    if match.groupdict().get("offset") is None:
        return None
    if os.path.basename(match["module"]) != symbols.name:
        return f"module {match['module']}, not {symbols.name}"
    function = symbols.at(int(match["offset"], 16) - 1)
    if not function.startswith("mistake_"):
        return f"offset lies in {function}: {said[:-1]!r}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--preload")
    parser.add_argument("--emulator", default="")
    parser.add_argument("--profile")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("program")
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    command = shlex.split(args.emulator.replace(";", " ")) + [args.program]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
    if args.preload:
        env["LD_PRELOAD"] = args.preload
    if args.profile:
        env["HAKMEM_PROFILE"] = args.profile
    if args.profile != "hardened":
        listed = [case for case in listed if not case.startswith("hard_")]
    symbols = Symbols(args.nm, args.program)

    def run(case):
        try:
            done = subprocess.run(command + [case], capture_output=True, env=env, timeout=60)
        except subprocess.TimeoutExpired:
            return case, "still running after a minute"
        if args.verbose:
            print(case, done.returncode, done.stderr.decode(errors="replace").strip())
        return case, judge(case, done, symbols, args.profile == "hardened")

    failed = 0
    cases = args.case or listed
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for case, wrong in pool.map(run, cases):
            if wrong:
                failed += 1
                print(f"FAILED {case}: {wrong}")
    print(f"{len(cases) - failed} of {len(cases)} cases end as they should")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
