# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem run: what it runs is on hakmem, what can't be is refused with a sentence, and it is quick."""

import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from lab import places, run

LOADER = b"/lib64/ld-linux-x86-64.so.2"
ROOT = os.geteuid() == 0
NOBODY = 65534


@pytest.fixture(name="folder")
def fixture_folder():
    """A folder that every user may look into."""
    with tempfile.TemporaryDirectory(prefix="hakmem_run_") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def write(path, content, mode=0o755):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def copy(folder, change=lambda head: head, name="program"):
    """A copy of true(1), changed."""
    data = Path(shutil.which("true")).resolve().read_bytes()
    return write(folder / name, bytes(change(bytearray(data))))


def without_loader(data):
    """PT_INTERP made PT_NULL: what a static program looks like."""
    at, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for entry in range(at, at + size * count, size):
        if struct.unpack_from("<I", data, entry)[0] == 3:
            struct.pack_into("<I", data, entry, 0)
    return data


def patched(at, values):
    def change(data):
        data[at:at + len(values)] = values
        return data
    return change


def loader(name):
    return lambda data: data.replace(LOADER, name.ljust(len(LOADER), b"\0"), 1)


def refused(done, status, *words):
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    line, = done.stderr.splitlines()
    assert line.startswith("hakmem: ")
    for word in words:
        assert word in line


def test_a_program_is_on_hakmem(hakmem):
    done = hakmem("run", places.bench("bench_tiny_hot_system"), "32", "64", "10")
    assert done.returncode == 0
    assert "malloc=libhakmem.so" in done.stdout


def test_script_and_env_are_on_hakmem(hakmem, folder):
    for line in ("#!/bin/sh", "#! /usr/bin/env sh", "#!/usr/bin/env -S sh -e"):
        script = write(folder / "script", f"{line}\ngrep -o 'libhakmem[^/]*$' /proc/self/maps\n")
        assert "libhakmem.so" in hakmem("run", script).stdout


def test_the_status_is_the_programs(hakmem):
    assert hakmem("run", "--", "sh", "-c", "exit 42").returncode == 42
    assert hakmem("run", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_arguments_reach_the_program_unchanged(hakmem):
    words = ["--stats", "--profile", "a b", "", "--", "*"]
    assert hakmem("run", "printf", "[%s]", *words).stdout == "".join(f"[{w}]" for w in words)
    assert hakmem("run", "--", "printf", "%s", "x").stdout == "x"


def test_profile_and_stats(hakmem):
    show = ["printenv", "HAKMEM_PROFILE"]
    assert hakmem("run", "--profile", "lean", *show).stdout == "lean\n"
    assert hakmem("run", "--profile=speed", *show, HAKMEM_PROFILE="lean").stdout == "speed\n"
    assert hakmem("run", *show, HAKMEM_PROFILE="lean").stdout == "lean\n"
    python = [sys.executable, "-c", "pass"]
    assert "hakmem: live" in hakmem("run", "--stats", *python).stderr
    assert "hakmem: live" in hakmem("run", "--stats", *python, HAKMEM_STATS="0").stderr
    assert hakmem("run", *python).stderr == ""
    assert hakmem("run", "--stats", "printenv", "HAKMEM_STATS", HAKMEM_STATS="json").stdout == "json\n"


def test_profiles_are_those_of_the_library():
    table = (places.ROOT / "src/base/options.def").read_text(encoding="utf-8")
    words = re.search(r"^HK_OPTION_WORDS\(PROFILE, (.*)\)$", table, re.M)[1]
    assert tuple(re.findall(r'"([a-z]+)"', words)) == run.PROFILES


def test_the_environment_is_the_callers(hakmem):
    library = str(places.library())
    mine = {name: os.environ[name] for name in ("BUILD_FLAVOR",) if name in os.environ} | {"A": "1"}
    done = hakmem("run", "/usr/bin/env", env=mine)
    assert dict(line.split("=", 1) for line in done.stdout.split()) == mine | {"LD_PRELOAD": library}
    other = shutil.which("true")  # anything that is there: loaded behind ours, or complained about
    done = hakmem("run", "printenv", "LD_PRELOAD", LD_PRELOAD=f"{library} {other}")
    assert done.stdout == f"{library}:{other}\n"


def test_signals_are_as_a_shell_would_leave_them(hakmem):
    done = hakmem("run", "grep", "SigIgn", "/proc/self/status")
    plain = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True,
                           check=True, restore_signals=True)
    assert done.stdout == plain.stdout


def test_bad_command_lines(hakmem):
    for words, said in ((["run"], "which program"), (["run", "--profile"], "needs a name"),
                        (["run", "--profile", "fast", "true"], "'fast'"),
                        (["run", "--frob", "true"], "--frob"), (["run", "--"], "which program")):
        refused(hakmem(*words), 2, said)
    assert "Usage: hakmem run" in hakmem("run", "--help").stdout


def test_not_found_and_not_executable(hakmem, folder):
    refused(hakmem("run", "no-such-program-here"), 127, "no-such-program-here: not found")
    refused(hakmem("run", folder / "nothing"), 127, "not found")
    refused(hakmem("run", folder), 126, "is a directory")
    plain = write(folder / "plain", "x", 0o644)
    refused(hakmem("run", plain), 126, "not executable")
    refused(hakmem("run", "plain", PATH=str(folder)), 126, "not executable")
    refused(hakmem("run", write(folder / "text", "echo hello\n")), 126, "neither a program nor a script")
    refused(hakmem("run", write(folder / "lost", "#!/no/such/shell\n")), 126, "/no/such/shell")
    refused(hakmem("run", write(folder / "empty", "#!\n")), 126, "interpreter")
    loop = folder / "loop"
    refused(hakmem("run", write(loop, f"#!{loop}\n")), 126, "too many scripts")


