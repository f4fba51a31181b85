# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem options: every option, its value in this environment, and where that came from.

The library is asked, in a process of its own: it reads the environment once, when it is loaded.
"""

import json
import os
import subprocess
import sys
import textwrap

from lab import cli, places, run

ASK = """
import ctypes, json, os, sys
rows = []
visitor = ctypes.CFUNCTYPE(None, *[ctypes.c_char_p] * 4, ctypes.c_void_p)
def visit(*words):
    rows.append([word.decode(errors="replace") for word in words[:4]])
ctypes.CDLL(sys.argv[1]).hak_option_each(visitor(visit), None)
os.write(1, json.dumps(rows).encode())
os._exit(0)  # no summary at exit, which HAKMEM_STATS would ask for
"""


def ask(library, profile):
    """[{name, value, source, sentence}] of the library; what it says on stderr goes there."""
    env = dict(os.environ)
    if profile:
        env["HAKMEM_PROFILE"] = profile
    done = subprocess.run([sys.executable, "-I", "-S", "-c", ASK, str(library)], env=env,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode:
        cli.fail(f"{library} does not tell its options", 1)
    rows = [dict(zip(("name", "value", "source", "sentence"), row))
            for row in json.loads(done.stdout)]
    by_name = {row["name"]: row for row in rows}
    # The library says "profile" of the default profile, too.
    chosen = any(by_name[name]["source"] != "profile"
                 for name in ("HAKMEM_PROFILE", "HAKMEM_SS_MEM_LEAN") if name in by_name)
    for row in rows:
        if row["source"] == "profile" and not chosen:
            row["source"] = "default"
    if profile and rows:
        by_name["HAKMEM_PROFILE"]["source"] = "command line"
    elif rows and by_name["HAKMEM_PROFILE"]["source"] == "profile":
        by_name["HAKMEM_PROFILE"]["source"] = "default"
    return rows


def without_effect(rows):
    """Variables of the environment that look like hakmem's and are not, or no longer. The benchmark
    programs have their own."""
    known = {row["name"] for row in rows}
    return sorted(name for name in os.environ if name.startswith("HAKMEM_")
                  and not name.startswith("HAKMEM_BENCH_") and name not in known)


def columns():
    """The width of the terminal; 100 where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else 100


def table(rows, width):
    """Aligned lines; the sentence is broken in its column, or goes below when that is narrow."""
    fields = ("name", "value", "source")
    head = {"name": "variable", "value": "value", "source": "from", "sentence": "what"}
    sizes = {field: max(len(row[field]) for row in [head, *rows]) for field in fields}
    indent = sum(sizes.values()) + 2 * len(sizes)
    for row in [head, *rows]:
        line = "".join(f"{row[field]:<{sizes[field]}}  " for field in fields)
        if width - indent >= 20:
            first, *more = textwrap.wrap(row["sentence"], width - indent)
            yield line + first
            yield from (" " * indent + text for text in more)
        else:
            yield line.rstrip()
            if row is not head:
                yield from textwrap.wrap(row["sentence"], max(width, 20), initial_indent="    ",
                                         subsequent_indent="    ")


def main(argv):
    parser = cli.parser("options", "Lists hakmem's options as this environment sets them.")
    parser.add_argument("--profile", choices=run.PROFILES, help="as if HAKMEM_PROFILE were this")
    parser.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args(argv)
    rows = ask(places.library(), args.profile)
    lost = without_effect(rows)
    if args.json:
        print(json.dumps({"options": rows, "without_effect": lost}, indent=1))
        return 0
    if not rows:
        print("This build of hakmem has no options (minimal).")
        return 0
    print("\n".join(table(rows, columns())))
    if lost:
        print(f"\nSet, and without effect: {', '.join(lost)}")
    return 0
