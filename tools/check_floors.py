#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Holds the floors: base < os < superslab < slab < heap < api < override, with observe and debug
beside them. A file includes its own floor and lower ones, by path from src/; observe and debug may
include anything, and are included by nobody but the pairs below. No .c is included, every header
has the guard of its place, file names are unique in the repository. Prints one line a finding."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["base", "os", "superslab", "slab", "heap", "api", "override"]
BESIDE = ["observe", "debug"]
# (who, what): modes that are switched on from above, and so must be known there.
ALLOWED = [
    ("api", "observe/dump.h"),
    ("api", "observe/stats.h"),
    ("override", "observe/stats.h"),
]
# Names that a folder has because a tool asks for them.
COMMON_NAMES = {"CMakeLists.txt", "README.md", "__init__.py", "Makefile"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def floor_of(path):
    return path.parts[0] if path.parts[0] in FLOORS + BESIDE else None


def may_include(includer, target):
    mine, theirs = floor_of(includer), floor_of(target)
    if mine in BESIDE or theirs is None or mine == theirs:
        return True
    if theirs in BESIDE:
        return (mine, str(target)) in ALLOWED
    return FLOORS.index(theirs) < FLOORS.index(mine)


def check_includes(src):
    for path in sorted(src.glob("*/*.[ch]")):
        here = path.relative_to(src)
        text = path.read_text()
        for match in INCLUDE.finditer(text):
            target = Path(match[2])
            line = text.count("\n", 0, match.start()) + 1
            if target.suffix == ".c":
                yield f"src/{here}:{line}: includes {target}: a .c is compiled, not included"
            elif match[1] == '"' and not (src / target).exists() and target.parts[0] != "hakmem":
                yield f"src/{here}:{line}: {target}: name headers by their path from src/"
            elif match[1] == '"' and not may_include(here, target):
                yield f"src/{here}:{line}: includes {target}, which is on a higher floor"


def check_guards(src):
    for path in sorted(src.glob("*/*.h")):
        here = path.relative_to(src)
        guard = f"HK_{here.parts[0]}_{path.stem}_H".upper()
        lines = path.read_text().splitlines()
        directives = [line.split() for line in lines if line.startswith("#")]
        if directives[:2] != [["#ifndef", guard], ["#define", guard]]:
            yield f"src/{here}:1: the guard must be {guard}"


def check_names():
    seen = {}
    for folder in ["src", "include", "tests", "bench", "tools", "lab", "scripts"]:
        for path in sorted((ROOT / folder).rglob("*")):
            if not path.is_file() or path.name in COMMON_NAMES or "__pycache__" in path.parts:
                continue
            here = path.relative_to(ROOT)
            if path.name in seen:
                yield f"{here}:1: has the same name as {seen[path.name]}"
            seen.setdefault(path.name, here)


def main():
    src = ROOT / "src"
    findings = [*check_includes(src), *check_guards(src), *check_names()]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
