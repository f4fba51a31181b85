# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The page of `hakmem rss`: memory over time, its heaps on top of each other, one picture an arm."""

import shlex
import statistics
from typing import NamedTuple

from lab import machine, report, report_plots as plots, rss
from lab.report_sections import Lines, Section
from lab.report_text import Head, Table

SLOTS = {"live": 4, "stuck": 9, "for speed": 2, "could go": 5, "records": 3}  # in lab/page/page.css
RSS_SLOT = 0
POINTS_MAX = 400


class Source(NamedTuple):
    facts: dict


def thinned(samples):
    """At most so many, the one with the most memory among them."""
    step = -(-len(samples) // POINTS_MAX)
    pieces = [samples[at:at + step] for at in range(0, len(samples), step)]
    return [max(piece, key=lambda sample: sample.resident_kib) for piece in pieces]


def layers(samples, x, y):
    """A Curve for each heap, from the bottom up: its upper edge, and the area down to the one below."""
    found, below = [], [0.0] * len(samples)
    for name in rss.HEAPS:
        above = [low + sample.heaps[name] / 1024 for low, sample in zip(below, samples)]
        upper = [(sample.time_s, value) for sample, value in zip(samples, above)]
        lower = [(sample.time_s, value) for sample, value in zip(samples, below)]
        found.append(plots.Curve(name, SLOTS[name], plots.path(upper, x, y),
                                 plots.path(upper + lower[::-1], x, y) + "Z"))
        below = above
    return found


def picture(arm, measured, x, y):
    """Of the run in the middle."""
    middle = sorted(measured, key=lambda one: one.peak_kib)[len(measured) // 2]
    samples = thinned(middle.samples)
    curves = layers(samples, x, y)
    seen = [(sample.time_s, sample.rss_kib / 1024) for sample in samples if sample.rss_kib is not None]
    if seen:
        curves.append(plots.Curve("RSS of the process", RSS_SLOT, plots.path(seen, x, y), dash=1))
    return Lines(arm.name(), x, y, curves)


def pictures(found):
    samples = [sample for measured in found.values() for one in measured for sample in one.samples]
    high = max(max(sample.resident_kib, sample.rss_kib or 0) for sample in samples) / 1024
    y = plots.linear_axis(high, "memory [MiB]")
    x = plots.time_axis(max(sample.time_s for sample in samples))
    return [picture(arm, measured, x, y) for arm, measured in found.items() if measured]


def figures(found):
    head, lines = rss.table(found)
    return Table("Memory at the peak", [Head("profile", "", True)]
                 + [Head(name, "MiB") for name in head[1:]], lines, False, rss.EXPLAINED)


def summary(program, found):
    runs = [len(measured) for measured in found.values()]
    said = [("Program", [shlex.join(program)]),
            ("Runs", [f"{statistics.median(runs):.0f} of each, interleaved; a picture is of the run "
                      "with the middle peak."])]
    return said


def write(folder, program, found):
    """rss.html in the folder."""
    sections = [Section("time", "Over time", [
        ("text", "From the bottom up: what hakmem's accounts say, each heap on top of the one "
                 "before; the line is RSS, read from outside."), ("lines", pictures(found))])]
    text = report.templates().get_template("page.html.jinja").render(
        sections=sections, slots={}, shapes=plots.SHAPES, overview=figures(found),
        summary=summary(program, found), sources=[Source(machine.facts("rss"))])
    path = folder / "rss.html"
    path.write_text(text, encoding="utf-8")
    return path
