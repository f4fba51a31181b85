# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem rss: where the memory of a program is at its peak, and over time.

Runs a program in each profile, without and with prefaulting, interleaved. While it runs, hakmem writes
its statistics every so many milliseconds (HAKMEM_STATS_EVERY), and the process's Rss is read from
outside. The parts of hakmem's own `resident` fall in a few heaps:

    live       what the program holds
    stuck      free blocks and ends of slabs that have live blocks: fragmentation
    for speed  what threads keep at hand: bins, ways, mail, warm units, BigCache, quarantine
    could go   free memory that malloc_trim would give back: pool, idle slabs, cached huge blocks
    records    hakmem's own

and what is left of Rss is the program's own: code, stacks, libraries.
"""

import json
import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lab import cli, places, results, rounds, run, runs

ABOUT = """\
Runs PROGRAM in each profile, without and with prefaulting, and tells where its memory is at the
peak: what it holds, what is stuck, kept for speed, could go. Writes a page with a picture over
time."""
HEAPS = {
    "live": ("live",),
    "stuck": ("free_blocks", "tails"),
    "for speed": ("bins", "ways", "mail", "quarantine", "warm", "bigcache"),
    "could go": ("idle", "huge_cached", "dirty", "lazy", "prefaulted"),
    "records": ("metadata",),
}
PARTS = [part for parts in HEAPS.values() for part in parts]
COLUMNS = ["arm", "repetition", "pid", "time_s", "rss_kib", "resident", *PARTS]
EVERY_MS = 20
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
UNSEEN = 0.03  # of the peak: how much a sample may miss without a word


class Arm(NamedTuple):
    profile: str
    prefault: str  # or ""

    def name(self):
        return f"{self.profile}, prefaulted" if self.prefault else self.profile

    def env(self):
        return {"HAKMEM_PROFILE": self.profile, "HAKMEM_SS_PREFAULT": self.prefault or "OFF"}


class Sample(NamedTuple):
    """time_s: since the first one. rss_kib: what was read from outside, nearest in time; None when
    nothing was. heaps: {name: KiB}."""

    time_s: float
    rss_kib: int
    resident_kib: float
    heaps: dict
    parts: dict

    def own_kib(self):
        """What is not hakmem's; None when it can't be told: hakmem counts more than there is."""
        if self.rss_kib is None or self.rss_kib < self.resident_kib:
            return None
        return self.rss_kib - self.resident_kib


class Measured(NamedTuple):
    """One run: its samples in order, and VmHWM."""

    pid: int
    samples: list
    peak_kib: int

    def at_peak(self):
        return max(self.samples, key=lambda sample: sample.resident_kib)


# ---- Sampling -----------------------------------------------------------------------------------

def _read(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:  # it has ended
        return ""


def _peak(status):
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


class Watcher:
    """Called while a program runs: Rss over time of it and of its children, and each one's VmHWM.
    Times are the monotonic clock's, as in hakmem's reports."""

    def __init__(self):
        self.rss = {}  # pid: [(seconds, KiB)]
        self.peaks = {}

    def __call__(self, pid):
        fields = _read(f"/proc/{pid}/statm").split()
        if len(fields) > 1 and int(fields[1]) > 0:  # 0: it is about to end
            self.rss.setdefault(pid, []).append((time.monotonic(), int(fields[1]) * PAGE_KIB))
            self.peaks[pid] = _peak(_read(f"/proc/{pid}/status")) or self.peaks.get(pid, 0)
        for child in _read(f"/proc/{pid}/task/{pid}/children").split():
            self(int(child))

    def near(self, pid, at, within):
        """Rss at about that time, or None."""
        found = self.rss.get(pid)
        if not found:
            return None
        when, kib = min(found, key=lambda sample: abs(sample[0] - at))
        return kib if abs(when - at) <= within else None


def read_reports(folder):
    """{pid: [report]}, each in order of time."""
    found = {}
    for path in Path(folder).glob("*.json"):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # the process ended while it wrote
            continue
        found.setdefault(report["pid"], []).append(report)
    for reports in found.values():
        reports.sort(key=lambda report: report["time_ns"])
    return found


def samples_of(reports, watcher, every_ms):
    start = reports[0]["time_ns"]
    found = []
    for report in reports:
        parts = {part: report[part] / 1024 for part in PARTS}
        heaps = {name: sum(parts[part] for part in heap) for name, heap in HEAPS.items()}
        rss = watcher.near(report["pid"], report["time_ns"] / 1e9, 2 * every_ms / 1000)
        found.append(Sample((report["time_ns"] - start) / 1e9, rss, report["resident"] / 1024, heaps,
                            parts))
    return found


def measure(command, arm, library, every_ms):
    """(Measured of the process that held most, or None; Finished)."""
    watcher = Watcher()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)  # a program may change its user
        env = {**arm.env(), "LD_PRELOAD": library, "HAKMEM_STATS": f"{folder}/%p-%n.json",
               "HAKMEM_STATS_EVERY": str(every_ms)}
        done = runs.execute(command, env, watch=watcher)
        reports = read_reports(folder)
    if not reports:
        return None, done
    pid = max(reports, key=lambda p: max(report["resident"] for report in reports[p]))
    samples = samples_of(reports[pid], watcher, every_ms)
    return Measured(pid, samples, watcher.peaks.get(pid, 0)), done


# ---- Table --------------------------------------------------------------------------------------

def figures(measured):
    """{column: KiB or None} of the runs of an arm: medians, at the peak."""
    peaks = [one.at_peak() for one in measured]
    found = {"peak": rounds.median([one.peak_kib for one in measured if one.peak_kib]),
             "own": rounds.median([peak.own_kib() for peak in peaks if peak.own_kib() is not None])}
    for name in HEAPS:
        found[name] = rounds.median([peak.heaps[name] for peak in peaks])
    return found


def mib(kib):
    return "–" if kib is None else f"{kib / 1024:.1f}"


def missed(measured):
    """The largest share of a peak that no sample has seen."""
    shares = [1 - max(s.rss_kib or 0 for s in one.samples) / one.peak_kib
              for one in measured if one.peak_kib]
    return max(shares, default=1)


def table(found):
    head = ["", "peak RSS", "own", *HEAPS]
    lines = []
    for arm, measured in found.items():
        if measured:
            row = figures(measured)
            lines.append([arm.name(), *(mib(row[name]) for name in ("peak", "own", *HEAPS))])
        else:
            lines.append([arm.name(), *["–"] * (len(head) - 1)])
    return head, lines


EXPLAINED = """\
MiB, medians. Peak RSS is the kernel's (VmHWM); the rest is of the moment when hakmem had most:
live: what the program holds; stuck: free blocks and ends of slabs with live blocks; for speed: what
threads keep at hand; could go: what malloc_trim gives back; records: hakmem's own; own: the
program's code, stacks and libraries. A block counts whole, written to or not; where the program has
not written to much that it holds, own can't be told (–)."""


