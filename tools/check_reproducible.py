#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""check_reproducible.py CMAKE CC: two builds, from copies of the sources in two folders, one with its
build folder inside and one beside it, give the same libhakmem.so, libhakmem.a and hakmem.o to the bit.
Takes about 20 seconds of processor time."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ["CMakeLists.txt", "cmake", "src", "include", "docs/man", "hakmem.pc.in", "hakmem", "lab",
         "LICENSE"]  # fmt: skip
PRODUCTS = ["libhakmem.so", "libhakmem.a", "hakmem.o"]


def copy_sources(to):
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part)
        else:
            (to / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / part, to / part)


def build(cmake, cc, source, binary):
    copy_sources(source)
    for command in ([cmake, "-S", source, "-B", binary, f"-DCMAKE_C_COMPILER={cc}"],
                    [cmake, "--build", binary, "--target", "hakmem_shared", "hakmem_static"]):  # fmt: skip
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            sys.exit(f"{done.stdout[-3000:]}\n{command[1]}: failed")
    return {name: hashlib.sha256((binary / name).read_bytes()).hexdigest() for name in PRODUCTS}


def main():
    cmake, cc = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        one = build(cmake, cc, folder / "here", folder / "here" / "build")
        other = build(cmake, cc, folder / "a" / "longer" / "name", folder / "beside")
    different = [name for name in PRODUCTS if one[name] != other[name]]
    for name in different:
        print(f"{name} differs: {one[name]}, {other[name]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
