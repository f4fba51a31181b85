# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Geometry of the plots: axes, ticks, and curves as paths. lab/page/macros.html.jinja draws them.

Positions are percent of the plot, from the left and from the top, so that a plot fills whatever
width the page has while its text keeps its size. Curves are paths in a square of 1000 x 1000, which
the browser stretches.
"""

import math
from typing import NamedTuple

from lab import report_compare as compare

SHAPES = 8  # markers in lab/page/page.html.jinja
SLOTS = 14  # colours in lab/page/page.css
POINTS_MAX = 300  # of a curve; longer ones are drawn as median and band


class Axis(NamedTuple):
    """low, high: limits. log: whether by logarithm. ticks: [(percent, text)]."""

    low: float
    high: float
    log: bool
    ticks: list
    name: str = ""

    def at(self, value):
        """Percent from the low end, kept inside."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, 1e-300)), math.log(low), math.log(high)
        return round(min(max(100 * (value - low) / (high - low), 0), 100), 2)


def series_slots(names):
    """{allocator: number of its colour and marker}: fixed for those that are known by name."""
    slots = {name: at for at, name in enumerate(compare.ORDER)}
    others = [name for name in compare.in_order(names) if name not in slots]
    free = SLOTS - len(compare.ORDER)
    return slots | {name: len(compare.ORDER) + at % free for at, name in enumerate(others)}


# ---- Axes ---------------------------------------------------------------------------------------

RATIO_TICKS = [[1 + n * step for n in range(-400, 400) if 1 + n * step > 0.05]
               for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.25)]
RATIO_TICKS += [[0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16],
                [0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64],
                [1e-4, 0.001, 0.01, 0.1, 1, 10, 100, 1000, 1e4, 1e5, 1e6]]
GAP_MIN = 11  # percent between ticks, so that their text fits on a phone


def _apart(ticks):
    return all(b[0] - a[0] >= GAP_MIN for a, b in zip(ticks, ticks[1:]))


def ratio_axis(values, name):
    """By logarithm, around 1."""
    values = [value for value in values if 0 < value < math.inf] + [1]
    low, high = min(values), max(values)
    room = max((high / low) ** 0.06, 1.01)
    axis = Axis(low / room, high * room, True, [], name)
    for ticks in RATIO_TICKS:
        found = [(axis.at(t), f"{t:.4g}") for t in ticks if axis.low <= t <= axis.high]
        if _apart(found):
            break
    return axis._replace(ticks=found)


def _step(span, wanted):
    """The smallest round step that cuts the span into at most that many."""
    power = math.floor(math.log10(span / wanted)) - 1
    for up in range(3):
        for step in (1, 2, 2.5, 5):
            if span / (step * 10.0 ** (power + up)) <= wanted:
                return step * 10.0 ** (power + up)
    return span


def linear_axis(high, name):
    """From 0, where quantities begin, to a round limit."""
    step = _step(high or 1, 5)
    count = max(math.ceil((high or 1) / step - 1e-9), 1)
    axis = Axis(0, count * step, False, [], name)
    return axis._replace(ticks=[(axis.at(n * step), f"{n * step:.10g}") for n in range(count + 1)])


def time_axis(high):
    """Seconds from 0 to the last one, in the unit that suits."""
    unit, name = (3600, "h") if high > 3 * 3600 else (60, "min") if high > 300 else (1, "s")
    axis = Axis(0, high or 1, False, [], f"time [{name}]")
    step = _step(axis.high / unit, 6)
    ticks = [n * step for n in range(int(axis.high / unit / step) + 1)]
    return axis._replace(ticks=[(axis.at(t * unit), f"{t:.10g}") for t in ticks])


def decade_axis(low, high, name, text):
    """Powers of ten that hold low and high."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    axis = Axis(10.0 ** first, 10.0 ** last, True, [], name)
    every = math.ceil((last - first) / 5)
    return axis._replace(ticks=[(axis.at(10.0 ** p), text(10.0 ** p))
                                for p in range(first, last + 1, every)])


# ---- Curves -------------------------------------------------------------------------------------

class Curve(NamedTuple):
    """slot: colour and marker. path and band: SVG paths in the square. marks: [(x, y, text)] in
    percent. dash: 0 for a whole line."""

    name: str
    slot: int
    path: str
    band: str = ""
    marks: tuple = ()
    dash: int = 0


def thin(points):
    """[(x, low, middle, high)] of at most POINTS_MAX pieces of [(x, y)]."""
    size = math.ceil(len(points) / POINTS_MAX)
    found = []
    for at in range(0, len(points), size):
        piece = points[at:at + size]
        ys = sorted(y for _, y in piece)
        found.append((piece[len(piece) // 2][0], ys[0], ys[len(ys) // 2], ys[-1]))
    return found


def path(points, x, y, steps=False):
    """Through [(x, y)], in the square."""
    words, before = [], None
    for px, py in points:
        left, top = f"{10 * x.at(px):.5g}", f"{1000 - 10 * y.at(py):.5g}"
        if steps and before is not None:
            words.append(f"H{left}")
        words.append(f"{'L' if before is not None else 'M'}{left} {top}")
        before = top
    return "".join(words)


def curve(name, slot, points, x, y, marks=False, dash=0, steps=False):
    """A Curve through [(x, y)]; long ones as the medians of pieces, with a band of their range."""
    if len(points) > POINTS_MAX and not steps:
        pieces = thin(points)
        outline = [(p[0], p[3]) for p in pieces] + [(p[0], p[1]) for p in reversed(pieces)]
        return Curve(name, slot, path([(p[0], p[2]) for p in pieces], x, y),
                     path(outline, x, y) + "Z", (), dash)
    dots = tuple((x.at(px), round(100 - y.at(py), 2), f"{name}: {py:.4g}") for px, py in points) \
        if marks else ()
    return Curve(name, slot, path(points, x, y, steps), "", dots, dash)
