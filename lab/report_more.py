# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The other sections of the page: soaks, system calls, instructions, real programs, A/B verdicts,
machine and commands."""

import functools
import math
from typing import NamedTuple

from lab import report_compare as compare
from lab import report_files
from lab import report_plots as plots
from lab import report_sections as sections
from lab import report_text as text
from lab import scaling, soak_analysis, stats
from lab.report_sections import Dots, Lane, Lines, Section, median
from lab.report_text import Head, Table

EPOCH_ROWS_MAX = 60  # of the table behind a soak; longer ones are put together


# ---- Soak ---------------------------------------------------------------------------------------

VARIANTS = {"system": "glibc", "mi": "mimalloc", "je": "jemalloc", "tc": "tcmalloc"}


class Soak(NamedTuple):
    """One file. judged and verdict: None, where why says so."""

    source: object
    name: str
    allocator: str
    rows: list  # by time
    judged: soak_analysis.Series
    verdict: soak_analysis.Verdict
    why: str


def _soak_allocator(facts):
    """Of the program, bench_random_mixed_<allocator>, what is behind the last _."""
    suffix = facts.get("program", "").rpartition("_")[2] or compare.SUBJECT
    return VARIANTS.get(suffix, suffix)


@functools.cache
def _judge(source):
    """(Series, Verdict, why there is none) of a soak."""
    rows, facts = _by_time(source), source.facts
    needed = soak_analysis.NEEDED[1:]
    if any(not row[column] for row in rows for column in needed):
        return None, None, "cells are empty or 0"
    found = soak_analysis.series(rows, facts)
    if len(found.ops_per_s) < 2:
        return None, None, f"fewer than two of the unit: {found.unit}"
    return found, soak_analysis.judge(found), ""


def _by_time(source):
    return sorted((row for row in source.rows if row["time_s"] is not None),
                  key=lambda row: row["time_s"])


def soaks(sources):
    """[Soak], in the order of the files."""
    found = []
    for source in sources:
        facts, rows = source.facts, _by_time(source)
        if not rows:
            continue
        allocator = _soak_allocator(facts)
        parts = [allocator, facts.get("profile", "") if allocator == compare.SUBJECT else "",
                 f"{facts['ws']} slots" if "ws" in facts else "",
                 f"[file {source.number}]" if len(sources) > 1 else ""]
        found.append(Soak(source, " ".join(part for part in parts if part), allocator, rows,
                          *_judge(source)))
    return found


def soak_word(soak):
    """PASS, or FAIL and why."""
    if not soak.verdict:
        return f"no verdict: {soak.why}"
    word = f"FAIL: {', '.join(soak.verdict.failures)}" if soak.verdict.failures else "PASS"
    few = len(soak.judged.ops_per_s)
    if few < soak_analysis.FEW:
        word += f" (by {few} of the unit {soak.judged.unit}: says little)"
    return word


def soak_table(sources):
    lines = []
    for soak in soaks(sources):
        processes = len({row["process"] for row in soak.rows})
        line = [soak.name, soak_word(soak), f"{len(soak.rows):,}", str(processes),
                f"{soak.rows[-1]['time_s']:,.0f}"]
        if soak.verdict:
            v = soak.verdict
            line += [soak.judged.unit, text.mib(v.rss_first), text.mib(v.rss_last),
                     text.percent(v.rss_drift, 2), text.mega(v.wall.median),
                     text.percent(v.wall.drift, 2), f"{v.wall.variation:.2f}",
                     text.percent(v.cpu.drift, 2), f"{v.cpu.variation:.2f}"]
        else:
            line += [text.NONE] * 9
        lines.append(line)
    head = [Head("soak", "", True), Head("verdict", "", True), Head("epochs"),
            Head("processes"), Head("time", "s"),
            Head("judged by", "", True), Head("first RSS", "MiB"), Head("last RSS", "MiB"),
            Head("drift of RSS", "%"), Head("median speed", "M ops/s"), Head("drift of speed", "%"),
            Head("variation", "%"), Head("drift by CPU", "%"), Head("variation by CPU", "%")]
    return Table("Verdicts of soaks", head, lines, False,
                 f"Passed: RSS drift within ±{soak_analysis.RSS_DRIFT:g} %, drift of speed not "
                 f"below {text.percent(soak_analysis.OPS_DRIFT, 0)} %, variation up to "
                 f"{soak_analysis.VARIATION:g} %, after a warm-up. Drift: over the whole run, by "
                 "Theil and Sen. First and last RSS: of the first and last tenth.")


def _epoch_table(found):
    lines, together = [], 1
    for soak in found:
        size = math.ceil(len(soak.rows) / EPOCH_ROWS_MAX)
        together = max(together, size)
        for at in range(0, len(soak.rows), size):
            piece = soak.rows[at:at + size]
            column = {c: [row[c] for row in piece] for c in piece[0]}
            sums = [sum(x for x in column[c] if x is not None)
                    if any(x is not None for x in column[c]) else None
                    for c in ("minor_faults", "system_calls", "hakmem_system_calls")]
            lines.append([soak.name, piece[-1]["process"], text.plain(piece[-1]["epoch"]),
                          f"{piece[-1]['time_s']:,.1f}", text.mega(median(column["ops_per_s"])),
                          text.mega(median(column["ops_per_cpu_s"])),
                          text.mib(piece[-1]["rss_kib"]), text.mib(piece[-1]["vmhwm_kib"]),
                          *map(text.plain, sums)])
    head = [Head("soak", "", True), Head("process"), Head("epoch"), Head("time", "s"),
            Head("speed", "M ops/s"), Head("by CPU", "M ops/CPU s"), Head("RSS", "MiB"),
            Head("peak RSS", "MiB"), Head("minor faults"), Head("system calls"),
            Head("of them hakmem's")]
    note = f"Up to {together} epochs a line: medians of speeds, sums of faults and calls, the " \
           "last of the rest." if together > 1 else ""
    return Table("Epochs", head, lines, True, note)


def soak_section(context):
    found = soaks(context.sources.get("soak", []))
    if not found:
        return None
    plotted = []
    seen = [soak.allocator for soak in found]
    for title, column, divisor, name in (("Speed by epoch", "ops_per_s", 1e6, "speed [M ops/s]"),
                                         ("RSS at the end of an epoch", "rss_kib", 1024,
                                          "RSS [MiB]")):
        drawn = [[(row["time_s"], row[column] / divisor) for row in soak.rows
                  if row[column] is not None] for soak in found]
        every = [point for points in drawn for point in points]
        if not every:
            continue
        x = plots.time_axis(max(t for t, _ in every))
        y = plots.linear_axis(max(v for _, v in every), name)
        curves = [plots.curve(soak.name, context.slots[soak.allocator], points, x, y,
                              dash=seen[:at].count(soak.allocator) % 4)
                  for at, (soak, points) in enumerate(zip(found, drawn)) if points]
        plotted.append(Lines(title, x, y, curves[::-1]))
    lead = f"Long runs are cut into at most {plots.POINTS_MAX} pieces: the line goes through " \
           "their medians, the band from their smallest to their largest value."
    return Section("soak", "Soak", [("text", lead), ("lines", plotted),
                                    ("table", soak_table(context.sources["soak"])),
                                    ("table", _epoch_table(found))])


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


CALLS = ("mmap", "munmap", "madvise", "other")


def with_all_calls(sources):
    """Sources with two columns more, calls and all_per_million, of all calls together: glibc grows
    its heap by brk, which is none of the named ones."""
    found = []
    for source in sources:
        rows = []
        for row in source.rows:
            known = all(row[c] is not None for c in (*CALLS, "ops")) and row["ops"]
            calls = sum(row[c] for c in CALLS) if known else None
            rows.append(row | {"calls": calls,
                               "all_per_million": 1e6 * calls / row["ops"] if known else None})
        found.append(report_files.Source(source.name, source.kind, source.facts, rows, []))
    return found


def syscalls_table(sources):
    lines = []
    for workload, arguments, by_name in counts(with_all_calls(sources), "all_per_million"):
        for name in compare.in_order(by_name):
            row = by_name[name]
            lines.append([workload, arguments, name, text.figure(row["all_per_million"]),
                          text.figure(row["per_million_ops"]),
                          *(text.plain(row[c]) for c in (*CALLS, "calls", "inside", "ops"))])
    head = [Head("workload", "", True), Head("arguments", "", True), Head("allocator", "", True),
            Head("all calls", "per million ops"), Head("named calls", "per million ops"),
            *(Head(c) for c in CALLS), Head("all calls"), Head("by hakmem's count"), Head("ops")]
    return Table("System calls", head, lines, False,
                 "Named calls: mmap, munmap, madvise. Other: all the rest, as brk is.")


def syscalls(context):
    sources = context.sources.get("syscalls", [])
    groups = counts(with_all_calls(sources), "all_per_million")
    if not groups:
        return None
    values = [row["all_per_million"] for *_, by_name in groups for row in by_name.values()]
    above = [value for value in values if value > 0] or [1]
    zero = min(values) <= 0
    axis = plots.decade_axis(min(above) / (10 if zero else 1), max(above),
                             "system calls per million operations (left is fewer)",
                             lambda value: f"{value:,.10g}")
    if zero:
        axis = axis._replace(ticks=[(0, "0"), *axis.ticks[1:]])
    dots = _count_dots(context, groups, "all_per_million",
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


def shared_writes(context):
    """Counts of `hakmem bench --scaling`, a million operations; the sums that its own table shows."""
    lines = []
    for source in context.sources.get("scaling", []):
        for row in source.rows:
            sums = [scaling.total(row, what) for what in scaling.SUMS.values()]
            lines.append([row["workload"], row["arguments"], f"{row['threads']:.0f}",
                          *(text.plain(round(1e6 * n / row["ops"])) for n in sums)])
    if not lines:
        return None
    head = [Head("workload", "", True), Head("arguments", "", True), Head("threads"),
            *map(Head, scaling.SUMS)]
    return Section("shared-writes", "Writes to shared memory",
                   [("table", Table("Writes to shared memory", head, lines, False,
                                    "A million operations, hakmem's observe build."))])


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
        ("table", sections.standings(rows, compare.PEAK,
                                     f"Real programs: peak RSS against {base}")),
        ("table", sections.versus(rows, compare.CPU,
                                  "Real programs: hakmem's speed against each, by CPU time")),
        ("table", _programs_table(rows))]
    return Section("programs", "Real programs", [block for block in blocks if block[1]])


# ---- A/B ----------------------------------------------------------------------------------------

class Duel(NamedTuple):
    """Two arms on one workload; verdict: None without figures that both have."""

    source: object
    workload: str
    arguments: str
    arms: tuple  # what base and candidate are
    n: int
    disturbed: int
    verdict: stats.Verdict


def _duel(source, workload, arguments, rows):
    facts, arms = source.facts, sorted({row["arm"] for row in rows})
    column = facts.get("judged_by", "ops_per_s")
    column = column if column in rows[0] else "ops_per_s"
    a, b = ({row["repetition"]: row[column] for row in rows
             if row["arm"] == arm and not row["disturbed"] and row[column]}
            for arm in (arms[0], arms[-1]))
    common = sorted(a.keys() & b.keys()) if len(arms) == 2 else []
    verdict = stats.verdict([b[at] for at in common], [a[at] for at in common],
                            threshold(source)) if common else None
    return Duel(source, workload, arguments,
                tuple(facts.get(arm) or arm for arm in (arms[0], arms[-1])), len(common),
                sum(1 for row in rows if row["disturbed"]), verdict)


def threshold(source):
    """Percent, as the run had it."""
    try:
        return float(source.facts.get("threshold_percent", ""))
    except ValueError:
        return stats.SWITCH


def duels(sources):
    """[Duel], in the order of the files."""
    return [_duel(*key, rows)
            for key, rows in sections.grouped(sources, "workload", "arguments").items()]


def ab_table(sources):
    lines = []
    for duel in duels(sources):
        ratio = duel.verdict.ratio if duel.verdict else None
        lines.append([duel.verdict.word if duel.verdict else "no figures", duel.workload,
                      duel.arguments, duel.arms[1], duel.arms[0],
                      text.percent(100 * (ratio.value - 1), 2) if ratio else text.NONE,
                      text.interval(ratio, 4), f"{threshold(duel.source):g}", str(duel.n),
                      str(duel.disturbed), str(duel.source.number)])
    head = [Head("verdict", "", True), Head("workload", "", True), Head("arguments", "", True),
            Head("candidate", "", True), Head("base", "", True), Head("change", "%"),
            Head("95 % interval of the ratio"), Head("threshold", "%"), Head("n"),
            Head("disturbed"), Head("file")]
    return Table("Verdicts of A/B", head, lines, False,
                 "GO: the candidate is faster by the threshold or more, and the whole interval is "
                 "above 1. NO-GO: the same below. NEUTRAL: neither. Disturbed runs were redone, "
                 "and are left out.")


def ab(context):
    sources = context.sources.get("ab", [])
    found = [duel for duel in duels(sources) if duel.verdict]
    blocks = [("table", ab_table(sources))] if sources else []
    if found:
        ratios = [duel.verdict.ratio for duel in found]
        axis = plots.ratio_axis([x for one in ratios for x in one
                                 if one.value / 1.1 < x < one.value * 1.1],
                                "candidate's speed, × base (right is faster)")
        rows = []
        for duel in found:
            one = duel.verdict.ratio
            known = one.low > 0 and not math.isinf(one.high)
            said = f"{duel.workload}: {one.value:.4f}, 95 % interval {text.interval(one, 4)}, " \
                   f"n = {duel.n}"
            lane = Lane(0, "", axis.at(one.value), axis.at(one.low) if known else None,
                        axis.at(one.high) if known else None, said)
            rows.append((duel.workload, f"{duel.arguments} · {duel.arms[1]} against {duel.arms[0]}",
                         f"{one.value:.4f} {duel.verdict.word}", [lane]))
        blocks.insert(0, ("dots", Dots("Ratio of speeds, candidate to base", axis, rows, [],
                                       "ratio, verdict", axis.at(1))))
    return Section("ab", "A/B verdicts", blocks) if blocks else None


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