def test_a_later_folder_of_path_is_searched(hakmem, folder):
    write(folder / "printf", "not executable", 0o644)
    path = f"{folder}:{os.environ['PATH']}"
    assert hakmem("run", "printf", "x", PATH=path).stdout == "x"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="changes the bytes of an x86-64 program")
def test_programs_that_ignore_a_preload_are_refused(hakmem, folder):
    refused(hakmem("run", copy(folder, without_loader)), 126, "statically linked")
    refused(hakmem("run", copy(folder, patched(18, b"\xb7\0"))), 126, "AArch64 (64-bit)")
    refused(hakmem("run", copy(folder, patched(18, b"\x28\0"))), 126, "ARM")
    refused(hakmem("run", copy(folder, loader(b"/lib/ld-musl-x86_64.so.1"))), 126, "musl")
    refused(hakmem("run", copy(folder, loader(b"/lib/no-such-loader.so"))), 126, "no-such-loader")
    refused(hakmem("run", copy(folder, lambda data: data[:30])), 126, "damaged")
    refused(hakmem("run", copy(folder, lambda data: data[:100])), 126, "damaged")
    assert hakmem("run", copy(folder)).returncode == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="changes the bytes of an x86-64 program")
def test_a_script_of_such_a_program_is_refused(hakmem, folder):
    static = copy(folder, without_loader)
    refused(hakmem("run", write(folder / "a", f"#!{static}\n")), 126, "statically linked")
    refused(hakmem("run", write(folder / "b", f"#!{folder / 'a'} -x\n")), 126, "statically linked")
    refused(hakmem("run", write(folder / "c", f"#!/usr/bin/env {static}\n")), 126, "statically")
    refused(hakmem("run", write(folder / "d", f"#!/usr/bin/env -S A=1 {static} -x\n")), 126, "statically")


def test_compiled_programs(hakmem, folder):
    source = write(folder / "one.c", "int main(void) { return 0; }\n")
    for compiler, flags, said in (("cc", ["-static"], "statically linked"),
                                  ("cc", ["-static-pie"], "statically linked"),
                                  ("musl-gcc", [], "musl"),
                                  ("aarch64-linux-gnu-gcc", [], "AArch64")):
        if not shutil.which(compiler):
            continue
        subprocess.run([compiler, *flags, source, "-o", folder / "one"], check=True)
        refused(hakmem("run", folder / "one"), 126, said)


@pytest.mark.skipif(not ROOT, reason="needs root, to give rights away")
def test_programs_with_more_rights_are_refused(hakmem, folder):
    program = copy(folder)
    for owner, mode, said in (((NOBODY, 0), 0o4755, "setuid"), ((0, NOBODY), 0o2755, "setgid")):
        os.chown(program, *owner)
        program.chmod(mode)
        refused(hakmem("run", program), 126, said, "LD_PRELOAD")
    os.chown(program, 0, 0)
    program.chmod(0o6755)  # root's own rights are no more than root has
    assert hakmem("run", program).returncode == 0


@pytest.mark.skipif(not ROOT, reason="needs root, to give rights away")
def test_file_capabilities_are_refused(folder):
    program = copy(folder)
    # version 2, effective; CAP_NET_RAW permitted
    value = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    try:
        os.setxattr(program, "security.capability", value)
    except OSError as error:
        pytest.skip(f"no capabilities on this file system: {error}")
    command = [sys.executable, str(places.ROOT / "hakmem"), "run", str(program)]
    if subprocess.run(["test", "-r", str(places.library())], user=NOBODY, check=False).returncode:
        pytest.skip("others may not read the build tree")
    done = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True,
                          text=True, check=False)
    refused(done, 126, "capabilities")
    assert subprocess.run(command, check=False).returncode == 0  # root gains nothing


def test_a_library_that_preload_cannot_name(monkeypatch):
    with pytest.raises(run.cli.Failure, match="no spaces"):
        run.environment("/a b/libhakmem.so")


def test_start_is_quick_and_loads_nothing_of_others(hakmem):
    code = ("import os, sys; sys.argv[0] = 'hakmem'; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
            "os.execve = lambda *a: print('\\n'.join(f'{n} {getattr(sys.modules[n], \"__file__\", None)}'"
            " for n in set(sys.modules) - before)) or os._exit(0)\n"
            "sys.stdout.reconfigure(line_buffering=True)\n"
            "from lab import cli; cli.run(['run', 'true'])")
    done = subprocess.run([sys.executable, "-c", code, str(places.ROOT)], capture_output=True,
                          text=True, check=True)
    modules = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "lab.run" in modules
    standard = (sysconfig.get_path("stdlib"), str(places.ROOT / "lab"), "None")
    assert [n for n, file in modules.items() if not file.startswith(standard)] == []
    assert not {"argparse", "subprocess", "json", "ctypes", "shutil"} & set(modules)

    def cpu_s():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert hakmem("run", "true").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(cpu_s() for _ in range(5)) <= 0.15
