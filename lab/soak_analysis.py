# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Whether a soak held: drift of RSS and throughput, and how even the throughput was.

    RSS drift          within ±5 %
    throughput drift   not below -5 %
    variation          coefficient of variation of the throughput up to 2 %; up to 1 % is good

Drift is the change over the whole run by Theil and Sen, in percent of the median. The unit is an
epoch; of a soak by many processes it is a process, with its RSS at the end and the median
throughput of its epochs. The verdict goes by wall time; what the same figures are by CPU time tells
whether the machine was shared. Outliers (beyond 3 scaled median deviations) count like all others;
their share is told, since foreign load shows as such.
"""

import math
from pathlib import Path
from typing import NamedTuple

from lab import cli, results, stats

RSS_DRIFT = 5.0
OPS_DRIFT = -5.0
VARIATION = 2.0
VARIATION_GOOD = 1.0
WARM_UP_S = 60
WARM_UP_SHARE = 0.05
FEW = 10  # epochs of a process below which none is left out as warm-up, and a verdict says little
MAD_SCALE = 1.4826  # makes a median deviation of normal noise its standard deviation
OUTLIER = 3
NEEDED = ["process", "time_s", "wall_s", "ops_per_s", "ops_per_cpu_s", "rss_kib"]


class Series(NamedTuple):
    """What is judged, one value an epoch or a process."""

    unit: str
    time_s: list
    ops_per_s: list
    ops_per_cpu_s: list
    rss_kib: list
    epochs: int
    warm_up: int  # epochs left out


class Speed(NamedTuple):
    """Throughput by wall or CPU time."""

    median: float
    drift: float
    variation: float
    outliers: float  # percent of the values
    variation_inside: float  # without the outliers


class Verdict(NamedTuple):
    """The figures, and which of them fail."""

    rss_first: float
    rss_last: float
    rss_drift: float
    wall: Speed
    cpu: Speed
    failures: list

    def passed(self):
        return not self.failures


def _bad(path, why):
    raise results.Damaged(f"{path}: {why}")


def load(path):
    """The rows of a soak, as {column: float}, and its facts."""
    path = Path(path)
    if path.is_dir():
        path = path / "epochs.csv"
    table = results.read(path)
    if table.facts.get("kind") != "soak":
        _bad(path, f"results of the kind '{table.facts.get('kind')}', not of a soak")
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        _bad(path, f"no column {missing[0]}")
    rows = []
    for number, row in enumerate(table.rows, 1):
        try:
            rows.append({name: float(row[name]) for name in NEEDED})
        except ValueError:
            _bad(path, f"row {number} has a field that is not a number")
        if not all(math.isfinite(x) and x > 0 for x in rows[-1].values()):
            _bad(path, f"row {number} has a value that is not above 0")
    if len(rows) < 2:
        _bad(path, f"{len(rows)} epochs: there must be two or more")
    return rows, table.facts


def _processes(rows):
    found = {}
    for row in rows:
        found.setdefault(row["process"], []).append(row)
    return list(found.values())


def _settled(rows):
    """The epochs of one process without those that began in its first minute or its first 20th,
    whichever is shorter."""
    if len(rows) < FEW:
        return rows
    start = rows[0]["time_s"] - rows[0]["wall_s"]
    limit = min(WARM_UP_S, WARM_UP_SHARE * (rows[-1]["time_s"] - start))
    # A hundredth of a second: epochs do not begin at whole ones
    return [row for row in rows if row["time_s"] - row["wall_s"] - start > limit - 0.01]


def series(rows, facts):
    """What is judged of a soak's rows."""
    settled = [_settled(process) for process in _processes(rows)]
    kept = [row for process in settled for row in process]
    if "process_s" not in facts or len(settled) < 2:
        units, unit, picked = [[row] for row in kept], "epoch", kept
    else:
        units, unit, picked = settled, "process", [process[-1] for process in settled]

    def medians(column):
        return [stats.percentiles([row[column] for row in rows], (50,))[0] for rows in units]

    return Series(unit, [row["time_s"] for row in picked], medians("ops_per_s"),
                  medians("ops_per_cpu_s"), [row["rss_kib"] for row in picked], len(rows),
                  len(rows) - len(kept))


