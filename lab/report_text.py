# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""How a report writes figures, and the tables that page and scorecard share."""

import math
from typing import NamedTuple

NONE = "–"  # in a cell: there is no such figure, and the text says why


class Head(NamedTuple):
    """A column: its name, its unit, and whether it is text (figures are aligned right)."""

    name: str
    unit: str = ""
    text: bool = False


class Table(NamedTuple):
    """rows of str. shut: behind a plot, to be opened."""

    caption: str
    head: list
    rows: list
    shut: bool = False
    note: str = ""


def words(names):
    """a, b and c."""
    names = list(names)
    return " and ".join([", ".join(names[:-1])] * bool(names[:-1]) + names[-1:])


def count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value, digits=3):
    """With so many figures, without exponents; thousands by commas."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(places, 0)}f}"


def plain(value):
    """A count."""
    return NONE if value is None else f"{value:,.0f}"


def mega(value):
    return NONE if value is None else figure(value / 1e6)


def mib(kib):
    return NONE if kib is None else f"{kib / 1024:,.1f}"


def nanoseconds(value):
    if math.isinf(value):
        return "beyond the last bucket"
    for limit, divisor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if value < limit:
            return f"{figure(value / divisor) if unit != 'ns' else format(value, '.0f')} {unit}"
    return f"{figure(value / 1e9)} s"


def ratio(found, digits=2):
    return NONE if found is None else f"{found.value:.{digits}f}"


def interval(found, digits=2):
    """low–high."""
    if found is None:
        return NONE
    if math.isinf(found.high) or found.high > 1e6 or found.low <= 0:
        return "unknown"
    return f"{found.low:.{digits}f}–{found.high:.{digits}f}"


def percent(value, digits=1):
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "−")
