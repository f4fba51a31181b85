# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Says in words who is where, what failed, and what was not measured: the head of the page and of
the scorecard."""

import math
import statistics

from lab import report_compare as compare
from lab import report_more as more
from lab import report_sections as sections
from lab import report_text as text
from lab.report_text import Head, Table

PEERS = [name for name in compare.ORDER if not name.startswith(compare.SUBJECT)]
MEANING = {
    "suite": "speed and peak memory of the workloads",
    "programs": "real programs",
    "syscalls": "system calls",
    "instructions": "instructions",
    "memory": "RSS over time",
    "retain": "what stays after the work",
    "latency": "latency",
    "soak": "soak",
    "ab": "A/B comparisons",
}
SAID_MAX = 12  # failures that the summary names one by one


def _leader(rows, measure, better, found):
    """Who is first of [(name, Standing)], and of whom that can't be said."""
    base = compare.base_of(rows)
    name, lead = found[0]
    if not (lead.mean.value < 1 if measure.smaller else lead.mean.value > 1):
        return f"{base} is the {better}"
    even, behind = [], []
    for other in [base, *(one for one, _ in found[1:])]:
        duel = compare.standing(rows, name, other, measure)
        if duel and (duel.mean.value > 1 if measure.smaller else duel.mean.value < 1):
            behind.append(f"behind {other} on the {text.count(len(duel.ratios), 'row')} that both "
                          "have")
        elif duel and compare.outcome(duel.mean, measure) == "even":
            even.append(other)
    said = [f"not told apart from {text.words(even)}"] if even else []
    return f"{name} is the {better}" + "".join(f", but {part}" for part in said + behind)


def _order(rows, measure, better):
    """Who stands where against the base, best first."""
    base = compare.base_of(rows)
    found = [(name, compare.standing(rows, name, base, measure))
             for name in compare.allocators(rows) if name != base]
    found = sorted(((name, one) for name, one in found if one),
                   key=lambda pair: pair[1].mean.value, reverse=not measure.smaller)
    if not found:
        return f"No row has both {base} and another allocator."
    most = max(len(one.ratios) for _, one in found)
    found.sort(key=lambda pair: len(pair[1].ratios) < most)  # means over fewer rows rank apart
    said = [f"{name} {text.ratio(one.mean)}"
            + (f" (over {text.count(len(one.ratios), 'row')} only)" if len(one.ratios) < most
               else "") for name, one in found]
    ahead = _leader(rows, measure, better, found)
    return f"{ahead}, by geometric mean over {text.count(most, 'row')}. " \
           f"As multiples of {base}'s: {', '.join(said)}."


def _own_rows(rows, measure):
    """hakmem's best and worst row, and its score against each."""
    base = compare.base_of(rows)
    own = compare.standing(rows, compare.SUBJECT, base, measure)
    if not own or base == compare.SUBJECT:
        return ""
    best, worst = own.best(measure), own.worst(measure)
    said = []
    for name in compare.allocators(rows):
        found = None if name == compare.SUBJECT else \
            compare.standing(rows, compare.SUBJECT, name, measure)
        if found:
            said.append(f"{name} {', '.join(map(str, found.counts(measure)))}")
    return f"hakmem: mean {text.ratio(own.mean)}, 95 % interval {text.interval(own.mean)}; best " \
           f"row {best[0].label} ({text.ratio(best[1])}), worst {worst[0].label} " \
           f"({text.ratio(worst[1])}). Rows won, lost, undecided against {'; '.join(said)}."


def _soak(sources):
    said = [f"{soak.name}: {more.soak_word(soak)} ({text.count(len(soak.rows), 'epoch')}, "
            f"{soak.rows[-1]['time_s']:,.0f} s)" for soak in more.soaks(sources)]
    return f"{'; '.join(said)}." if said else ""