# ---- The command --------------------------------------------------------------------------------

def _parser():
    parser = cli.parser("rss", ABOUT)
    parser.add_argument("-n", type=int, default=3, metavar="N", help="runs in each way (3)")
    parser.add_argument("--every", type=int, default=EVERY_MS, metavar="MS",
                        help=f"milliseconds between two samples ({EVERY_MS})")
    parser.add_argument("--profiles", default="speed,balanced,lean", metavar="P,…",
                        help="speed,balanced,lean; also hardened")
    parser.add_argument("--prefault", default="POPULATE", choices=["POPULATE", "TOUCH", "OFF"],
                        help="how new memory is faulted in ahead (POPULATE); OFF: no such runs")
    parser.add_argument("--out", metavar="DIR", help="where the results go")
    parser.add_argument("program", nargs="+", metavar="PROGRAM", help="and its arguments, behind --")
    return parser


def arms_of(options):
    profiles = options.profiles.split(",")
    for profile in profiles:
        if profile not in run.PROFILES:
            cli.fail(f"there is no profile '{profile}': {', '.join(run.PROFILES)}")
    prefault = "" if options.prefault == "OFF" else options.prefault
    return [Arm(profile, how) for profile in profiles for how in ("", prefault) if how == prefault
            or not how]


def write_rows(writer, arm, repetition, measured):
    for sample in measured.samples:
        writer.row(arm=arm.name(), repetition=repetition, pid=measured.pid,
                   time_s=f"{sample.time_s:.3f}",
                   rss_kib="" if sample.rss_kib is None else sample.rss_kib,
                   resident=f"{sample.resident_kib:.0f}",
                   **{part: f"{kib:.0f}" for part, kib in sample.parts.items()})


def measure_all(options, arms, library, folder):
    """({Arm: [Measured]}, whether all went well)."""
    found, whole = {arm: [] for arm in arms}, True
    progress = cli.Progress(options.n * len(arms))
    facts = {**rounds.facts("rss", []), "program": shlex.join(options.program),
             "every_ms": options.every}
    with results.Writer(folder / "rss.csv", facts, COLUMNS) as writer:
        for repetition in range(options.n):
            for number, arm in enumerate(rounds.rotated(arms, repetition)):
                progress.show(repetition * len(arms) + number, arm.name())
                measured, done = measure(options.program, arm, library, options.every)
                if done.status != "ok" or measured is None:
                    progress.clear()
                    said = done.errors.strip().splitlines()[-1:] or [""]
                    cli.note(f"{arm.name()}: {done.status}" if done.status != "ok" else
                             f"{arm.name()}: hakmem has written no report: {said[0]}")
                    whole = False
                if measured:
                    found[arm].append(measured)
                    write_rows(writer, arm, repetition, measured)
    progress.clear()
    return found, whole


def main(argv):
    options = _parser().parse_args(argv)
    if options.n < 1 or not 1 <= options.every <= 3600000:
        cli.fail("-n and --every are numbers from 1 on")
    arms = list(dict.fromkeys(arms_of(options)))
    library = str(places.library())
    program = run.find(options.program[0], os.environ.get("PATH", os.defpath))
    run.check(program, library, os.environ)
    folder = rounds.directory("rss", options.out)
    found, whole = measure_all(options, arms, library, folder)
    rounds.show(*table(found), left=1)
    print("\n" + EXPLAINED)
    if any(missed(measured) > UNSEEN for measured in found.values() if measured):
        print("A peak was higher than every sample: smaller --every may see it.")
    print(f"\nEvery sample: {places.shown(folder / 'rss.csv')}")
    if any(found.values()):
        from lab import rss_page  # needs jinja2

        page = rss_page.write(folder, options.program, found)
        print(f"Picture: {places.shown(page)}")
    return 0 if whole else 1
