# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""docs/SCORECARD.md: hakmem beside every peer, in tables of text. The same files give the same
text."""

from lab import report_compare as compare
from lab import report_more as more
from lab import report_sections as sections
from lab import report_summary as summary
from lab.report_text import Head, Table


def _suite(sources):
    rows = compare.gather(sources)
    if not rows:
        return []
    base = compare.base_of(rows)
    return [
        ("Speed", [
            sections.standings(rows, compare.SPEED, f"Speed against {base}",
                               ("by CPU", compare.SPEED_BY_CPU)),
            sections.versus(rows, compare.SPEED, "hakmem's speed against each"),
            sections.row_by_row(rows, compare.SPEED, "Wins and losses in speed, row by row")]),
        ("Memory", [
            sections.standings(rows, compare.PEAK, f"Peak RSS against {base}"),
            sections.versus(rows, compare.PEAK, "hakmem's peak RSS against each"),
            sections.row_by_row(rows, compare.PEAK, "Wins and losses in peak RSS, row by row")]),
    ]


def _programs(sources):
    rows = compare.gather(sources)
    if not rows:
        return []
    base = compare.base_of(rows)
    return [("Real programs", [
        sections.standings(rows, compare.CPU, f"Real programs: speed against {base}, by CPU time",
                           ("by wall time", compare.WALL)),
        sections.standings(rows, compare.PEAK, f"Real programs: peak RSS against {base}"),
        sections.row_by_row(rows, compare.CPU, "Real programs: wins and losses in speed"),
        sections.row_by_row(rows, compare.PEAK, "Real programs: wins and losses in peak RSS")])]


def parts(sources):
    """[(title, [Table])]: what was not measured says so instead of being left out."""
    def of(kind, title, make):
        files = sources.get(kind, [])
        return [(title, [make(files)] if files else [])]

    found = _suite(sources.get("suite", [])) or [("Speed", []), ("Memory", [])]
    found += of("memory", "Memory over time", sections.rss_table)
    if sources.get("retain"):
        found += of("retain", "What stays", sections.retain_table)
    found += of("syscalls", "System calls", more.syscalls_table)
    found += of("soak", "Stability", more.soak_table)
    found += of("latency", "Tail latency", sections.latency_table)
    found += of("instructions", "Instructions", more.instructions_table)
    found += _programs(sources.get("programs", [])) or [("Real programs", [])]
    return [(title, [table for table in tables if table]) for title, tables in found]


def troubles_table(sources):
    """None, if nothing failed."""
    found = summary.troubles(sources)
    head = [Head("kind", "", True), Head("row", "", True), Head("allocator", "", True),
            Head("what", "", True)]
    return Table("Missing or failed", head, [list(line) for line in found]) if found else None
