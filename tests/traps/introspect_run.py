#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""malloc_info and malloc_stats, of a program that says what it holds: well-formed, and true.

    introspect_run.py PROGRAM --preload libhakmem.so
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from xml.etree import ElementTree

PERCENT = 5


def near(got, want):
    return abs(got - want) <= want * PERCENT / 100


def size_of(part, element, kind):
    """The size of the one element of that kind directly in a part of the document."""
    found = [e for e in part.findall(element) if e.get("type") == kind]
    assert len(found) == 1, (element, kind)
    return int(found[0].get("size"))


def check_info(text, live):
    root = ElementTree.fromstring(text)
    assert root.tag == "malloc" and root.get("version") == "1"
    assert [child.tag for child in root].count("heap") == 1
    for part in (root, root.find("heap")):
        in_use = size_of(part, "system", "current") - size_of(part, "total", "rest") \
            - size_of(part, "total", "fast")
        mapped = size_of(root, "total", "mmap")
        assert near(in_use + mapped, live), (in_use, mapped, live)
        assert size_of(part, "aspace", "total") == size_of(part, "system", "current")


def check_stats(text, live):
    total = text[text.index("Total (incl. mmap):"):]
    in_use = int(re.search(r"in use bytes += +(\d+)", total)[1])
    system = int(re.search(r"system bytes += +(\d+)", total)[1])
    assert near(in_use, live) and system >= in_use, (in_use, system, live)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--preload", required=True)
    arguments = parser.parse_args()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
        done = subprocess.run([arguments.program, "info", file.name], check=True, text=True,
                              capture_output=True,
                              env={**os.environ, "LD_PRELOAD": arguments.preload})
        live = int(done.stdout)
        check_info(file.read(), live)
        check_stats(done.stderr, live)
    return 0


if __name__ == "__main__":
    sys.exit(main())
