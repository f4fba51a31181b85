#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""check_symbols.py SOURCE_DIR NM OBJECT…: references between the objects of the library go down the
floors only. Catches what includes cannot show: a declaration on a low floor of what a high one
defines. Which floor an object is from follows from its name, since file names are unique.

A floor calls up through pointers that the higher one has set (struct hk_<floor>_hooks), and those
are no references."""

import re
import subprocess
import sys
from pathlib import Path

from check_floors import ALLOWED, BESIDE, FLOORS

MEMBER = re.compile(r"^(\S+)\.o:$")


def read_symbols(files, nm):
    """{object: (defined, undefined)}"""
    output = subprocess.run([nm, *files], check=True, capture_output=True, text=True).stdout
    objects, current = {}, None
    for line in output.splitlines():
        member = MEMBER.match(line)
        if member:
            current = objects.setdefault(Path(member[1]).name, (set(), set()))
        elif line.strip():
            kind, name = line.split()[-2:]
            if kind == "U":
                current[1].add(name)
            elif kind.isupper():
                current[0].add(name)
    return objects


def main():
    src, nm, files = Path(sys.argv[1]) / "src", sys.argv[2], sys.argv[3:]
    floor = {path.name: path.parent.name for path in src.glob("*/*.c")}
    objects = read_symbols(files, nm)
    unknown = [name for name in objects if name not in floor]
    home = {symbol: name for name, (defined, _) in objects.items() for symbol in defined}
    findings = [f"{name}.o is from no file of src/" for name in unknown]

    def is_allowed(name, target):
        mine, theirs = floor[name], floor[target]
        if mine in BESIDE or mine == theirs:
            return True
        if theirs in BESIDE:
            return (mine, f"{theirs}/{Path(target).stem}.h") in ALLOWED
        return FLOORS.index(theirs) < FLOORS.index(mine)

    for name, (_, undefined) in sorted(objects.items()):
        for symbol in sorted(undefined & home.keys()):
            if name in floor and home[symbol] in floor and not is_allowed(name, home[symbol]):
                findings.append(
                    f"src/{floor[name]}/{name}: refers to {symbol}, "
                    f"which is up in src/{floor[home[symbol]]}/{home[symbol]}"
                )
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
