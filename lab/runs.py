# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""One measured run of a program: where it runs, what it sees, what it cost, and whether others
disturbed it."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from typing import NamedTuple

from lab import machine

DISTURBED_PERCENT = 4  # of the CPUs in use: what others may take before a run counts as disturbed
TIMEOUT_S = 600
WATCH_S = 0.01

RESULT = re.compile(r"^Throughput = \d+ ops/s .*\bops=(\d+) .*\btime=([\d.]+)s cpu=([\d.]+)s "
                    r"vmhwm=(\d+)KiB malloc=(\S+)$", re.M)


class Run(NamedTuple):
    """status: ok, exit N, signal N, timeout, or no result. Figures are None when not known.
    wall_s and cpu_s are those of the operations alone, as the program timed them."""

    status: str
    ops: int = None
    ops_per_s: float = None
    ops_per_cpu_s: float = None
    wall_s: float = None
    cpu_s: float = None
    peak_kib: int = None
    steal_percent: float = None
    foreign_percent: float = None
    disturbed: bool = False
    malloc: str = ""  # the file that malloc came from
    output: str = ""
    errors: str = ""

    def figures(self):
        """The columns of a results file, by name."""
        def short(value, digits):
            return "" if value is None else f"{value:.{digits}f}"

        return {
            "status": self.status,
            "ops": "" if self.ops is None else self.ops,
            "ops_per_s": short(self.ops_per_s, 0),
            "ops_per_cpu_s": short(self.ops_per_cpu_s, 0),
            "wall_s": short(self.wall_s, 6),
            "cpu_s": short(self.cpu_s, 6),
            "peak_kib": "" if self.peak_kib is None else self.peak_kib,
            "steal_percent": short(self.steal_percent, 1),
            "foreign_percent": short(self.foreign_percent, 1),
            "disturbed": int(self.disturbed),
        }


class Finished(NamedTuple):
    """What a program that has ended leaves behind."""

    status: str
    output: str
    errors: str


def clean_environment(env=None):
    """Our environment without what steers an allocator, and with what this run sets."""
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("HAKMEM_", "BENCH_", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "TBB_"))
            and k not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    return {**kept, **(env or {})}


def allowed_cpus():
    return sorted(os.sched_getaffinity(0))


def pick_cpu(seconds=0.3):
    """The least busy of the CPUs that we may use; the last one if they are alike."""
    loads = {cpu: machine.Load([cpu]) for cpu in allowed_cpus()}
    if len(loads) == 1:
        return next(iter(loads))
    time.sleep(seconds)
    busy = {cpu: round(sum(load.since(0)) / 10) for cpu, load in loads.items()}
    return min(busy, key=lambda cpu: (busy[cpu], -cpu))


def _status(code):
    if code < 0:
        return f"signal {-code}"
    return f"exit {code}" if code else "ok"


def end_group(process):
    """The process, and whatever it left behind in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _communicate(process, timeout, watch):
    deadline = time.monotonic() + timeout
    while watch and process.poll() is None and time.monotonic() < deadline:
        watch(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=WATCH_S)
    return process.communicate(timeout=max(deadline - time.monotonic(), 0.01))


def execute(command, env=None, cpu=None, timeout=TIMEOUT_S, watch=None, **options):
    """Runs a command to its end, in a session of its own that never outlives it: Finished. env is
    set on top of clean_environment(); cpu: the one that it is pinned to, or None; watch(pid) is
    called every WATCH_S."""
    def pin():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    process = subprocess.Popen(
        [str(word) for word in command], env=clean_environment(env), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        start_new_session=True, preexec_fn=pin, **options)
    try:
        output, errors = _communicate(process, timeout, watch)
        status = _status(process.returncode)
    except subprocess.TimeoutExpired:
        end_group(process)
        output, errors = process.communicate()
        status = "timeout"
    finally:
        end_group(process)
    return Finished(status, output, errors)


def own_cpu_s():
    """CPU time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def is_disturbed(steal_percent, foreign_percent, cpus, seconds, waited_s=None):
    """Whether others took too much of `cpus` CPUs. Percents are of one CPU, over `seconds`;
    /proc/stat counts in ticks, and what could be their rounding is not held against a run.
    waited_s, where known, has no such limit: time in which a busy thread did not run."""
    taken = steal_percent + foreign_percent
    noise = 100 * machine.Load.NOISE_S / max(seconds, 1e-9)
    if taken > cpus * max(DISTURBED_PERCENT, noise):
        return True
    return waited_s is not None and waited_s > max(seconds * DISTURBED_PERCENT / 100, 0.002)


class Meter:
    """Foreign CPU time from here on, on the CPUs that a run uses: one, or all that are allowed."""

    def __init__(self, cpu, load=machine.Load):
        self.cpus = allowed_cpus() if cpu is None else [cpu]
        self.own = own_cpu_s()
        self.start = time.monotonic()
        self.load = load(self.cpus)

    def since(self, waited_s=None):
        """(steal_percent, foreign_percent, disturbed)."""
        steal, foreign = self.load.since(own_cpu_s() - self.own)
        seconds = time.monotonic() - self.start
        return steal, foreign, is_disturbed(steal, foreign, len(self.cpus), seconds, waited_s)


def run(command, env=None, cpu=None, timeout=TIMEOUT_S, load=machine.Load):
    """One Run of a program of bench/, pinned to a CPU or, with None, free on all that we may use.
    env is set on top of clean_environment()."""
    meter = Meter(cpu, load)
    done = execute(command, env, cpu, timeout)
    found = RESULT.search(done.output)
    if done.status != "ok" or not found:
        steal, foreign, disturbed = meter.since()
        status = "no result" if done.status == "ok" else done.status
        return Run(status, steal_percent=steal, foreign_percent=foreign, disturbed=disturbed,
                   output=done.output, errors=done.errors)
    ops, wall, cpu_s = int(found[1]), max(float(found[2]), 1e-6), max(float(found[3]), 1e-6)
    # A single thread on one CPU never waits for anything but that CPU.
    waited = None if cpu is None else wall - cpu_s
    steal, foreign, disturbed = meter.since(waited)
    return Run("ok", ops, ops / wall, ops / cpu_s, wall, cpu_s, int(found[4]), steal, foreign,
               disturbed, found[5], done.output, done.errors)
