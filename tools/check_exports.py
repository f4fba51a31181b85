#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""check_exports.py LIBHAKMEM.SO [--update]: what the library exports is exactly what
tests/golden/exports.txt lists: nothing internal, and no name lost. Prints one line a difference."""

import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "exports.txt"


def main():
    output = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", sys.argv[1]],
                            check=True, capture_output=True, text=True).stdout  # fmt: skip
    found = sorted({line.split()[0].partition("@")[0] for line in output.splitlines()})
    if "--update" in sys.argv:
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text("\n".join(found) + "\n")
        return 0
    expected = GOLDEN.read_text().split() if GOLDEN.exists() else []
    for name in sorted(set(expected) - set(found)):
        print(f"{name} is in {GOLDEN.name}, and not exported")
    for name in sorted(set(found) - set(expected)):
        print(f"{name} is exported, and not in {GOLDEN.name}")
    return 1 if found != expected else 0


if __name__ == "__main__":
    sys.exit(main())
