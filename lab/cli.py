# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The command line: which commands there are, how they fail, and how they show progress.

The standard library alone, and little of it: `hakmem run` stands before every start of a program.
"""

import importlib
import os
import signal
import sys
import time

COMMANDS = {
    "run": "runs a program on hakmem",
    "bench": "measures allocators: workloads, real programs, other suites",
    "ab": "compares two builds, binaries or environments, with a verdict",
    "rss": "tells where a program's memory is, at its peak and over time",
    "soak": "runs for long and watches memory and speed",
    "trace": "records what a program allocates, and replays it",
    "report": "turns results into one HTML page, or the scorecard",
    "options": "lists hakmem's options, their values and where those came from",
}
USAGE = 2  # exit status of a bad command line


class Failure(Exception):
    """A sentence for the user, and the exit status that goes with it."""

    def __init__(self, sentence, status=USAGE):
        super().__init__(sentence)
        self.status = status


def fail(sentence, status=USAGE):
    """Ends the command with a sentence on stderr."""
    raise Failure(sentence, status)


def note(sentence):
    """Something that the user should know, while the command goes on."""
    print(f"hakmem: {sentence}", file=sys.stderr)


def parser(command, about, prog=None, **more):
    """An argparse parser whose errors are this program's. prog: of a script beside `hakmem`."""
    import argparse  # half of the start-up time of `hakmem run` without arguments to parse

    prog = prog or f"hakmem {command}"

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            fail(f"{message} (see {prog} --help)")

    return Parser(prog=prog, description=about,
                  formatter_class=argparse.RawDescriptionHelpFormatter, **more)


def clock(seconds):
    """90 as 1:30, 3700 as 1:01:40."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """How far a long command is: one line on a terminal's stderr, rewritten; elsewhere a line every
    half minute. Nothing in the first two seconds."""

    def __init__(self, total, stream=None, now=time.monotonic):
        """total, and what show() gets: in any unit that time is proportional to."""
        self.total = total
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.now = now
        self.start = now()
        self.due = self.start + 2

    def show(self, done, what):
        now = self.now()
        if now < self.due:
            return
        self.due = now + (0.2 if self.live else 30)
        spent = now - self.start
        left = f"{clock(spent / done * (self.total - done))} left" if done else "time left unknown"
        self._write(f"[{done / self.total:4.0%}] {clock(spent)} spent, {left}: {what}")

    def _write(self, text):
        if self.live:
            width = os.get_terminal_size(self.stream.fileno()).columns
            self.stream.write(f"\r{text[:width - 1]}\x1b[K")
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self):
        """Before other output, and at the end."""
        if self.live:
            self._write("")


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as SIGINT does, so that what it measured is kept."""


def _terminate(_number, _frame):
    raise Terminated


def usage():
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {about}" for name, about in COMMANDS.items())
    return f"Usage: hakmem COMMAND …\n\n{lines}\n\nhakmem COMMAND --help tells more."


def run(argv):
    """The exit status of one command line."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else USAGE
    name, *rest = argv
    if name not in COMMANDS:
        note(f"there is no command '{name}': {', '.join(COMMANDS)}")
        return USAGE
    return guard(name, "main", rest)


def guard(module, function, argv):
    """The exit status of lab/<module>'s function: failures and interruptions become sentences."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return getattr(importlib.import_module(f"lab.{module}"), function)(argv)
    except Failure as failure:
        note(failure)
        return failure.status
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lab"):
            raise
        note(f"this needs the Python package {error.name}: "
             f"apt-get install python3-{error.name}")
        return 1
    except BrokenPipeError:  # as in `hakmem options | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as interrupt:
        note("interrupted; what was measured so far is kept")
        number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        return 128 + number
