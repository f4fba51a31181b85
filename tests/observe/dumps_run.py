#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What HAKMEM_STATS and its relatives write: at exit, on a signal, every so often, by a call; as text
and as JSON, in every profile. The names are those of docs/statistics.md, and the parts make up the
whole.

    dumps_run.py PROGRAM --library libhakmem.so --page docs/statistics.md
"""

import argparse
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

PROFILES = ("speed", "balanced", "lean", "hardened")
PARTS = ("live bins ways mail quarantine free_blocks idle tails warm bigcache huge_cached dirty lazy "
         "prefaulted metadata").split()
WAIT_S = 10


class Program:
    """One run of the test program, with these variables."""

    def __init__(self, path, words, variables, **options):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
        env.update({f"HAKMEM_{k}": v for k, v in variables.items()})
        self.process = subprocess.Popen([path, *words], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        **options)

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"
        return self

    def end(self):
        """(stdout, stderr)."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.process.returncode, err)
        return out, err


def check(report, profile, number):
    """A report that has been parsed."""
    assert report["schema"] == 1 and report["profile"] == profile, report
    assert report["number"] == number and report["pid"] > 1 and report["time_ns"] > 0
    assert sum(report[name] for name in PARTS) == report["resident"]
    assert report["live"] > 40 << 20 and report["huge"] >= 40 << 20 and report["span_blocks"] >= 10
    assert report["committed"] <= report["mapped"] and report["heaps"] >= 1
    assert report["calls"]["map"] > 0
    assert len(report["classes"]) > 50
    for row in report["classes"]:
        assert row["carved"] == sum(row[name] for name in PARTS if name in row)
        assert 0 < row["carved"] <= row["blocks"]
    live = sum(row["live"] * row["size"] for row in report["classes"])
    live += report["spans"] + report["huge"]
    assert live == report["live"] or profile == "hardened" and live > report["live"]


def names_in(report):
    """Every name of a report, with those inside of lists and objects."""
    for name, value in report.items():
        yield name
        if isinstance(value, list):
            value = value[0]
        if isinstance(value, dict) and name != "counters":
            yield from names_in(value)


