# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The other sections of the page: soaks, system calls, instructions, real programs, A/B verdicts,
machine and commands."""

import math

from lab import report_compare as compare
from lab import report_plots as plots
from lab import report_sections as sections
from lab import report_text as text
from lab import stats
from lab.report_sections import Dots, Lane, Lines, Section, median
from lab.report_text import Head, Table

EPOCH_ROWS_MAX = 60  # of the table behind a soak; longer ones are put together


# ---- Soak ---------------------------------------------------------------------------------------

def soak_runs(sources):
    """[(name, allocator, process's number in its file, [row by time])], one for each process."""
    found = []
    for (source, process), rows in sections.grouped(sources, "process").items():
        allocator = source.facts.get("allocator", compare.SUBJECT)
        name = f"{allocator}, process {process}"
        if len(sources) > 1:
            name += f" [file {source.number}]"
        rows = [row for row in rows if row["time_s"] is not None]
        at = sum(1 for run in found if run[4] is source)
        if rows:
            found.append((name, allocator, at, sorted(rows, key=lambda row: row["time_s"]), source))
    return [run[:4] for run in found]


def series(rows, column, divisor):
    return [(row["time_s"], row[column] / divisor) for row in rows if row[column] is not None]


def drift(points):
    """Percent over the whole run."""
    if len(points) < 3:
        return None
    return stats.drift([y for _, y in points], [x for x, _ in points])


def soak_table(sources):
    lines = []
    for name, _, _, rows in soak_runs(sources):
        speed, rss = series(rows, "ops_per_s", 1e6), series(rows, "rss_kib", 1024)
        values = [y for _, y in speed]
        peaks = [row["vmhwm_kib"] for row in rows if row["vmhwm_kib"] is not None]
        lines.append([
            name, str(len(rows)), f"{rows[-1]['time_s']:,.0f}", text.figure(median(values)),
            f"{text.figure(min(values))}–{text.figure(max(values))}" if values else text.NONE,
            text.figure(stats.variation(values), 2) if len(values) > 1 else text.NONE,
            text.percent(drift(speed)),
            text.figure(rss[0][1] if rss else None), text.figure(rss[-1][1] if rss else None),
            text.percent(drift(rss)), text.mib(max(peaks) if peaks else None)])
    head = [Head("process", "", True), Head("epochs"), Head("time", "s"),
            Head("median speed", "M ops/s"), Head("min–max", "M ops/s"), Head("variation", "%"),
            Head("drift of speed", "%"), Head("first RSS", "MiB"), Head("last RSS", "MiB"),
            Head("drift of RSS", "%"), Head("peak RSS", "MiB")]
    return Table("Soak, by process", head, lines, False,
                 "Variation: standard deviation over mean of the epochs. Drift: over the whole "
                 "run, by the median slope of all pairs of epochs (Theil and Sen).")


def _epoch_table(runs):
    lines, together = [], 1
    for name, _, _, rows in runs:
        size = math.ceil(len(rows) / EPOCH_ROWS_MAX)
        together = max(together, size)
        for at in range(0, len(rows), size):
            piece = rows[at:at + size]
            column = {c: [row[c] for row in piece] for c in piece[0]}
            sums = [sum(x for x in column[c] if x is not None)
                    if any(x is not None for x in column[c]) else None
                    for c in ("minor_faults", "system_calls", "hakmem_system_calls")]
            lines.append([name, f"{piece[-1]['epoch'] or 0:.0f}", f"{piece[-1]['time_s']:,.1f}",
                          text.mega(median(column["ops_per_s"])),
                          text.mega(median(column["ops_per_cpu_s"])),
                          text.mib(piece[-1]["rss_kib"]), *map(text.plain, sums)])
    head = [Head("process", "", True), Head("epoch"), Head("time", "s"), Head("speed", "M ops/s"),
            Head("by CPU", "M ops/CPU s"), Head("RSS", "MiB"), Head("minor faults"),
            Head("system calls"), Head("of them hakmem's")]
    note = f"Up to {together} epochs a line: medians of speeds, sums of faults and calls, the " \
           "last RSS." if together > 1 else ""
    return Table("Epochs", head, lines, True, note)


def soak(context):
    runs = soak_runs(context.sources.get("soak", []))
    if not runs:
        return None
    plotted = []
    for title, column, divisor, name in (("Speed by epoch", "ops_per_s", 1e6, "speed [M ops/s]"),
                                         ("RSS at the end of an epoch", "rss_kib", 1024,
                                          "RSS [MiB]")):
        drawn = [(run, series(run[3], column, divisor)) for run in runs]
        every = [point for _, points in drawn for point in points]
        if not every:
            continue
        x = plots.time_axis(max(t for t, _ in every))
        y = plots.linear_axis(max(v for _, v in every), name)
        curves = [plots.curve(run[0], context.slots[run[1]], points, x, y, dash=run[2] % 4)
                  for run, points in reversed(drawn) if points]
        plotted.append(Lines(title, x, y, curves))
    blocks = [("lines", plotted), ("table", soak_table(context.sources["soak"])), ("table", _epoch_table(runs))]
    return Section("soak", "Soak", blocks)


# ---- Counts: system calls, instructions ---------------------------------------------------------

def counts(sources, column):
    """[(workload, arguments, {allocator: row})], in the order of the files."""
    found = {}
    for key, rows in sections.grouped(sources, "workload", "arguments", "allocator").items():
        known = [row for row in rows if row[column] is not None]
        if known:
            found.setdefault(key[:3], {})[key[3]] = known[-1]
    return [(*key[1:], by_name) for key, by_name in found.items()]


def _count_dots(context, groups, column, title, axis, write):
    names = compare.in_order(name for *_, by_name in groups for name in by_name)
    rows = []
    for workload, arguments, by_name in groups:
        lanes = []
        for name in names:
            if name not in by_name:
                lanes.append(Lane(context.slots[name], name, None, None, None, "",
                                  f"{name}: not measured"))
                continue
            value = by_name[name][column]
            lanes.append(Lane(context.slots[name], name, axis.at(value), None, None,
                              f"{workload}, {name}: {write(value)}"))
        own = by_name.get(compare.SUBJECT)
        rows.append((workload, arguments, write(own[column]) if own else text.NONE, lanes))
    return Dots(title, axis, rows, [(context.slots[name], name) for name in names],
                compare.SUBJECT if compare.SUBJECT in names else "")


def syscalls_table(sources):
    lines = []
    for workload, arguments, by_name in counts(sources, "per_million_ops"):
        for name in compare.in_order(by_name):
            row = by_name[name]
            lines.append([workload, arguments, name, text.figure(row["per_million_ops"]),
                          *(text.plain(row[c]) for c in ("ops", "mmap", "munmap", "madvise",
                                                         "other", "inside"))])
    head = [Head("workload", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("calls", "per million ops"), Head("ops"), Head("mmap"), Head("munmap"),
            Head("madvise"), Head("other"), Head("by hakmem's count")]
    return Table("System calls", head, lines)


def syscalls(context):
    sources = context.sources.get("syscalls", [])
    groups = counts(sources, "per_million_ops")
    if not groups:
        return None
    values = [row["per_million_ops"] for *_, by_name in groups for row in by_name.values()]
    above = [value for value in values if value > 0] or [1]
    zero = min(values) == 0
    axis = plots.decade_axis(min(above) / (10 if zero else 1), max(above),
                             "system calls per million operations (left is fewer)",
                             lambda value: f"{value:,.10g}")
    if zero:
        axis = axis._replace(ticks=[(0, "0"), *axis.ticks[1:]])
    dots = _count_dots(context, groups, "per_million_ops",
                       "System calls per million operations, by workload", axis, text.figure)
    return Section("syscalls", "System calls",
                   [("dots", dots), ("table", syscalls_table(sources)._replace(shut=True))])


def instructions_table(sources):
    lines = []
    for workload, arguments, by_name in counts(sources, "per_op"):
        for name in compare.in_order(by_name):
            row = by_name[name]
            lines.append([workload, arguments, name, f"{row['per_op']:,.1f}",
                          text.plain(row["instructions"]), text.plain(row["ops"])])
    head = [Head("workload", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("instructions", "per op"), Head("instructions"), Head("ops")]
    return Table("Instructions", head, lines)


def instructions(context):
    sources = context.sources.get("instructions", [])
    groups = counts(sources, "per_op")
    if not groups:
        return None
    top = max(row["per_op"] for *_, by_name in groups for row in by_name.values())
    axis = plots.linear_axis(top, "instructions per operation (left is fewer)")
    dots = _count_dots(context, groups, "per_op", "Instructions per operation, by workload", axis,
                       lambda value: f"{value:,.1f}")
    return Section("instructions", "Instructions",
                   [("dots", dots), ("table", instructions_table(sources)._replace(shut=True))])


# ---- Real programs ------------------------------------------------------------------------------

def _programs_table(rows):
    lines = []
    for row in rows:
        for name in compare.in_order(row.cells):
            cell = row.cells[name]
            lines.append([row.label, name, str(len(cell.runs)),
                          *(text.figure(cell.median(c)) for c in ("wall_s", "cpu_s")),
                          text.mib(cell.median("peak_kib")),
                          text.plain(cell.median("minor_faults")), cell.trouble()])
    head = [Head("program", "", True), Head("allocator", "", True), Head("n"),
            Head("wall time", "s"), Head("CPU time", "s"), Head("peak RSS", "MiB"),
            Head("minor faults"), Head("left out", "", True)]
    return Table("Every program and allocator, medians", head, lines, True)


def programs(context):
    rows = compare.gather(context.sources.get("programs", []))
    if not rows:
        return None
    base = compare.base_of(rows)
    blocks = [
        ("text", f"Speed is {base}'s time over the allocator's: above 1 is faster."),
        ("dots", sections.ratio_dots(context, rows, "Speed of real programs, by CPU time",
                                     f"speed, × {base} (right is faster)", compare.CPU)),
        ("dots", sections.ratio_dots(context, rows, "Peak RSS of real programs",
                                     f"peak RSS, × {base} (left is smaller)", compare.PEAK)),
        ("table", sections.standings(rows, compare.CPU, f"Real programs: speed against {base}, by "
                                     "CPU time", ("by wall time", compare.WALL))),
        ("table", sections.standings(rows, compare.PEAK, f"Real programs: peak RSS against {base}")),
        ("table", sections.versus(rows, compare.CPU,
                                  "Real programs: hakmem's speed against each, by CPU time")),
        ("table", _programs_table(rows))]
    return Section("programs", "Real programs", [block for block in blocks if block[1]])


# ---- A/B ----------------------------------------------------------------------------------------

def ab_verdicts(sources):
    """[(file, workload, arguments, base, candidate, n, disturbed, stats.Verdict or None)]:
    the first arm of a workload is the base."""
    found = []
    for (source, workload, arguments), rows in sections.grouped(sources, "workload",
                                                                "arguments").items():
        arms = {}
        for row in rows:
            arms.setdefault(row["arm"], {})
            if not row["disturbed"] and row["ops_per_s"] is not None:
                arms[row["arm"]][row["repetition"]] = row["ops_per_s"]
        disturbed = sum(1 for row in rows if row["disturbed"])
        base, *others = arms
        for other in others:
            common = sorted(arms[base].keys() & arms[other].keys())
            verdict = stats.verdict([arms[other][at] for at in common],
                                    [arms[base][at] for at in common]) if common else None
            found.append((source, workload, arguments, base, other, len(common), disturbed, verdict))
    return found


def ab_table(sources):
    lines = []
    for source, workload, arguments, base, other, n, disturbed, verdict in ab_verdicts(sources):
        ratio = verdict.ratio if verdict else None
        lines.append([verdict.word if verdict else "no figures", workload, arguments,
                      f"{other} against {base}",
                      text.percent(100 * (ratio.value - 1), 2) if ratio else text.NONE,
                      text.interval(ratio, 4), str(n), str(disturbed), source.name])
    head = [Head("verdict", "", True), Head("workload", "", True), Head("arguments", "", True),
            Head("arms", "", True), Head("change", "%"), Head("95 % interval of the ratio"),
            Head("n"), Head("disturbed"), Head("file", "", True)]
    return Table("A/B verdicts", head, lines, False,
                 f"GO: faster by {stats.SWITCH:g} % or more, and the whole interval above 1; "
                 "NO-GO: the same below; NEUTRAL: neither.")


def ab(context):
    sources = context.sources.get("ab", [])
    verdicts = ab_verdicts(sources)
    if not verdicts:
        return None
    blocks = [("table", ab_table(sources))]
    found = [v[-1].ratio for v in verdicts if v[-1]]
    if found:
        axis = plots.ratio_axis([x for one in found for x in one if 0.5 * one.value < x < 2 *
                                 one.value], "candidate's speed, × base (right is faster)")
        rows = []
        for _, workload, arguments, base, other, n, _, verdict in verdicts:
            if not verdict:
                continue
            one = verdict.ratio
            lane = Lane(0, other, axis.at(one.value), axis.at(one.low), axis.at(one.high),
                        f"{workload}, {other} against {base}: {one.value:.4f}, 95 % interval "
                        f"{text.interval(one, 4)}, n = {n}")
            rows.append((workload, f"{arguments} · {other} against {base}",
                         f"{one.value:.4f} {verdict.word}", [lane]))
        blocks.insert(0, ("dots", Dots("A/B: ratio of speeds", axis, rows, [], "ratio, verdict",
                                       axis.at(1))))
    return Section("ab", "A/B verdicts", blocks)


# ---- Machine ------------------------------------------------------------------------------------

SHOWN_BY_FILE = ("kind", "date", "command")


def facts_tables(sources):
    """Every fact of every file: what was run, and on what. Equal facts stand once."""
    files = [[str(source.number), source.name, *(source.facts.get(fact) or text.NONE
                                                 for fact in SHOWN_BY_FILE), str(len(source.rows))]
             for source in sources]
    found = {}
    for source in sources:
        for name, value in source.facts.items():
            if name not in SHOWN_BY_FILE:
                found.setdefault(name, {}).setdefault(value or "unknown", []).append(source.number)
    facts = [[name, value, "all" if len(numbers) == len(sources) else ", ".join(map(str, numbers))]
             for name, values in found.items() for value, numbers in values.items()]
    head = [Head("", "", True), Head("file", "", True), Head("kind", "", True),
            Head("date", "", True), Head("command", "", True), Head("rows")]
    return [Table("Files and commands", head, files),
            Table("Facts", [Head("fact", "", True), Head("value", "", True),
                            Head("files", "", True)], facts)]


def machine(sources):
    return Section("machine", "Machine and commands",
                   [("table", table) for table in facts_tables(sources)])
