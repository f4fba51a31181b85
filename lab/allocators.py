# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The allocators that can be measured: a name, the library to preload, and what it needs."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from lab import cli, places

# Debian's packages: name, file, package. Of TBB, the proxy is the half that has the name malloc.
PEERS = [
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    ("tbb", "libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
]
PROFILES = ["speed", "lean"]
# Google's tcmalloc wants restartable sequences for itself.
GOOGLE = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}


class Allocator(NamedTuple):
    """library: what is preloaded; None: glibc's own malloc. environment: what else it needs."""

    name: str
    library: Path = None
    environment: dict = {}
    version: str = ""

    def env(self):
        """The environment that puts a program on this allocator."""
        preload = {"LD_PRELOAD": str(self.library)} if self.library else {}
        return {**preload, **self.environment}

    def served(self, malloc):
        """Whether `malloc`, the file that a program found malloc in, is this allocator's."""
        if not self.library:
            return malloc.startswith(("libc.so", "libc-"))
        return malloc in (self.library.name, os.path.realpath(self.library).rsplit("/", 1)[-1])

    def described(self):
        """As in the facts of a results file: name=file version."""
        return f"{self.name}={self.library.name if self.library else 'libc'} {self.version}"


def package_version(package):
    try:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], check=False,
                              capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def hakmem_version():
    header = places.ROOT / "include" / "hakmem" / "hakmem.h"
    try:
        parts = re.findall(r"HAKMEM_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)",
                           header.read_text(encoding="utf-8"))
    except OSError:
        parts = []
    return ".".join(parts) or "unknown"


def file_version(path):
    """What a file's name says: libmimalloc.so.2.1 is 2.1; else the day it was made."""
    target = os.path.realpath(path)
    found = re.search(r"\.so\.([\d.]+)$", target)
    if found:
        return found[1]
    owner = _owner(target)
    return package_version(owner) if owner else f"of {_day(target)}"


def _owner(path):
    try:
        done = subprocess.run(["dpkg-query", "-S", path], check=False, capture_output=True,
                              text=True)
    except OSError:
        return ""
    return done.stdout.split(":")[0] if done.returncode == 0 else ""


def _day(path):
    return time.strftime("%Y-%m-%d", time.gmtime(os.stat(path).st_mtime))


def installed(file):
    """A library of the system, by the name of its file; None if it is not there."""
    folders = [*Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"),
               Path("/usr/local/lib")]
    return next((folder / file for folder in folders if (folder / file).exists()), None)


def from_words(words):
    """An allocator of --preload: name=/path/to.so[,VARIABLE=VALUE]…"""
    name, equals, rest = words.partition("=")
    text, *variables = rest.split(",")
    if not equals or not re.fullmatch(r"[A-Za-z0-9_.+-]+", name) or not text:
        cli.fail(f"--preload takes NAME=/path/to.so[,VARIABLE=VALUE]…, not '{words}'")
    path = Path(text)
    if not path.exists() and (places.ROOT / text).exists():
        path = places.ROOT / text
    if not path.is_file():
        cli.fail(f"--preload {name}: there is no file {text}")
    with open(path, "rb") as file:
        head = file.read(18)
    if head[:4] != b"\x7fELF" or head[16:18] not in (b"\x03\0", b"\0\x03"):
        cli.fail(f"--preload {name}: {text} is not a shared library")
    environment = dict(GOOGLE) if name == "tcmalloc-google" else {}
    for variable in variables:
        key, equals, value = variable.partition("=")
        if not equals or not key:
            cli.fail(f"--preload {name}: '{variable}' is not VARIABLE=VALUE")
        environment[key] = value
    # The loader splits LD_PRELOAD at spaces and colons.
    path = path.absolute()
    if re.search(r"[\s:]", str(path)):
        cli.fail(f"--preload {name}: the loader takes no path with a space or a colon: {path}")
    return Allocator(name, path, environment, file_version(path))


def hakmem(profile=None):
    """hakmem, as it comes or under a profile."""
    environment = {"HAKMEM_PROFILE": profile} if profile else {}
    name = f"hakmem-{profile}" if profile else "hakmem"
    return Allocator(name, places.library().absolute(), environment, hakmem_version())


def glibc():
    version = (os.confstr("CS_GNU_LIBC_VERSION") or "unknown").split()[-1]
    return Allocator("glibc", version=package_version("libc6") or version)


def choose(names=None, preloads=(), profiles=False):
    """The allocators to measure, glibc first: those of `names`, or all that are there. Debian's
    that are not installed are named."""
    given = {a.name: a for a in map(from_words, preloads)}
    known = ["glibc", "hakmem", *(f"hakmem-{p}" for p in PROFILES), *(p[0] for p in PEERS)]
    wanted = list(names) if names else [n for n in known
                                        if profiles or not n.startswith("hakmem-")] + list(given)
    found = []
    for name in dict.fromkeys(wanted):
        if name in given:
            found.append(given[name])
        elif name == "glibc":
            found.append(glibc())
        elif name == "hakmem" or name in known and name.startswith("hakmem-"):
            found.append(hakmem(name.partition("-")[2] or None))
        elif name in known:
            file, package = next(p[1:] for p in PEERS if p[0] == name)
            path = installed(file)
            if path:
                found.append(Allocator(name, path, version=package_version(package)
                                       or file_version(path)))
            elif names:
                cli.fail(f"{name} is not installed: apt-get install {package}", 1)
            else:
                cli.note(f"{name} is not installed (apt-get install {package}): left out")
        else:
            cli.fail(f"there is no allocator '{name}': {', '.join(known)}, "
                     "or another by --preload NAME=/path/to.so")
    return sorted(found, key=lambda a: a.name != "glibc")