def outliers(values):
    """Which values lie beyond OUTLIER scaled median deviations."""
    middle, = stats.percentiles(values, (50,))
    spread, = stats.percentiles([abs(x - middle) for x in values], (50,))
    return [abs(x - middle) > OUTLIER * MAD_SCALE * spread for x in values]


def _speed(values, times):
    far = outliers(values)
    inside = [x for x, out in zip(values, far) if not out]
    return Speed(stats.percentiles(values, (50,))[0], stats.drift(values, times),
                 stats.variation(values), 100 * sum(far) / len(far), stats.variation(inside))


def judge(found):
    """The Verdict on a Series."""
    tenth = max(len(found.rss_kib) // 10, 1)
    ends = [stats.percentiles(part, (50,))[0]
            for part in (found.rss_kib[:tenth], found.rss_kib[-tenth:])]
    rss = stats.drift(found.rss_kib, found.time_s)
    wall = _speed(found.ops_per_s, found.time_s)
    failures = []
    if abs(rss) > RSS_DRIFT:
        failures.append(f"RSS drift {rss:+.2f} %")
    if wall.drift < OPS_DRIFT:
        failures.append(f"throughput drift {wall.drift:+.2f} %")
    if wall.variation > VARIATION:
        failures.append(f"variation {wall.variation:.2f} %")
    return Verdict(*ends, rss, wall, _speed(found.ops_per_cpu_s, found.time_s), failures)


def describe(found, verdict):
    """The report, as lines."""
    def plural(number, word):
        return f"{number} {word}{'' if number == 1 else 'es' if word == 'process' else 's'}"

    count = len(found.ops_per_s)
    warm = (f"; {plural(found.warm_up, 'epoch')} of warm-up left out" if found.warm_up
            else "; none left out as warm-up")
    by = f", judged by {plural(count, 'process')}" if found.unit == "process" else ""
    lines = [f"{plural(found.epochs, 'epoch')}{warm}{by}",
             f"RSS         {verdict.rss_drift:+.2f} % drift (allowed ±{RSS_DRIFT:g} %), "
             f"{verdict.rss_first:.0f} KiB in the first tenth, {verdict.rss_last:.0f} in the last"]
    for name, speed in (("by wall", verdict.wall), ("by CPU", verdict.cpu)):
        limits = [f" (allowed {OPS_DRIFT:g} %)", f" (allowed {VARIATION:g} %)"]
        limits = limits if name == "by wall" else ["", ""]
        lines.append(
            f"{name:<11} {speed.drift:+.2f} % drift{limits[0]}, {speed.variation:.2f} % "
            f"variation{limits[1]}, median {speed.median / 1e6:.2f} M ops/s; "
            f"{speed.outliers:.1f} % outliers, variation without them "
            f"{speed.variation_inside:.2f} %")
    if count < FEW:
        lines.append(f"Note: a verdict on {plural(count, found.unit)} says little.")
    if verdict.passed():
        good = verdict.wall.variation <= VARIATION_GOOD
        lines.append("PASS" + (", variation good" if good else ""))
    else:
        lines.append("FAIL: " + ", ".join(verdict.failures))
    return lines


def judge_file(path):
    """Prints the verdict on a file or the directory of a run: 0 passed, 1 failed."""
    try:
        rows, facts = load(path)
        found = series(rows, facts)
        if len(found.ops_per_s) < 2:
            _bad(path, f"one {found.unit} to judge: there must be two or more")
    except results.Damaged as error:
        return cli.fail(str(error))
    verdict = judge(found)
    print(f"{path}: {facts.get('program', 'soak').rsplit('/', 1)[-1]}, "
          f"{facts.get('profile', 'unknown')} profile")
    for line in describe(found, verdict):
        print(f"  {line}")
    return 0 if verdict.passed() else 1


def main(argv):
    """scripts/analyze_soak.py: the worst status of its files."""
    parser = cli.parser("soak", "Judges soaks: files of the kind soak, or the directories of runs. "
                        "Exit status: 0 all passed, 1 one failed, 2 bad input.\n\n" + __doc__,
                        prog="analyze_soak.py")
    parser.add_argument("file", nargs="+", type=Path)
    status = 0
    for path in parser.parse_args(argv).file:
        try:
            status = max(status, judge_file(path))
        except cli.Failure as failure:
            cli.note(failure)
            status = cli.USAGE
    return status
