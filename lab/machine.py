# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What a figure means without the machine's name: CPU, kernel, libc, commit, flags; and how much
of the machine others used while something was measured."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from lab import places


def _read(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu():
    models = re.findall(r"^(?:model name|CPU part)\s*: (.*)$", _read("/proc/cpuinfo"), re.M)
    return f"{os.cpu_count()} x {models[0] if models else os.uname().machine}"


def _memory_gib():
    kib = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.M)
    return f"{int(kib[1]) / 2**20:.0f} GiB" if kib else "unknown"


def _commit():
    """Short hash, with + behind it when the tree has changes; empty outside of a checkout."""
    if not places.IN_CHECKOUT:
        return ""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+", "--exclude=*"],
                              cwd=places.ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _flags():
    """Flavour and compiler flags of the build tree."""
    cache = dict(re.findall(r"^(CMAKE_BUILD_TYPE|CMAKE_C_COMPILER|EXTRA_CFLAGS|CMAKE_C_FLAGS_\w+)"
                            r":\w+=(.*)$", _read(places.build_dir() / "CMakeCache.txt"), re.M))
    if not cache:
        return ""
    kind = cache.get("CMAKE_BUILD_TYPE", "")
    words = [places.build_dir().name, Path(cache.get("CMAKE_C_COMPILER", "cc")).name,
             cache.get(f"CMAKE_C_FLAGS_{kind.upper()}", ""), cache.get("EXTRA_CFLAGS", "")]
    return " ".join(word for word in words if word)


def command_line():
    """The command as a user would type it at the root of the checkout."""
    words = [re.sub(rf"^{re.escape(str(places.ROOT))}/", "", word) for word in sys.argv[1:]]
    return shlex.join(["hakmem", *words])


def facts(kind):
    """The head of a results file (lab/results.py)."""
    kernel = os.uname()
    return {
        "kind": kind,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _cpu(),
        "memory": _memory_gib(),
        "kernel": f"{kernel.sysname} {kernel.release.split('-')[0]} {kernel.machine}",
        "libc": os.confstr("CS_GNU_LIBC_VERSION") or "unknown",
        "commit": _commit(),
        "flags": _flags(),
        "command": command_line(),
    }


class Load:
    """CPU seconds since the start, from /proc/stat: what others took while we measured, on some
    CPUs or the whole machine. Steal is what the hypervisor gave to other machines. The kernel
    counts in ticks, so each figure is off by up to NOISE_S."""

    NOISE_S = 0.03

    def __init__(self, cpus=None):
        self.cpus = cpus
        self.wall = time.monotonic()
        self.busy, self.steal = self._now()

    def _now(self):
        tick = os.sysconf("SC_CLK_TCK")
        names = {"cpu"} if self.cpus is None else {f"cpu{n}" for n in self.cpus}
        busy = stolen = 0
        for line in _read("/proc/stat").splitlines():
            name, *fields = line.split()
            if name in names:
                user, nice, system, _, _, irq, softirq, steal = [int(x) for x in fields[:8]]
                busy += user + nice + system + irq + softirq
                stolen += steal
        return busy / tick, stolen / tick

    def since(self, own_cpu_s):
        """(percent of one CPU stolen, percent of one CPU used by others), when we used own_cpu_s."""
        wall = max(time.monotonic() - self.wall, 1e-9)
        busy, steal = self._now()
        foreign = max(busy - self.busy - own_cpu_s, 0)
        return 100 * (steal - self.steal) / wall, 100 * foreign / wall
