# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Where things are: the library, the benchmark programs, results; in a checkout and installed."""

import os
from pathlib import Path

from lab import cli

ROOT = Path(__file__).resolve().parent.parent
IN_CHECKOUT = (ROOT / "CMakeLists.txt").exists()
PREFIX = ROOT.parent.parent  # of <prefix>/share/hakmem/lab


def build_dir():
    """The build tree of a checkout: build/release, or that of BUILD_FLAVOR, as for make."""
    return ROOT / "build" / os.environ.get("BUILD_FLAVOR", "release")


def library():
    """libhakmem.so."""
    if IN_CHECKOUT:
        found = [build_dir() / "libhakmem.so"]
    else:
        found = [PREFIX / "lib" / "libhakmem.so", *sorted(PREFIX.glob("lib/*/libhakmem.so")),
                 PREFIX / "lib64" / "libhakmem.so"]
    for path in found:
        if path.exists():
            return path
    hint = ": build it first (make)" if IN_CHECKOUT else ""
    return cli.fail(f"there is no {found[0]}{hint}", 1)


def bench(name):
    """A program of bench/, by name: only a checkout has them."""
    path = build_dir() / "bench" / name
    if not path.exists():
        if not IN_CHECKOUT:
            cli.fail("the benchmark programs are not installed: use a checkout of hakmem", 1)
        cli.fail(f"there is no {path}: build it first (make {name})", 1)
    return path


def results(kind, stamp):
    """A new directory for the results of one run: bench_results/<kind>/<stamp>."""
    base = (ROOT if IN_CHECKOUT else Path.cwd()) / "bench_results" / kind
    path = base / stamp
    number = 1
    while path.exists():
        number += 1
        path = base / f"{stamp}-{number}"
    path.mkdir(parents=True)
    return path


def shown(path):
    """A path as it is shown to users: from the current directory, if it is below that."""
    path = Path(path).absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