def _latency(sources):
    """p99.9 by operation, as geometric means over the workloads that all have."""
    every = sections.histograms(sources)
    names = compare.in_order(name for by_name in every.values() for name in by_name)
    said = []
    for operation in sorted({key[3] for key in every}, reverse=True):
        common = [by_name for key, by_name in every.items()
                  if key[3] == operation and len(by_name) == len(names)]
        figures = []
        for name in names:
            limits = [sections.quantile(by_name[name], 0.999) for by_name in common]
            if limits and 0 < min(limits) and max(limits) < math.inf:
                figures.append(f"{name} {text.nanoseconds(statistics.geometric_mean(limits))}")
        if figures:
            said.append(f"p99.9 of {operation} over {text.count(len(common), 'workload')}: "
                        f"{', '.join(figures)}.")
    return " ".join(said)


def _together(groups, top, bottom):
    """{allocator: sum of one column over the sum of another}, over rows that all have."""
    names = compare.in_order(name for *_, by_name in groups for name in by_name)
    common = [by_name for *_, by_name in groups if len(by_name) == len(names)
              and all(row[top] is not None and row[bottom] for row in by_name.values())]
    return len(common), {name: sum(by_name[name][top] for by_name in common)
                         / sum(by_name[name][bottom] for by_name in common)
                         for name in names if common}


def _syscalls(sources):
    n, found = _together(more.counts(more.with_all_calls(sources), "calls"), "calls", "ops")
    said = ", ".join(f"{name} {text.figure(1e6 * value)}" for name, value in found.items())
    return f"Per million operations, {text.count(n, 'run')} together: {said}." if said else ""


def _instructions(sources):
    n, found = _together(more.counts(sources, "per_op"), "instructions", "ops")
    said = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
    return f"Per operation, {text.count(n, 'run')} together: {said}." if said else ""


def _ab(sources):
    found = [duel.verdict.word if duel.verdict else "without figures"
             for duel in more.duels(sources)]
    said = [f"{found.count(word)} {word}" for word in ("GO", "NEUTRAL", "NO-GO", "without figures")
            if word in found]
    return f"{text.words(said)}." if said else ""


def troubles(sources):
    """[(kind, row, allocator, what)] of suites and programs."""
    return [(kind, *found) for kind in ("suite", "programs")
            for found in compare.troubles(compare.gather(sources.get(kind, [])))]


def _troubles(sources):
    found = {}
    for _, row, name, what in troubles(sources):
        found.setdefault((row, what), []).append(name)
    said = [f"{row}, {text.words(names)}: {what}" for (row, what), names in found.items()]
    if len(said) > SAID_MAX:
        said[SAID_MAX:] = [f"and {len(said) - SAID_MAX} more, in the tables"]
    return f"{'; '.join(said)}." if said else "Nothing failed, and no row is missing." \
        if "suite" in sources or "programs" in sources else ""


def _disturbed(sources):
    runs = [row for kind in ("suite", "programs", "ab") for source in sources.get(kind, [])
            for row in source.rows]
    lost = sum(1 for row in runs if row["disturbed"])
    if not lost:
        return f"None of {text.count(len(runs), 'measurement')}." if runs else ""
    cells = [cell for kind in ("suite", "programs")
             for row in compare.gather(sources.get(kind, [])) for cell in row.cells.values()
             if cell.every]
    shaky = sum(1 for cell in cells if cell.shaky)
    said = f"{lost} of {text.count(len(runs), 'measurement')} ran while others used the machine"
    return f"{said}, and are left out of the figures." if not shaky else \
        f"{said}. {shaky} of {text.count(len(cells), 'figure')} rest on them, since fewer than " \
        f"{compare.FEW} calm repetitions are there; they are marked *, or drawn hollow. The " \
        "others leave them out."


def not_measured(sources):
    """Sentences on what is not there."""
    absent = [meaning for kind, meaning in MEANING.items() if kind not in sources]
    said = [f"Nothing of: {text.words(absent)}."] if absent else []
    for kind, files in sources.items():
        names = {row["allocator"] for source in files for row in source.rows
                 if "allocator" in row}
        if kind == "soak":
            names = {soak.allocator for soak in more.soaks(files)}
        missing = [name for name in [compare.SUBJECT] + PEERS if name not in names]
        if names and missing:
            meaning = MEANING[kind][0].upper() + MEANING[kind][1:]
            said.append(f"{meaning}: not of {text.words(missing)}.")
    return said


