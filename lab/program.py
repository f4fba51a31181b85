# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What the real programs of `hakmem bench --programs` are made of (lab/program_table.py)."""

import glob
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, NamedTuple

from lab import runs

POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
PATH = ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", *POSTGRES])
HELPER_TIMEOUT_S = 300


class Program(NamedTuple):
    """prepare(folder) is called once, run(session) for every run."""

    name: str
    needs: tuple
    run: Callable
    prepare: Callable = lambda folder: None

    def missing(self):
        """The programs it needs that are not there."""
        return [word for word in self.needs if not shutil.which(word, path=PATH)]


def command(*words, stdin="", cwd=None, **options):
    """A helper on glibc: what it prints; an exception if it fails."""
    done = subprocess.run([str(word) for word in words], input=stdin, cwd=cwd, check=False,
                          text=True, capture_output=True, timeout=HELPER_TIMEOUT_S,
                          env=runs.clean_environment({"PATH": PATH, "LC_ALL": "C"}), **options)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
