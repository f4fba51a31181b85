# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""One run of a program: its directory, its environment, its commands and servers, and the proof of
who served it."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

SERVER_START_SECONDS = 30
SERVER_STOP_SECONDS = 30
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Failure(Exception):
    """What went wrong, as a sentence."""


class Run:
    """One run of a program: its directory, its environment, what it started, what it printed."""

    def __init__(self, name, directory, library=None, tools=None):
        self.name = name
        self.dir = directory
        self.tools = tools or {}
        self.errors = []  # stderr of everything that ran
        self.stats = directory / "stats"
        self.stats.mkdir(parents=True)
        self.stats.chmod(0o1777)  # servers that change their user write there too
        self.env = {"PATH": PATH, "LC_ALL": "C.UTF-8",
                    "HOME": str(directory), "TMPDIR": str(directory), "TZ": "UTC"}
        self.preload = {}
        if library:
            # A copy, since another user may not be able to reach the build tree.
            copy = directory / "libhakmem.so"
            shutil.copyfile(library, copy)
            copy.chmod(0o755)
            options = {k: v for k, v in os.environ.items() if k.startswith("HAKMEM_")}
            self.preload = {**options, "LD_PRELOAD": str(copy),
                            "HAKMEM_STATS": f"{self.stats}/%p.json"}

    def environment(self, preload, extra):
        return {**self.env, **(self.preload if preload else {}), **(extra or {})}

    def call(self, *argv, stdin="", preload=True, timeout=60, env=None, **options):
        """Runs a command to its end and returns what it wrote to stdout."""
        argv = [str(a) for a in argv]
        process = subprocess.Popen(
            argv, cwd=self.dir, env=self.environment(preload, env), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True,
            errors="replace", **options)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: {argv[0]} took longer than {timeout} s") from None
        finally:
            end_group(process)
        self.errors.append(err)
        if process.returncode:
            raise Failure(f"{self.name}: {' '.join(argv)[:200]} {describe(process.returncode)}\n"
                          f"{out[-2000:]}\n{err[-3000:]}")
        return out

    @contextlib.contextmanager
    def server(self, *argv, ready, stop=signal.SIGTERM, env=None, **options):
        """Runs a server while the body runs: waits until ready() is true, ends it by a signal (or,
        when that is a function, by calling it), and demands exit status 0."""
        argv = [str(a) for a in argv]
        log = self.dir / f"server-{len(self.errors)}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                argv, cwd=self.dir, env=self.environment(True, env), stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True, **options)
        try:
            self.wait_until_ready(process, argv[0], ready)
            yield process
            if callable(stop):
                stop()
            else:
                process.send_signal(stop)
            try:
                process.wait(SERVER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise Failure(f"{self.name}: {argv[0]} does not end") from None
            if process.returncode:
                raise Failure(f"{self.name}: {argv[0]} {describe(process.returncode)}")
        except Failure as failure:
            raise Failure(f"{failure}\n{log.read_text(errors='replace')[-3000:]}") from None
        finally:
            end_group(process)
            self.errors.append(log.read_text(errors="replace"))

    def wait_until_ready(self, process, program, ready):
        deadline = time.monotonic() + SERVER_START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise Failure(f"{self.name}: {program} {describe(process.returncode)}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name}: {program} is not ready after "
                              f"{SERVER_START_SECONDS} s")
            time.sleep(0.02)

    def measured(self, *argv, **options):
        """Like call, but returns (stdout, the report of bench/measure)."""
        if "measure" not in self.tools:
            raise Failure("--measure is needed: the path of bench/measure")
        report = self.dir / f"report-{len(self.errors)}"
        out = self.call(self.tools["measure"], "-o", report, "--", *argv, **options)
        return out, dict(word.split("=", 1) for word in report.read_text().split())

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path

    def forget_blocks(self):
        """What has been served so far is no proof for what comes."""
        for path in self.stats.glob("*.json"):
            path.unlink()

    def blocks(self):
        """{process id: blocks that hakmem served}, by the statistics written at exit."""
        found = {}
        for path in self.stats.glob("*.json"):
            try:
                found[path.stem] = int(json.loads(path.read_text())["blocks_out"])
            except (ValueError, KeyError, TypeError) as error:
                raise Failure(f"{self.name}: the statistics in {path.name} cannot be read: "
                              f"{error!r}\n{path.read_text()[:500]}") from None
        return found


def describe(code):
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by {signal.Signals(-code).name}"


def end_group(process):
    """Whatever the process left behind in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def server_user(name):
    """Options for a server that refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Failure(f"there is no user {name}: is the package installed?") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
