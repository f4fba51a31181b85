#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Writes docs/options.md, and the values in docs/man/hakmem.7, from src/base/options.def; with --check,
only says whether it is so already."""

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src" / "base" / "options.def"
PAGE = ROOT / "docs" / "options.md"
MAN = ROOT / "docs" / "man" / "hakmem.7"
ROW = re.compile(r"^HK_OPTION(_WORDS|_LEGACY|)\((.*)\)$", re.M)
PROFILES = ["speed", "balanced", "lean", "hardened"]
HEAD = """# Options

Written by tools/options_doc.py from src/base/options.def: change it there.

An option is an environment variable, and a name for `hak_option_set` and `hak_option_get` (with or
without `HAKMEM_`). The profile gives every option a value; a variable overrules it. Bytes may be
written with K, M or G (also KiB, MiB, GiB); words in upper or lower case. A bad value is named in one
line on stderr, and the default stays. In setuid programs every variable is ignored.

| variable | values | speed | balanced | lean | hardened | what |
|---|---|---|---|---|---|---|
"""
LEGACY = """
Variables of an earlier system, known and without effect (said so under `HAKMEM_VERBOSE=1`):

"""


def read_table():
    options, words, legacy = [], {}, []
    for kind, arguments in ROW.findall(TABLE.read_text()):
        fields = next(csv.reader([arguments], skipinitialspace=True))
        if kind == "_WORDS":
            words[fields[0]] = fields[1:]
        elif kind == "_LEGACY":
            legacy.append(fields[0])
        else:
            options.append(fields)
    return options, words, legacy


def show_bytes(text):
    number = int(text)
    for suffix, shift in (("G", 30), ("M", 20), ("K", 10)):
        if number and number % (1 << shift) == 0:
            return f"{number >> shift}{suffix}"
    return text


def show_value(kind, text, words):
    if kind == "ENUM":
        return words[int(text)]
    return show_bytes(text) if kind == "BYTES" else text


def show_range(kind, low, high, words):
    if kind == "ENUM":
        return ", ".join(words)
    if kind == "TEXT":
        return "text"
    if kind == "BOOL":
        return "0, 1"
    return f"{show_value(kind, low, words)} to {show_value(kind, high, words)}"


def render():
    options, words, legacy = read_table()
    lines = []
    for name, kind, low, high, *columns, sentence in options:
        own = words.get(name, [])
        cells = [show_value(kind, column, own) for column in columns]
        assert len(cells) == len(PROFILES), name
        cells = [f"`HAKMEM_{name}`", show_range(kind, low, high, own), *cells, sentence]
        lines.append("| " + " | ".join(cells) + " |\n")
    names = "".join(f"- `HAKMEM_{name}`\n" for name in legacy)
    return HEAD + "".join(lines) + LEGACY + names


def man_default(columns):
    if len(set(columns)) == 1:
        return columns[0]
    return ", ".join(f"{column} in {profile}" for column, profile in zip(columns, PROFILES, strict=True))


def render_man():
    """The page as it is, with each option's values and defaults from the table."""
    text = MAN.read_text()
    options, words, _ = read_table()
    for name, kind, low, high, *columns, _ in options:
        own = words.get(name, [])
        start = text.find(f".It Ev HAKMEM_{name}\n")
        if start < 0:
            sys.exit(f"docs/man/hakmem.7 has no HAKMEM_{name}")
        end = min(i for i in (text.find("\n.It ", start), text.find("\n.El", start)) if i > 0)
        entry = text[start:end]
        shown = [show_value(kind, column, own) for column in columns]
        if name != "PROFILE":  # which is the default is a constant of the build
            entry = re.sub(r"(?m)^Default: .*$", f"Default: {man_default(shown)}.", entry)
        if kind not in ("ENUM", "TEXT"):
            entry = re.sub(r"(?m)^Values: .*$", f"Values: {show_range(kind, low, high, own)}.", entry)
        text = text[:start] + entry + text[end:]
    return text


def main():
    wanted = {PAGE: render(), MAN: render_man()}
    bad = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in bad:
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is not what tools/options_doc.py writes: run it")
        else:
            path.write_text(wanted[path])
    return int("--check" in sys.argv and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
