# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Tails: percentiles of epochs, of single operations, and of plain numbers."""

import math
import sys
from pathlib import Path

from lab import cli, results, soak_analysis, stats

PERCENTS = (50, 90, 99, 99.9)
NAMES = [f"p{p:g}" for p in PERCENTS]
WORST = 100


# ---- Histograms ----------------------------------------------------------------------------------


def add(histogram, other):
    """Adds {limit: count} to a histogram."""
    for limit, count in other.items():
        histogram[limit] = histogram.get(limit, 0) + count
    return histogram


def histogram_percentiles(histogram, percents=(*PERCENTS, WORST)):
    """[upper limit of the bucket in which the value is that so many percent do not exceed, …]; the
    buckets of --latency are 1/32 wide, so that is at most 3 % above the value. 100: the worst."""
    limits = sorted(limit for limit, count in histogram.items() if count)
    total = sum(histogram.values())
    found = []
    for percent in percents:
        # The smallest rank that covers it: of 1000 values, the 999th is p99.9
        rank = max(math.ceil(round(total * percent / 100, 6)), 1)
        seen = 0
        for limit in limits:
            seen += histogram[limit]
            if seen >= rank:
                break
        found.append(limit)
    return found


def read_histograms(table, path):
    """{label: {limit: count}} of the rows of kind latency; a label is all that comes before le_ns,
    without the repetition."""
    if "le_ns" not in table.columns or "count" not in table.columns:
        raise results.Damaged(f"{path}: no columns le_ns and count")
    names = [c for c in table.columns if c not in ("le_ns", "count", "repetition")]
    found = {}
    for number, row in enumerate(table.rows, 1):
        try:
            limit, count = float(row["le_ns"]), int(row["count"])
        except ValueError:
            limit = count = -1
        if not (math.isfinite(limit) and limit >= 0 and count >= 0):
            raise results.Damaged(f"{path}: row {number} is not that of a histogram")
        label = " ".join(row[name] for name in names if row[name])
        add(found.setdefault(label, {}), {limit: count})
    found = {label: histogram for label, histogram in found.items() if any(histogram.values())}
    if not found:
        raise results.Damaged(f"{path}: an empty histogram")
    return found


# ---- scripts/calculate_percentiles.py ------------------------------------------------------------


def _print_table(head, rows):
    """Text left, numbers right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    wide = [max(map(len, column)) for column in zip(*cells)]
    for first, *others in cells:
        print("  ".join([first.ljust(wide[0]), *(c.rjust(w) for c, w in zip(others, wide[1:]))]))


def _numbers(text, path):
    values = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            values.append(float(line))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise results.Damaged(f"{path}:{number}: '{line.strip()[:40]}' is not a number")
    if not values:
        raise results.Damaged(f"{path}: no numbers")
    return values


def _percentile_rows(path):
    """(head, rows) of a file: a latency histogram, or a column of numbers."""
    if str(path) != "-":
        try:
            table = results.read(path)
        except results.Damaged:
            if path.is_file() and path.read_bytes().startswith(results.MAGIC.encode()):
                raise
        else:
            rows = []
            for label, histogram in read_histograms(table, path).items():
                found = histogram_percentiles(histogram)
                rows.append([label, sum(histogram.values()), *(f"{x:.0f}" for x in found)])
            overhead = table.facts.get("timer_overhead_ns")
            told = f" (an empty interval: {overhead})" if overhead else ""
            return ["ns" + told, "count", *NAMES, "worst"], rows
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise results.Damaged(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise results.Damaged(f"{path}: not a text") from error
    values = _numbers(text, path)
    found = stats.percentiles(values, (*PERCENTS, WORST))
    return (["numbers", "count", *NAMES, "worst"],
            [[path, len(values), *(f"{x:.6g}" for x in found)]])


def main_percentiles(argv):
    parser = cli.parser("soak", "Percentiles of single operations, out of what --latency or hakmem "
                        "bench --latency wrote,\nor of a plain column of numbers. Those of a "
                        "histogram are upper limits, at most 3 % above.",
                        prog="calculate_percentiles.py")
    parser.add_argument("file", nargs="+", type=Path, help="- is the standard input")
    for path in parser.parse_args(argv).file:
        try:
            _print_table(*_percentile_rows(path))
        except results.Damaged as error:
            cli.fail(str(error))
    return 0


# ---- scripts/analyze_epoch_tail_csv.py -----------------------------------------------------------


def epoch_tails(values):
    """Throughputs that so many percent of the epochs reached: slow epochs are the tail. [p50, p90,
    p99, p99.9, worst]."""
    return stats.percentiles(values, [100 - p for p in (*PERCENTS, WORST)])


def main_epochs(argv):
    parser = cli.parser("soak", "The tail of a soak's epochs: p99 is what 99 % of them reached. ns "
                        "an operation is the mean\nof an epoch; single operations are another "
                        "matter (calculate_percentiles.py).",
                        prog="analyze_epoch_tail_csv.py")
    parser.add_argument("file", nargs="+", type=Path,
                        help="a file of the kind soak, or the directory of a run")
    for path in parser.parse_args(argv).file:
        try:
            rows, _ = soak_analysis.load(path)
        except results.Damaged as error:
            cli.fail(str(error))
        lines = []
        for name, column in (("by wall", "ops_per_s"), ("by CPU", "ops_per_cpu_s")):
            speeds = epoch_tails([row[column] for row in rows])
            costs = stats.percentiles([1e9 / row[column] for row in rows], (*PERCENTS, WORST))
            lines.append([f"M ops/s {name}", len(rows), *(f"{x / 1e6:.2f}" for x in speeds)])
            lines.append([f"ns an operation {name}", len(rows), *(f"{x:.3f}" for x in costs)])
        _print_table([path, "epochs", *NAMES, "worst"], lines)
    return 0