def eventually(what):
    """What what() returns, once that is true."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            assert found, "nothing was written"
            return found
        time.sleep(0.02)


class Tests:
    def __init__(self, arguments, folder):
        self.path = arguments.program
        self.library = arguments.library
        self.page = Path(arguments.page).read_text(encoding="utf-8")
        self.folder = folder

    def run(self, *words, **variables):
        return Program(self.path, words, variables).end()

    def test_json_in_every_profile(self):
        for profile in PROFILES:
            out, err = self.run("exit", PROFILE=profile, STATS="json")
            assert out == ""
            check(json.loads(err), profile, 0)

    def test_the_page_has_every_name(self):
        names = set(names_in(json.loads(self.run("exit", STATS="json")[1])))
        missing = sorted(name for name in names if f"`{name}`" not in self.page)
        assert not missing, missing

    def test_text(self):
        err = self.run("exit", STATS="1")[1]
        found = dict(m.groups() for m in re.finditer(r"(?m)^hakmem: (\w+) +(\d+)", err))
        assert sum(int(found[name]) for name in PARTS) == int(found["resident"])

    def test_nothing_unless_asked(self):
        assert self.run("exit") == ("", "")
        assert self.run("exit", STATS="0") == ("", "")

    def test_a_call_prints(self):
        out, err = self.run("print", "json")
        for text in (out, err):
            check(json.loads(text), "balanced", 0)
        out, err = self.run("print", "text")
        for text in (out, err):
            assert re.search(r"(?m)^hakmem: resident +\d+", text)
            assert "hakmem: class     64 bytes: slabs" in text
            assert "hakmem: os map " in text and "hakmem: warm units " in text

    def test_a_file(self):
        program = Program(self.path, ["exit"], {"STATS": f"{self.folder}/a-%p-%n.json"})
        assert program.end() == ("", "")
        path = self.folder / f"a-{program.process.pid}-0.json"
        report = json.loads(path.read_text())
        check(report, "balanced", 0)
        assert report["pid"] == program.process.pid
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_link_is_not_followed(self):
        target, link = self.folder / "target", self.folder / "link"
        target.write_text("precious")
        link.symlink_to(target)
        err = self.run("exit", STATS=str(link))[1]
        assert "can't write this file" in err and target.read_text() == "precious"
        check(json.loads(self.run("exit", STATS="/dev/stderr")[1]), "balanced", 0)

    def test_a_signal(self):
        for name in ("USR2", "SIGUSR2", str(int(signal.SIGUSR2))):
            program = Program(self.path, ["wait"], {
                "STATS_SIGNAL": name, "STATS": f"{self.folder}/{name}-%n.json"}).ready()
            for number in range(2):
                program.process.send_signal(signal.SIGUSR2)
                path = self.folder / f"{name}-{number}.json"
                text = eventually(lambda p=path: p.exists() and p.read_text().endswith("\n}\n")
                                  and p.read_text())
                check(json.loads(text), "balanced", number)
            assert program.end() == ("", "")
            check(json.loads((self.folder / f"{name}-2.json").read_text()), "balanced", 2)

    def test_a_signal_alone(self):
        program = Program(self.path, ["wait"], {"STATS_SIGNAL": "RTMIN+1"}).ready()
        program.process.send_signal(signal.SIGRTMIN + 1)
        line = program.process.stderr.readline()
        assert re.match(r"hakmem: mapped +\d+", line), line
        program.end()

    def test_the_programs_own_handler(self):
        program = Program(self.path, ["own"], {"STATS_SIGNAL": "USR2"}).ready()
        program.process.send_signal(signal.SIGUSR2)
        assert program.process.stdout.readline() == "own\n"
        time.sleep(0.2)
        assert program.end() == ("", "")

    def test_a_signal_that_is_ignored_stays_so(self):
        program = Program(self.path, ["wait"], {"STATS_SIGNAL": "USR2"},
                          preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN)).ready()
        program.process.send_signal(signal.SIGUSR2)
        time.sleep(0.2)
        out, err = program.end()
        assert out == "" and err.count("\n") == 1 and "ignored" in err

    def test_bad_signals(self):
        for name in ("KILL", "9", "SEGV", "11", "33", "65", "NOPE", "1x", "RTMIN+x", "SIG", "-1"):
            err = self.run("exit", STATS_SIGNAL=name)[1]
            assert err.count("\n") == 1 and f"HAKMEM_STATS_SIGNAL={name}: not a signal" in err, err

    def test_every_so_often(self):
        program = Program(self.path, ["wait"], {
            "STATS_EVERY": "30", "STATS": f"{self.folder}/every-%n.json"}).ready()
        eventually(lambda: (self.folder / "every-5.json").exists())
        program.end()
        times = [json.loads((self.folder / f"every-{n}.json").read_text())["time_ns"]
                 for n in range(4)]
        assert times == sorted(times) and times[3] - times[0] >= 60e6

    def test_single_dumps(self):
        for variable, pattern in (
                ("SS_OS_STATS", r"os map \d+ unmap \d+ remap \d+ purge \d+ \(\d+ bytes\) populate \d+"),
                ("SS_STATS_DUMP", r"superslab 0x[0-9a-f]+ used \d+ dirty \d+"),
                ("TINY_MEM_DUMP", r"class +\d+ bytes: slabs \d+ blocks \d+ carved \d+ live \d+"),
                ("WARM_POOL_STATS", r"warm units \d+")):
            lines = self.run("exit", **{variable: "1"})[1].splitlines()
            assert lines and all(re.match("hakmem: " + pattern, line) for line in lines), lines

    def test_preloaded(self):
        env = {**os.environ, "LD_PRELOAD": self.library, "HAKMEM_STATS": "json"}
        done = subprocess.run(["/bin/true"], env=env, stderr=subprocess.PIPE, check=True)
        assert json.loads(done.stderr)["schema"] == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--library", required=True)
    parser.add_argument("--page", required=True)
    parser.add_argument("--only", default="test_")
    arguments = parser.parse_args()
    failed = 0
    for name in [name for name in dir(Tests) if name.startswith(arguments.only)]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                getattr(Tests(arguments, Path(folder)), name)()
            except (AssertionError, ValueError, KeyError, OSError, AttributeError,
                    subprocess.SubprocessError) as error:
                failed += 1
                lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
                print(f"{name}: lines {lines[1:]}: {type(error).__name__}: {str(error)[:1500]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