def differing(sources):
    """A sentence for each fact on which the files differ, though figures stand side by side."""
    files = [source for group in sources.values() for source in group]
    said = []
    for fact in ("cpu", "kernel", "libc", "commit", "flags"):
        values = {}
        for source in files:
            values.setdefault(source.facts.get(fact, "") or "unknown", []).append(source.number)
        if len(values) > 1:
            parts = [f"{value} (file {text.words(map(str, sorted(numbers)))})"
                     for value, numbers in values.items()]
            said.append(f"The files differ in {fact}: {'; '.join(parts)}.")
    dirty = sorted(source.number for source in files
                   if source.facts.get("commit", "").endswith("+"))
    if dirty:
        said.append("The tree had changes that are in no commit: file "
                    f"{text.words(map(str, dirty))}.")
    said += [f"File {source.number}: {note}." for source in files for note in source.notes]
    return said


def sentences(sources, refused):
    """[(topic, [sentence])], without empty ones."""
    suite = compare.gather(sources.get("suite", []))
    programs = compare.gather(sources.get("programs", []))
    has_peak = any(cell.values("peak_kib") for row in suite for cell in row.cells.values())
    found = [
        ("Refused files", [f"{sentence}." for sentence in refused]),
        ("Speed", [_order(suite, compare.SPEED, "fastest"), _own_rows(suite, compare.SPEED)]
         if suite else []),
        ("Memory", [_order(suite, compare.PEAK, "smallest"), _own_rows(suite, compare.PEAK)]
         if has_peak else []),
        ("Real programs", ["CPU time: " + _order(programs, compare.CPU, "fastest"),
                           "Peak RSS: " + _order(programs, compare.PEAK, "smallest")]
         if programs else []),
        ("Soak", [_soak(sources.get("soak", []))]),
        ("Latency", [_latency(sources.get("latency", []))]),
        ("System calls", [_syscalls(sources.get("syscalls", []))]),
        ("Instructions", [_instructions(sources.get("instructions", []))]),
        ("A/B", [_ab(sources.get("ab", []))]),
        ("Missing or failed", [_troubles(sources)]),
        ("Disturbed", [_disturbed(sources)]),
        ("Not measured", not_measured(sources)),
        ("Take care", differing(sources)),
    ]
    found = [(topic, [s for s in said if s]) for topic, said in found]
    return [(topic, said) for topic, said in found if said]


def overview(sources):
    """Table of all allocators: geometric means of each measure; None without rows."""
    suite = compare.gather(sources.get("suite", []))
    programs = compare.gather(sources.get("programs", []))
    columns = [(suite, compare.SPEED, "speed"), (suite, compare.SPEED_BY_CPU, "speed by CPU"),
               (suite, compare.PEAK, "peak RSS"), (programs, compare.CPU, "programs by CPU"),
               (programs, compare.PEAK, "programs' peak RSS")]
    columns = [column for column in columns if column[0]]
    if not columns:
        return None
    names = compare.allocators(suite + programs)
    lines = []
    for name in names:
        line = [name]
        for rows, measure, _ in columns:
            base = compare.base_of(rows)
            found = compare.standing(rows, name, base, measure)
            if not found:
                line.append("not measured")
                continue
            n = len(found.ratios)
            line.append("1" if name == base else text.ratio(found.mean)
                        + (f" ({text.count(n, 'row')})" if n < len(rows) else ""))
        lines.append(line)
    head = [Head("allocator", "", True)]
    head += [Head(title, f"× {compare.base_of(rows)}, {text.count(len(rows), 'row')}")
             for rows, _, title in columns]
    return Table("Where each allocator stands", head, lines, False,
                 "Geometric means over the rows that both have. Speed: above 1 is faster; RSS: "
                 "below 1 is smaller.")
