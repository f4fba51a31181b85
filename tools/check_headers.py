#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""check_headers.py COMPILER...: each header compiles alone, twice in a row, without a warning: those
of src/ as C, those of include/ as C11 without extensions and as C++ too. The words are the compiler
and its flags. Prints the first line of what the compiler says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARNINGS = ["-Wall", "-Wextra", "-Wundef", "-Werror"]


def compile_alone(header, folder, compiler, language):
    line = f'#include "{header.relative_to(folder)}"\n'
    command = [*compiler, *language, *WARNINGS, f"-I{ROOT}/src", f"-I{ROOT}/include",
               "-fsyntax-only", "-"]  # fmt: skip
    return subprocess.run(command, input=line + line, capture_output=True, text=True)


def main():
    compiler = sys.argv[1:] or ["cc"]
    cases = [(header, ROOT / "src", ["-x", "c", "-std=gnu11"])
             for header in sorted((ROOT / "src").glob("*/*.h"))]  # fmt: skip
    for header in sorted((ROOT / "include").glob("*/*.h")):
        cases.append((header, ROOT / "include", ["-x", "c", "-std=c11", "-pedantic"]))
        cases.append((header, ROOT / "include", ["-x", "c++", "-std=c++11", "-pedantic"]))
    failed = 0
    for header, folder, language in cases:
        result = compile_alone(header, folder, compiler, language)
        if result.returncode:
            failed += 1
            errors = [line for line in result.stderr.splitlines() if "error" in line]
            print(f"{header.relative_to(ROOT)} ({language[1]}): {(errors + ['?'])[0]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
