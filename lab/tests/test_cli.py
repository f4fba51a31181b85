# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The command line: usage, refusals, interrupts, progress."""

import io
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from lab import cli


def test_usage_names_every_command(hakmem):
    done = hakmem("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in cli.COMMANDS)
    assert hakmem().returncode == 2


def test_an_unknown_command_is_refused_in_one_line(hakmem):
    done = hakmem("bogus")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "'bogus'" in done.stderr


def test_an_unknown_option_is_refused_in_one_line(hakmem):
    for command in ("options", "ab"):
        done = hakmem(command, "--bogus")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.fixture(name="command")
def fixture_command(monkeypatch):
    """command(main) is run as `hakmem probe`."""
    def install(main):
        monkeypatch.setitem(cli.COMMANDS, "probe", "is a test's")
        monkeypatch.setitem(sys.modules, "lab.probe", types.SimpleNamespace(main=main))
        return cli.run(["probe", "x"])
    before = signal.getsignal(signal.SIGTERM)
    yield install
    signal.signal(signal.SIGTERM, before)


def test_how_commands_end(command, capsys):
    assert command(lambda argv: len(argv) + 6) == 7
    assert command(lambda argv: cli.fail("no such thing", 3)) == 3
    assert capsys.readouterr().err == "hakmem: no such thing\n"

    def missing(argv):
        raise ModuleNotFoundError("no numpy", name="numpy")
    assert command(missing) == 1
    assert "apt-get install python3-numpy" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_interrupt(command, capsys, number):
    kept = []

    def work(argv):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            kept.append("results")
    assert command(work) == 128 + number
    assert kept == ["results"]
    assert "interrupted" in capsys.readouterr().err


def test_a_closed_pipe_is_no_traceback(hakmem):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(cli.__file__).replace("lab/cli.py", "hakmem"), "options"],
                          stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


class Terminal(io.StringIO):
    """A stream that says whether it is a terminal; 40 columns wide."""

    def __init__(self, live):
        super().__init__()
        self.live = live

    def isatty(self):
        return self.live

    def fileno(self):
        return 99


@pytest.fixture(name="narrow")
def fixture_narrow(monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((40, 24)))


def progress_of(live, times):
    """What a Progress writes that is shown at these times of a run of 100 seconds."""
    now = [1000.0]
    stream = Terminal(live)
    progress = cli.Progress(100, stream, now=lambda: now[0])
    for at in times:
        now[0] = 1000.0 + at
        progress.show(at, "an item")
    return progress, stream


def test_progress_is_silent_at_first():
    for live in (True, False):
        assert progress_of(live, [0, 1, 1.9])[1].getvalue() == ""


def test_progress_on_a_terminal_rewrites_one_line(narrow):
    progress, stream = progress_of(True, [2, 2.1, 50])
    first, second = stream.getvalue().split("\r")[1:]
    assert first.startswith("[  2%] 0:02 spent, 1:38 left: an item")
    assert second.startswith("[ 50%] 0:50 spent, 0:50 left: an item")
    assert all(len(line) <= 39 + len("\x1b[K") for line in (first, second))
    progress.clear()
    assert stream.getvalue().endswith("\r\x1b[K") and "\n" not in stream.getvalue()


def test_progress_elsewhere_is_a_line_every_half_minute():
    progress, stream = progress_of(False, [1, 3, 10, 33, 40, 64])
    assert [line[:6] for line in stream.getvalue().splitlines()] == ["[  3%]", "[ 33%]", "[ 64%]"]
    progress.clear()
    assert "\r" not in stream.getvalue()


def test_progress_without_anything_done_knows_no_time():
    now = [0.0]
    stream = Terminal(False)
    progress = cli.Progress(10, stream, now=lambda: now[0])
    now[0] = 5
    progress.show(0, "warm-up")
    assert "time left unknown: warm-up" in stream.getvalue()


def test_clock():
    assert [cli.clock(s) for s in (0, 59.6, 90, 3700)] == ["0:00", "1:00", "1:30", "1:01:40"]
