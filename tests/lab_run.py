#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Runs the tests of the lab by pytest; without pytest and what they compare with, says so and ends
with status 77."""

import importlib.util
import os
import sys

SKIPPED = 77
NEEDED = ("pytest", "numpy", "scipy")


def main():
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        print(f"SKIPPED: the lab is not tested without {', '.join(missing)}: apt-get install "
              f"{' '.join(f'python3-{name}' for name in missing)}")
        return SKIPPED
    os.environ["OMP_NUM_THREADS"] = "1"  # numpy's threads are slower than none, on so little
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                              *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
