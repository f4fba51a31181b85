# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The sections of the page about allocators side by side: each is made only when its data is there.

A section is a list of blocks in reading order: plots (Dots, Lines), tables, and plain text.
"""

import math
import statistics
from typing import NamedTuple

from lab import report_compare as compare
from lab import report_plots as plots
from lab import report_text as text
from lab.report_text import Head, Table


class Section(NamedTuple):
    name: str  # of the anchor
    title: str
    blocks: list  # (what, Dots or [Lines] or Table or str)


class Lane(NamedTuple):
    """One allocator in one row of Dots. at, low, high: percent; at is None where trouble says why
    there is no figure, low where there is no interval."""

    slot: int
    name: str
    at: float
    low: float
    high: float
    text: str
    trouble: str = ""
    shaky: bool = False  # drawn hollow


class Dots(NamedTuple):
    """rows: [(label, details, figure in front, [Lane])]. one: where the ratio 1 is, in percent."""

    title: str
    axis: plots.Axis
    rows: list
    legend: list  # (slot, name)
    front: str = ""  # what the figure in front is
    one: float = None


class Lines(NamedTuple):
    title: str
    x: plots.Axis
    y: plots.Axis
    curves: list


class Context(NamedTuple):
    """What all sections share."""

    sources: dict  # kind: [Source]
    slots: dict    # allocator: colour and marker


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


# ---- Ratios by row ------------------------------------------------------------------------------

def _lane(row, name, base, measure, axis, slot):
    cell = row.cells[name]
    found = compare.ratio(row, name, base, measure)
    if not found:
        said = cell.trouble()
        if not said and not row.cells[base].runs:
            said = f"no {base} to compare with"
        return Lane(slot, name, None, None, None, "", f"{name}: {said or 'no figure'}")
    known = found.low > 0 and not math.isinf(found.high)
    said = f"{row.label}, {name}: {text.ratio(found)} × {base}, 95 % interval " \
           f"{text.interval(found)}, n = {len(cell.runs)}{compare.shaky(row, name, base)}"
    return Lane(slot, name, axis.at(found.value), axis.at(found.low) if known else None,
                axis.at(found.high) if known else None, said, "",
                bool(compare.shaky(row, name, base)))


def ratio_dots(context, rows, title, axis_name, measure):
    """A Dots of all allocators against the base; None without figures."""
    base = compare.base_of(rows)
    names = [name for name in compare.allocators(rows) if name != base]
    found = [compare.ratio(row, name, base, measure) for row in rows for name in names]
    found = [one for one in found if one]
    if not found:
        return None
    values = [one.value for one in found]
    near = [limit for one in found for limit in (one.low, one.high)
            if min(values) / 1.25 <= limit <= max(values) * 1.25]
    axis = plots.ratio_axis(values + near, axis_name)
    lines = []
    for row in rows:
        lanes = [_lane(row, name, base, measure, axis, context.slots[name])
                 for name in names if name in row.cells]
        front = compare.ratio(row, compare.SUBJECT, base, measure)
        lines.append((row.title, row.details(), text.ratio(front)
                      + (compare.shaky(row, compare.SUBJECT, base) if front else ""), lanes))
    front = compare.SUBJECT if compare.SUBJECT in names else ""
    return Dots(title, axis, lines, [(context.slots[name], name) for name in names], front,
                axis.at(1))


def standings(rows, measure, title, extra=None):
    """Table of all allocators against the base; extra: (name, Measure) of one more column."""
    base = compare.base_of(rows)
    head = [Head("allocator", "", True), Head("mean ratio", f"× {base}"), Head("95 % interval"),
            Head("rows"), Head("best"), Head("in", "", True), Head("worst"), Head("in", "", True)]
    if extra:
        head.insert(3, Head(f"mean ratio {extra[0]}", f"× {base}"))
    lines = []
    for name in compare.allocators(rows):
        if name == base:
            continue
        found = compare.standing(rows, name, base, measure)
        if not found:
            lines.append([name] + [text.NONE] * (len(head) - 1))
            continue
        best, worst = found.best(measure), found.worst(measure)
        line = [name, text.ratio(found.mean), text.interval(found.mean),
                f"{len(found.ratios)} of {found.rows}", text.ratio(best[1]), best[0].label,
                text.ratio(worst[1]), worst[0].label]
        if extra:
            other = compare.standing(rows, name, base, extra[1])
            line.insert(3, text.ratio(other.mean if other else None))
        lines.append(line)
    return Table(title, head, lines, False,
                 "Mean ratio: geometric mean over the rows that both have.")


def versus(rows, measure, title):
    """Table of hakmem against each other allocator; None without hakmem."""
    names = compare.allocators(rows)
    if compare.SUBJECT not in names or len(names) < 2:
        return None
    head = [Head("hakmem against", "", True), Head("mean ratio"), Head("95 % interval"),
            Head("won", "rows"), Head("lost", "rows"), Head("undecided", "rows"),
            Head("compared", "rows")]
    lines = []
    for name in names:
        if name == compare.SUBJECT:
            continue
        found = compare.standing(rows, compare.SUBJECT, name, measure)
        if not found:
            lines.append([name] + [text.NONE] * 5 + [f"0 of {len(rows)}"])
            continue
        lines.append([name, text.ratio(found.mean), text.interval(found.mean),
                      *map(str, found.counts(measure)), f"{len(found.ratios)} of {found.rows}"])
    better = "below" if measure.smaller else "above"
    return Table(title, head, lines, False,
                 f"hakmem is better where the ratio is {better} 1. Won, lost: the whole interval "
                 "lies on one side of 1.")


SIGNS = {"won": "▲", "lost": "▼", "even": "="}


def row_by_row(rows, measure, title, shut=True):
    """Table of hakmem against every other, one line a row; None without hakmem."""
    names = [name for name in compare.allocators(rows) if name != compare.SUBJECT]
    if len(names) == len(compare.allocators(rows)) or not names:
        return None
    head = [Head("workload", "", True), Head("arguments, threads", "", True)]
    head += [Head(name) for name in names]
    lines = []
    for row in rows:
        line = [row.title, row.details()]
        for name in names:
            found = compare.ratio(row, compare.SUBJECT, name, measure)
            if found:
                line.append(f"{text.ratio(found)} {SIGNS[compare.outcome(found, measure)]}"
                            + compare.shaky(row, compare.SUBJECT, name))
            else:
                sides = [row.cells.get(side, compare.Cell()) for side in (compare.SUBJECT, name)]
                line.append(next((side.trouble() for side in sides if side.trouble()), "no figure"))
        lines.append(line)
    return Table(title, head, lines, shut,
                 "hakmem's figure over the other's. ▲ won, ▼ lost, = undecided: the interval "
                 "includes 1. * with disturbed repetitions.")


# ---- Suite --------------------------------------------------------------------------------------

def _each(rows, columns, head):
    """A line for each row and allocator: columns(row, cell, name) after the first four cells."""
    lines = []
    for row in rows:
        for name in compare.in_order(row.cells):
            cell = row.cells[name]
            lines.append([row.title, row.details(), name,
                          f"{len(cell.runs)}{'*' * cell.shaky}",
                          *columns(row, cell, name),
                          ", ".join(filter(None, [cell.trouble(), f"{cell.disturbed} disturbed"
                                                  if cell.disturbed else ""]))])
    return [Head("workload", "", True), Head("arguments, threads", "", True),
            Head("allocator", "", True), Head("n"), *head,
            Head("failed or disturbed", "", True)], lines


def _range(values, write):
    return f"{write(min(values))}–{write(max(values))}" if values else text.NONE


def _speed_table(rows):
    base = compare.base_of(rows)

    def columns(row, cell, name):
        found = compare.ratio(row, name, base, compare.SPEED)
        by_cpu = compare.ratio(row, name, base, compare.SPEED_BY_CPU)
        values = list(cell.values("ops_per_s").values())
        return [text.mega(cell.median("ops_per_s")), _range(values, text.mega), text.ratio(found),
                text.interval(found), text.mega(cell.median("ops_per_cpu_s")), text.ratio(by_cpu)]

    head, lines = _each(rows, columns, [
        Head("median", "M ops/s"), Head("min–max", "M ops/s"), Head("ratio", f"× {base}"),
        Head("95 % interval"), Head("median by CPU", "M ops/CPU s"), Head("ratio", f"× {base}")])
    return Table("Speed, every row and allocator", head, lines, True)


def _memory_table(rows):
    base = compare.base_of(rows)

    def columns(row, cell, name):
        found = compare.ratio(row, name, base, compare.PEAK)
        values = list(cell.values("peak_kib").values())
        return [text.mib(cell.median("peak_kib")), _range(values, text.mib), text.ratio(found),
                text.interval(found)]

    head, lines = _each(rows, columns, [Head("median", "MiB"), Head("min–max", "MiB"),
                                        Head("ratio", f"× {base}"), Head("95 % interval")])
    return Table("Peak RSS, every row and allocator", head, lines, True)


def speed(context):
    rows = compare.gather(context.sources.get("suite", []))
    base = compare.base_of(rows)
    dots = ratio_dots(context, rows, f"Speed as a multiple of {base}'s, by workload",
                      f"ops/s, × {base} (right is faster)", compare.SPEED) if rows else None
    if not rows:
        return None
    lead = "An operation is one malloc or one free. Ratios are of medians over the repetitions " \
           "that both have; lines are 95 % intervals; by CPU: per second of CPU time, which " \
           "other work on the machine disturbs less. Hollow, or *: with disturbed repetitions, " \
           "because too few others are left."
    blocks = [("text", lead)]
    blocks += [("dots", dots)] if dots else []
    blocks += [("table", standings(rows, compare.SPEED, f"Speed against {base}",
                                   ("by CPU", compare.SPEED_BY_CPU))),
               ("table", versus(rows, compare.SPEED, "hakmem's speed against each")),
               ("table", row_by_row(rows, compare.SPEED, "Wins and losses in speed, row by row")),
               ("table", _speed_table(rows))]
    return Section("speed", "Speed", [block for block in blocks if block[1]])


def memory(context):
    rows = compare.gather(context.sources.get("suite", []))
    base = compare.base_of(rows)
    blocks = []
    if any(cell.values("peak_kib") for row in rows for cell in row.cells.values()):
        blocks = [
            ("text", "Peak RSS is VmHWM of the whole process, with the workload's own data."),
            ("dots", ratio_dots(context, rows, f"Peak RSS as a multiple of {base}'s, by workload",
                                f"peak RSS, × {base} (left is smaller)", compare.PEAK)),
            ("table", standings(rows, compare.PEAK, f"Peak RSS against {base}")),
            ("table", versus(rows, compare.PEAK, "hakmem's peak RSS against each")),
            ("table", row_by_row(rows, compare.PEAK, "Wins and losses in memory, row by row")),
            ("table", _memory_table(rows))]
    blocks += rss_over_time(context)
    blocks += [("table", retain_table(context.sources.get("retain", [])))]
    blocks = [block for block in blocks if block[1]]
    return Section("memory", "Memory", blocks) if blocks else None


# ---- RSS over time ------------------------------------------------------------------------------

def grouped(sources, *columns):
    """{(file, cells of columns): [row]}, in the order of the files."""
    found = {}
    for source in sources:
        for row in source.rows:
            found.setdefault((source, *(row[c] for c in columns)), []).append(row)
    return found


def time_figures(points):
    """(peak, mean over time, end) of [(time, KiB)]."""
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:]))
    span = points[-1][0] - points[0][0]
    values = [value for _, value in points]
    return max(values), area / span if span else values[0], values[-1]


def rss_runs(sources):
    """{(file, workload, arguments): {allocator: [[(time, KiB)]]}}, a list for each repetition."""
    found = {}
    for key, rows in grouped(sources, "workload", "arguments", "allocator", "repetition").items():
        points = sorted((row["time_s"], row["rss_kib"]) for row in rows
                        if None not in (row["time_s"], row["rss_kib"]))
        if points:
            found.setdefault(key[:3], {}).setdefault(key[3], []).append(points)
    return found


def rss_table(sources):
    lines = []
    for (_, workload, arguments), runs in rss_runs(sources).items():
        for name in compare.in_order(runs):
            figures = [time_figures(points) for points in runs[name]]
            lines.append([workload, arguments, name, str(len(figures)),
                          *(text.mib(median(column)) for column in zip(*figures))])
    head = [Head("workload", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("n"), Head("peak", "MiB"), Head("mean over time", "MiB"),
            Head("at the end", "MiB")]
    return Table("RSS over time", head, lines, False, "Medians of the repetitions.")


def rss_over_time(context):
    sources, drawn = context.sources.get("memory", []), []
    for (_, workload, arguments), runs in rss_runs(sources).items():
        every = [p for repetitions in runs.values() for points in repetitions for p in points]
        x = plots.time_axis(max(p[0] for p in every))
        y = plots.linear_axis(max(p[1] for p in every) / 1024, "RSS [MiB]")
        curves = [plots.curve(name, context.slots[name], [(t, kib / 1024) for t, kib in points],
                              x, y)
                  for name in reversed(compare.in_order(runs))  # hakmem's on top
                  for points in runs[name]]
        drawn.append(Lines(f"RSS over time, every repetition: {workload} {arguments}".strip(), x, y,
                           curves))
    return [("lines", drawn), ("table", rss_table(sources))] if drawn else []


# ---- What stays ---------------------------------------------------------------------------------

def _retained_figures(run, own):
    """MiB at the end, peak over live, end over what is left: as lab.scenarios prints them."""
    rest = max(run["rss_kib"] - own, 0)
    return (rest / 1024, max(run["peak_kib"] - own, 0) / max(run["live_kib"], 1),
            rest / run["left_kib"] if run["left_kib"] else None)


def retain_table(sources):
    lines = []
    for (_, scenario, arguments), rows in grouped(sources, "scenario", "arguments").items():
        runs = [row for row in rows if row["status"] == "ok" and row["rss_kib"] is not None]
        own = min((run["own_kib"] for run in runs), default=0)
        for name in compare.in_order({run["allocator"] for run in runs}):
            mine = [run for run in runs if run["allocator"] == name]
            rest, peak, left = zip(*(_retained_figures(run, own) for run in mine))
            calls = [run["calls"] for run in mine if run["calls"] is not None]
            lines.append([scenario, arguments, name, str(len(mine)), f"{median(rest):.1f}",
                          f"{min(rest):.1f}–{max(rest):.1f}", f"{median(peak):.2f}",
                          f"{median(left):.2f}" if None not in left else "",
                          f"{median(calls):.0f}" if calls else ""])
    head = [Head("scenario", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("n"), Head("at the end", "MiB"), Head("min–max", "MiB"), Head("peak", "× live"),
            Head("at the end", "× left"), Head("system calls")]
    return Table("What stays", head, lines, False,
                 "Over the program's own: the least RSS before the first block, under any of the "
                 "allocators. Medians of the repetitions. System calls: hakmem's, since before "
                 "the first free.") if lines else None


# ---- Scaling ------------------------------------------------------------------------------------

def _thread_places(rows):
    """{place: word} of the arguments of one workload that go with the number of threads: T for the
    number itself, N/T for a length that is shared among them."""
    words = [row.arguments.split() for row in rows]
    if len({len(w) for w in words}) != 1:
        return {}
    found = {}
    for at in range(len(words[0])):
        column = [(w[at], row.threads) for w, row in zip(words, rows)]
        if all(word == f"{threads:.0f}" for word, threads in column):
            found[at] = "T"
        elif all(word.isdigit() for word, _ in column):
            whole = {int(word) * threads for word, threads in column}
            if len(whole) == 1:
                found[at] = f"{whole.pop():.0f}/T"
    return found


def scaling_groups(rows):
    """[(workload, arguments with T for threads, [Row by threads])], where threads differ."""
    by_name = {}
    for row in rows:
        if row.threads:
            by_name.setdefault((row.source, row.workload), []).append(row)
    found = []
    for (_, workload), same in by_name.items():
        if len({row.threads for row in same}) < 2:
            continue
        hidden, groups = _thread_places(same), {}
        for row in same:
            said = " ".join(hidden.get(at, word)
                            for at, word in enumerate(row.arguments.split()))
            groups.setdefault(said, []).append(row)
        found += [(workload, said, sorted(group, key=lambda row: row.threads))
                  for said, group in groups.items() if len({r.threads for r in group}) > 1]
    return found


def scaling(context):
    drawn, lines = [], []
    for workload, arguments, rows in scaling_groups(
            compare.gather(context.sources.get("suite", []))):
        names = compare.allocators(rows)
        points = {name: [(row.threads, row.cells[name].median("ops_per_s") / 1e6) for row in rows
                         if name in row.cells and row.cells[name].values("ops_per_s")]
                  for name in names}
        top = max((y for series in points.values() for _, y in series), default=0)
        if not top:
            continue
        axis = plots.linear_axis(rows[-1].threads, "threads")
        x = axis._replace(high=rows[-1].threads * 1.05)
        x = x._replace(ticks=[(x.at(t), f"{t:.0f}") for t in sorted({r.threads for r in rows})])
        y = plots.linear_axis(top, "speed [M ops/s]")
        curves = [plots.curve(name, context.slots[name], points[name], x, y, marks=True)
                  for name in reversed(names) if points[name]]
        drawn.append(Lines(f"{workload} {arguments}", x, y, curves))
        for name in names:
            first = points[name][0] if points[name] else None
            for threads, value in points[name]:
                lines.append([workload, arguments, name, f"{threads:.0f}", text.figure(value),
                              text.figure(value / first[1])])
    if not drawn:
        return None
    head = [Head("workload", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("threads"), Head("speed", "M ops/s"), Head("against the fewest threads", "×")]
    lead = "Medians. More threads than the machine has CPUs share them."
    return Section("scaling", "Scaling over threads",
                   [("text", lead), ("lines", drawn),
                    ("table", Table("Speed by threads", head, lines, True))])


# ---- Latency ------------------------------------------------------------------------------------

QUANTILES = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)]


def quantile(buckets, share):
    """Upper limit of the bucket that holds the share of all; buckets: sorted [(limit, count)]."""
    wanted = share * sum(count for _, count in buckets)
    seen = 0
    for limit, number in buckets:
        seen += number
        if seen >= wanted * (1 - 1e-12):
            return limit
    return buckets[-1][0]


def histograms(sources):
    """{(file, workload, arguments, operation): {allocator: [(limit, count)]}}; repetitions added
    up."""
    found = {}
    columns = ("workload", "arguments", "operation", "allocator")
    for key, rows in grouped(sources, *columns).items():
        total = {}
        for row in rows:
            if row["count"] and row["le_ns"] is not None:
                total[row["le_ns"]] = total.get(row["le_ns"], 0) + row["count"]
        if total:
            found.setdefault(key[:4], {})[key[4]] = sorted(total.items())
    return found


def _share(value):
    """0.001 as 0.1 %, below 0.01 % in ppm."""
    return f"{value * 100:.4g} %" if value >= 0.9e-4 else f"{value * 1e6:.4g} ppm"


def _tick(value):
    """A power of ten of nanoseconds."""
    power = min(round(math.log10(value)) // 3, 3)
    return f"{value / 1000 ** power:.10g} {('ns', 'µs', 'ms', 's')[power]}"


def _tail_curve(name, slot, buckets, x, y):
    total = sum(count for _, count in buckets)
    points, above = [(x.low, 1)], total
    for limit, number in buckets:
        above -= number
        points.append((limit, above / total if above > 0.5 else y.low))
    return plots.curve(name, slot, points, x, y, steps=True)


def latency_table(sources):
    lines = []
    for (_, workload, arguments, operation), by_name in histograms(sources).items():
        for name in compare.in_order(by_name):
            buckets = by_name[name]
            lines.append([workload, arguments, operation, name,
                          *(text.nanoseconds(quantile(buckets, q)) for _, q in QUANTILES),
                          text.nanoseconds(buckets[-1][0]),
                          text.plain(sum(number for _, number in buckets))])
    head = [Head("workload", "", True), Head("arguments", "", True), Head("operation", "", True),
            Head("allocator", "", True), *(Head(name) for name, _ in QUANTILES), Head("worst"),
            Head("operations")]
    return Table("Latency", head, lines, False,
                 "Upper limits of histogram buckets; all repetitions together.")


def latency(context):
    sources = context.sources.get("latency", [])
    drawn = []
    for (_, workload, arguments, operation), by_name in histograms(sources).items():
        limits = [limit for buckets in by_name.values() for limit, _ in buckets
                  if 0 < limit < math.inf] or [1]
        most = max(sum(n for _, n in buckets) for buckets in by_name.values())
        x = plots.decade_axis(min(limits), max(limits), "latency (left is faster)", _tick)
        y = plots.decade_axis(min(1 / most, 0.1), 1, "share of operations that take longer", _share)
        curves = [_tail_curve(name, context.slots[name], by_name[name], x, y)
                  for name in reversed(compare.in_order(by_name))]
        drawn.append(Lines(f"{operation}: {workload} {arguments}".strip(), x, y, curves))
    if not drawn:
        return None
    lead = "How many operations take longer than a time: further left and lower is better. " \
           "Both axes are logarithmic."
    return Section("latency", "Latency",
                   [("text", lead), ("lines", drawn), ("table", latency_table(sources))])
