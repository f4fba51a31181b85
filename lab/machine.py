# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What a figure means without the machine's name: CPU, kernel, libc, commit, flags; and how much
of the machine others used while something was measured."""

import json
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
    """Flavour, compiler and optimisation of the build tree, as its library is compiled."""
    tree = places.build_dir()
    try:
        commands = json.loads(_read(tree / "compile_commands.json"))
    except ValueError:
        return ""
    ours = [c for c in commands if Path(c["file"]).parent.parent == places.ROOT / "src"]
    if not ours:
        return ""
    compiler, *words = shlex.split(ours[0]["command"])
    extra = re.search(r"^EXTRA_CFLAGS:\w+=(.*)$", _read(tree / "CMakeCache.txt"), re.M)
    extra = shlex.split(extra[1]) if extra else []
    version = "".join(re.findall(r'^set\(CMAKE_C_COMPILER_VERSION "(.*)"\)', "".join(
        map(_read, sorted(tree.glob("CMakeFiles/*/CMakeCCompiler.cmake")))), re.M)[:1])
    return " ".join([tree.name, Path(compiler).name, version,
                     *(w for w in words if w[:2] in ("-O", "-g", "-m") or w in extra)])


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
        """(percent of one CPU stolen, percent of one CPU used by others), less own_cpu_s."""
        wall = max(time.monotonic() - self.wall, 1e-9)
        busy, steal = self._now()
        foreign = max(busy - self.busy - own_cpu_s, 0)
        return 100 * (steal - self.steal) / wall, 100 * foreign / wall
