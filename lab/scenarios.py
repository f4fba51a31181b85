# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What allocators retain: the scenarios of bench_retain, each in a process of its own.

Part of hakmem bench --memory, which lab.memory begins.
"""

import re
import statistics
from typing import NamedTuple

from lab import cli, places, rounds, runs

PROGRAM = "bench_retain"
# Numbers of each: what bench_retain SCENARIO --help tells. They are written out, so that a file of
# results names them.
USUAL = [
    "equal 1024 1000 13",
    "equal 1024 16777216 13",
    "burst 250000 200 3200 20000 11 1",
    "scatter 2048 16 65536 90 10 1",
    "dead 100 1000 3",
    "sleepers 100 64 1000 4 3",
    "shift 64 90 1 1",
    "crowd 64 16 1 16 2000 1",
    "queue 64 2048 16 2000 1",
    "handed 64 8 16 2000 1 1",
]
FIGURES = "own_kib live_kib left_kib freed_kib rss_kib calls".split()
COLUMNS = ["scenario", "arguments", "allocator", "repetition", "status", *FIGURES, "peak_kib"]


class Scenario(NamedTuple):
    name: str
    arguments: str = ""

    def command(self):
        return [str(program()), self.name, *self.arguments.split()]

    def label(self):
        return f"{self.name} {self.arguments}".strip()


def program():
    return places.build_dir() / "bench" / f"{PROGRAM}_system"


def choose(given):
    """The usual ones, or those of --scenario: 'NAME [NUMBER]…'."""
    known = list(dict.fromkeys(words.split()[0] for words in USUAL))
    found = []
    for words in given or USUAL:
        name, _, arguments = words.strip().partition(" ")
        if name not in known:
            cli.fail(f"there is no scenario '{name}': {', '.join(known)}")
        found.append(Scenario(name, arguments.strip()))
    if not program().exists():
        cli.fail(f"{PROGRAM} is not built: build the programs first (make)", 1)
    return found


def measure(scenario, allocator):
    """(Finished, {column: number}); no numbers when it failed, or another malloc served it."""
    done = runs.execute(scenario.command(), allocator.env())
    found = runs.RESULT.search(done.output)
    if done.status != "ok" or not found or not allocator.served(found[5]):
        return done, {}
    told = dict(re.findall(r"\b(\w+)=(\d+)", found[0]))
    return done, {**{name: int(told[name]) for name in FIGURES if name in told},
                  "peak_kib": int(found[4])}


def main(plan, folder):
    """Measures all; whether every run succeeded."""
    rows = choose(plan.scenarios)
    runs_of = [x for x in rounds.order(rows, plan.allocators, plan.repetitions) if x[0] >= 0]
    progress = cli.Progress(len(runs_of))
    found, whole = {}, True
    with rounds.opened(folder / "retain.csv", "retain", COLUMNS, plan.allocators,
                       repetitions=plan.repetitions) as writer:
        for number, (repetition, scenario, allocator) in enumerate(runs_of):
            progress.show(number, f"{scenario.name}, {allocator.name}")
            done, figures = measure(scenario, allocator)
            rounds.log(folder, f"retain-{scenario.name}", scenario.command(), allocator, done)
            status = done.status if figures or done.status != "ok" else "no result"
            writer.row(scenario=scenario.name, arguments=scenario.arguments,
                       allocator=allocator.name, repetition=repetition, status=status, **figures)
            if figures:
                found.setdefault((scenario, allocator.name), []).append(figures)
            else:
                progress.clear()
                cli.note(f"{scenario.label()} under {allocator.name}: {status}")
                whole = False
    progress.clear()
    tables(rows, [a.name for a in plan.allocators], found)
    print(f"\nEvery run: {places.shown(folder / 'retain.csv')}")
    return whole


# ---- Tables ---------------------------------------------------------------------------------------

def own(scenario, names, found):
    """KiB that are the program's: the least RSS before the first block, under any allocator."""
    return min(run["own_kib"] for name in names for run in found.get((scenario, name), ()))


def at_end(run, own_kib):
    """MiB at the end, over the program's own."""
    return max(run["rss_kib"] - own_kib, 0) / 1024


def blow_up(run, own_kib):
    """Peak over the most that was live."""
    return max(run["peak_kib"] - own_kib, 0) / run["live_kib"]


def over_left(run, own_kib):
    """At the end, over what is live then."""
    return max(run["rss_kib"] - own_kib, 0) / run["left_kib"]


def cell(values):
    """Their median; with the range, where that is over a twentieth."""
    values = sorted(values)
    median = rounds.figures(statistics.median(values))
    if values[-1] - values[0] <= statistics.median(values) / 20:
        return median
    return f"{median} ({rounds.figures(values[0])}–{rounds.figures(values[-1])})"


def table(title, rows, names, found, figure):
    lines = []
    for scenario in rows:
        if any((scenario, name) in found for name in names):
            own_kib = own(scenario, names, found)
            lines.append([scenario.label(), *(
                cell([figure(run, own_kib) for run in found[scenario, name]])
                if (scenario, name) in found else "–" for name in names)])
    print()
    rounds.show([title, *names], lines, left=1)


def tables(rows, names, found):
    table("MiB at the end", rows, names, found, at_end)
    table("peak / live", rows, names, found, blow_up)
    leave = [s for s in rows if any(r["left_kib"] for n in names for r in found.get((s, n), ()))]
    if leave:
        table("end / left", leave, names, found, over_left)
    callers = [n for n in names if any("calls" in r for s in rows for r in found.get((s, n), ()))]
    if callers:
        table("system calls", rows, callers, found, lambda run, _: run["calls"])
    print("\nOver the program's own, which is the least RSS before the first block under any of\n"
          "them. Medians; with the range, where that is over a twentieth. Peak: VmHWM. Live: the\n"
          "most that was, as asked for. Left: what is live at the end. System calls: hakmem's, from\n"
          "before the first free to the end.")
