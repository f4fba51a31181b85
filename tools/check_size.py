#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Holds what style asks for and no compiler checks: files of at most 600 lines (src/api/fast.h under
200), functions of at most 70, no left-over notes, no #if inside a function body outside src/base and
src/os, a box contract in each header of src/, and no invariant that no contract states. Prints one
line a finding. Needs universal-ctags."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["src", "include", "tests", "bench", "tools", "lab", "scripts", "cmake"]
SOURCES = {".c", ".h", ".def", ".cc", ".cpp", ".py", ".sh", ".cmake", ".in", ".txt"}
FILE_MAX, FUNCTION_MAX = 600, 70
FAST_MAX = 199
NOTE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
CONTRACT = ["BOX ", "Owns:", "Invariants:", "Threads:", "Locks:", "Fails:"]
BOX = re.compile(r"/\* BOX .*?\*/", re.S)
STATED = re.compile(r"\b[A-Z]{1,3}\d+\b")
USED = re.compile(r"\bhk_(?:invariant|walk)\(\s*([A-Za-z0-9_]+)\s*,")
IF = re.compile(r"^\s*#\s*(if|ifdef|ifndef)\b")


def find_sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in SOURCES and "golden" not in path.parts:
                yield path


def check_file(path, lines):
    here = path.relative_to(ROOT)
    most = FAST_MAX if str(here) == "src/api/fast.h" else FILE_MAX
    if len(lines) > most:
        yield f"{here}:{most}: {len(lines)} lines, {most} are allowed"
    for number, line in enumerate(lines, 1):
        if NOTE.search(line):
            yield f"{here}:{number}: a note to oneself: {line.strip()}"


def find_functions(paths):
    """(path, first line, last line, name) of each C function."""
    output = subprocess.run(
        ["ctags", "--languages=C,C++", "--langmap=C:+.h", "--kinds-C=f", "--kinds-C++=f",
         "--fields=+ne", "-x", "--_xformat=%F\t%n\t%{end}\t%N", *map(str, paths)],
        check=True, capture_output=True, text=True).stdout  # fmt: skip
    for line in output.splitlines():
        path, first, last, name = line.split("\t")
        if last:
            yield Path(path), int(first), int(last), name


def check_functions(texts):
    paths = [path for path in texts if path.suffix in {".c", ".h", ".cc", ".cpp"}]
    for path, first, last, name in find_functions(paths):
        here = path.relative_to(ROOT)
        body = texts[path][first:last]
        if last - first + 1 > FUNCTION_MAX:
            yield f"{here}:{first}: {name} has {last - first + 1} lines, {FUNCTION_MAX} are allowed"
        if here.parts[0] != "src" or here.parts[1] in {"base", "os"}:
            continue
        for number, line in enumerate(body, first + 1):
            if IF.match(line):
                yield f"{here}:{number}: #if inside of {name}"


def check_boxes(texts):
    stated, used = set(), []
    for path, lines in texts.items():
        here = path.relative_to(ROOT)
        if here.parts[0] != "src":
            continue
        text = "\n".join(lines)
        if path.suffix == ".h":
            box = BOX.search(text)
            for word in CONTRACT:
                if word not in (box[0] if box else ""):
                    yield f"{here}:1: the box contract lacks '{word.strip()}'"
            stated |= set(STATED.findall(box[0] if box else ""))
        if here != Path("src/base/check.h"):
            used += [(here, number, match[1]) for number, line in enumerate(lines, 1)
                     for match in USED.finditer(line)]  # fmt: skip
    for here, number, name in used:
        if name not in stated:
            yield f"{here}:{number}: invariant {name} is in no box contract"


def main():
    texts = {path: path.read_text().splitlines() for path in find_sources()}
    findings = [f for path, lines in texts.items() for f in check_file(path, lines)]
    findings += check_functions(texts)
    findings += check_boxes(texts)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
