#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""golden.py LIBHAKMEM.SO [--update] [--objdump OBJDUMP]: counts the instructions and the conditional
branches of the hot path of malloc and free, and compares with tests/golden/fast_path.<compiler>.
<arch>.txt. A change of the table has to be in the diff of the commit that causes it, be it better or
worse. Exits with 77 (skipped) where the table is of another compiler version.

The hot path is found in the disassembly: of all ways from the entry to a `ret` that neither call nor
jump out of the function, the one that writes memory most often, and of those the shortest. In malloc
and free each slow end is a tail jump into another function, so that usually one way is left; an early
return (for NULL, say) writes nothing. Landing pads of branch protection (endbr64, bti) and padding
are not counted."""

import re
import subprocess
import sys
from pathlib import Path

FUNCTIONS = ["malloc", "free", "hak_malloc", "hak_free"]
GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*?)\s*(?:[#;]|//.*)?$")
FREE = {"endbr64", "bti", "nop", "nopw", "nopl", "hint", "data16"}
READERS = ("cmp", "test", "lea", "nop", "prefetch", "push", "bt")


class Instruction:
    def __init__(self, address, name, operands):
        self.address, self.name = address, name
        target = re.search(r"(?:^|\s|,)(?:0x)?([0-9a-f]+)\s+<", operands)
        self.target = int(target[1], 16) if target else None
        self.returns = name in ("ret", "retq")
        self.branches = bool(re.fullmatch(r"j(?!mp)\w+|b\.\w+|cbn?z|tbn?z", name))
        self.leaves = name.startswith(("call", "jmp")) or name in ("b", "bl", "br", "blr", "ud2", "brk")
        x86_store = operands.endswith(")") and not name.startswith(READERS)
        self.stores = name.startswith("st") or (x86_store and not self.leaves)
        self.counts = name not in FREE


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_functions(library, objdump):
    """{name: [Instruction, ...]}"""
    code = {}
    for line in run(objdump, "-d", "--no-show-raw-insn", "-j", ".text", library).splitlines():
        match = LINE.match(line)
        if match:
            name, operands = match[2], match[3]
            if name in ("notrack", "bnd", "lock", "rep", "repz"):
                name, _, operands = operands.partition(" ")
            code[int(match[1], 16)] = Instruction(int(match[1], 16), name, operands.strip())
    functions = {}
    for line in run("readelf", "-W", "--dyn-syms", library).splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[3] == "FUNC" and fields[7] in FUNCTIONS:
            start, size = int(fields[1], 16), int(fields[2], 0)
            functions[fields[7]] = [code[a] for a in range(start, start + size) if a in code]
    return functions


def find_paths(body):
    index = {instruction.address: i for i, instruction in enumerate(body)}
    stack = [(0, [])]
    while stack:
        at, path = stack.pop()
        if at is None or at >= len(body) or body[at] in path:
            continue
        instruction = body[at]
        path = path + [instruction]
        if instruction.returns:
            yield path
        elif instruction.branches:
            stack += [(at + 1, path), (index.get(instruction.target), path)]
        elif instruction.name in ("jmp", "b"):
            stack.append((index.get(instruction.target), path))
        elif not instruction.leaves:
            stack.append((at + 1, path))


def describe(name, body):
    def weight(path):
        return -sum(i.stores for i in path), len(path)

    paths = sorted(find_paths(body), key=weight)
    if not paths:
        return f"{name}: no way to a ret without a call"
    count = sum(i.counts for i in paths[0])
    branches = sum(i.branches for i in paths[0])
    return f"{name}: {count} instructions, {branches} conditional branches"


def identify(library):
    comment = run("readelf", "-p", ".comment", library)
    clang = re.search(r"clang version (\d+)", comment)
    gcc = re.search(r"GCC: .*? (\d+)\.\d+\.\d+\s*$", comment, re.M)
    machine = re.search(r"Machine:\s+(.*)", run("readelf", "-h", library))[1]
    arch = "aarch64" if "AArch64" in machine else "x86_64"
    return ("clang", clang[1], arch) if clang else ("gcc", gcc[1] if gcc else "?", arch)


def main():
    arguments = sys.argv[1:]
    update = "--update" in arguments
    objdump = arguments[arguments.index("--objdump") + 1] if "--objdump" in arguments else "objdump"
    library = arguments[0]
    compiler, version, arch = identify(library)
    functions = read_functions(library, objdump)
    head = f"# the hot path, by tools/golden.py: {compiler} {version}, {arch}, release"
    found = [head] + [describe(n, functions[n]) for n in FUNCTIONS if n in functions]
    golden = GOLDEN / f"fast_path.{compiler}.{arch}.txt"
    if update:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        golden.write_text("\n".join(found) + "\n")
        return 0
    expected = golden.read_text().splitlines() if golden.exists() else []
    if expected and expected[0] != head:
        print(f"{golden.name} is of another compiler: {expected[0]}")
        return 77
    for line in sorted(set(expected) - set(found)):
        print(f"{golden.name}: expected {line}")
    for line in sorted(set(found) - set(expected)):
        print(f"{golden.name}: found    {line}")
    return 0 if found == expected else 1


if __name__ == "__main__":
    sys.exit(main())
