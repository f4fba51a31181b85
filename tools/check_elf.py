#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""check_elf.py LIBRARY [READELF]: what the loader and an attacker see of libhakmem.so. Everything is bound
at once and read-only afterwards (full RELRO), no stack and no segment is writable and executable, no code
is relocated, the library is never unloaded, needs libc alone, and has little static TLS."""

import re
import subprocess
import sys

TLS_MAX = 64


def find_faults(text):
    if not re.search(r"^\s+GNU_RELRO\s", text, re.M):
        yield "no GNU_RELRO"
    if not re.search(r"\(FLAGS\).*BIND_NOW", text) and not re.search(r"\(FLAGS_1\).*NOW", text):
        yield "not bound at load time (BIND_NOW)"
    stack = re.search(r"^\s+GNU_STACK\s.*", text, re.M)
    if not stack or re.search(r"\sRWE\s", stack[0]):
        yield "an executable stack"
    for load in re.findall(r"^\s+LOAD\s.*", text, re.M):
        if re.search(r"\sRWE\s", load):
            yield f"a segment that is writable and executable:{load}"
    if "TEXTREL" in text:
        yield "relocations in the code (TEXTREL)"
    if not re.search(r"\(FLAGS_1\).*NODELETE", text):
        yield "may be unloaded (no NODELETE)"
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
    if [name for name in needed if not re.match(r"(libc|ld-linux\S*)\.so", name)]:
        yield f"needs {needed}"
    tls = re.search(r"^\s+TLS\s+(?:0x\w+\s+){4}(0x\w+)", text, re.M)
    if not tls or int(tls[1], 16) > TLS_MAX:
        yield f"static TLS of {tls[1] if tls else 'no'} bytes, not at most {TLS_MAX}"
    if re.search(r"\((RPATH|RUNPATH)\)", text):
        yield "a path of its own for libraries"


def main():
    readelf = sys.argv[2] if len(sys.argv) > 2 else "readelf"
    text = subprocess.run([readelf, "-lWd", sys.argv[1]], check=True, capture_output=True,
                          text=True).stdout  # fmt: skip
    faults = list(find_faults(text))
    for fault in faults:
        print(f"{sys.argv[1]}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
