# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench on real programs, and on the programs of another suite."""

import shutil
from pathlib import Path

import pytest

from lab import allocators, mimalloc_bench, real_programs, results

# ---- Programs ------------------------------------------------------------------------------------

def test_who_malloc_is_bound_to():
    assert real_programs.targets([("prog", "libx"), ("libc", "prog"), ("prog", "prog")]) == {"libx"}
    assert real_programs.targets([("libc", "prog"), ("prog", "libc"), ("prog", "prog"),
                             ("lib", "libc")]) == {"libc"}
    assert real_programs.targets([("prog", "prog")]) == {"prog"}
    assert real_programs.targets([("prog", "libx"), ("liby", "liby")]) == {"libx", "liby"}


@pytest.mark.skipif(not shutil.which("sqlite3"), reason="no sqlite3")
def test_program(tmp_path):
    """Output is compared, malloc is proven, and the figures are measure's."""
    from lab.program import Program
    text = tmp_path / "small.sql"
    text.write_text("SELECT hex(zeroblob(3)), length(hex(zeroblob(2000000)));")
    small = Program("sqlite3", ("sqlite3",), lambda session: session.measure(
        "sqlite3", ":memory:", f".read {text}"))
    base = tmp_path / "base"
    base.mkdir()
    glibc, hakmem = allocators.choose(["glibc", "hakmem"])
    mine = real_programs.Bench(base, [glibc, hakmem])
    mine.prepare(small)
    for allocator in (glibc, hakmem):
        proof = mine.run(small, allocator, proof=True)
        assert proof.status == "ok", proof.errors
    run = mine.run(small, hakmem)
    assert run.status == "ok" and run.output == "000000|4000000\n"
    assert run.peak_kib > 4000 and run.cpu_s > 0
    text.write_text("SELECT 2;")
    assert "its output is another" in mine.run(small, hakmem).errors
    wrong = hakmem._replace(library=None)
    session = real_programs.Session(base, base, base, wrong, True)
    session.origin = "/elsewhere.so"
    (base / "ld.1").write_text("1:\tbinding file a [0] to /libc.so.6 [0]: normal symbol `malloc'\n")
    with pytest.raises(real_programs.Failure, match="malloc of /libc.so.6"):
        session.check_origin()


def test_program_that_fails(tmp_path):
    from lab.program import Program
    base = tmp_path / "base"
    base.mkdir()
    mine = real_programs.Bench(base, [allocators.glibc()])
    bad = Program("bad", (), lambda session: session.measure("sh", "-c", "exit 4"))
    mine.prepare(bad)
    run = mine.run(bad, allocators.glibc(), proof=True)
    assert run.status == "failed" and "exit 4" in run.errors
    assert not [p for p in base.iterdir() if p.name.startswith("tmp")]


SERVER = """
import os, time
kept = bytearray(64 << 20)
del kept
open('ready', 'w').close()
while not os.path.exists('stop'):
    time.sleep(0.01)
"""


def test_server_that_settles(tmp_path, capsys):
    """What a server has left is its own RSS, not its peak, and not that of measure beside it."""
    from lab.program import Program

    def run(session):
        with session.serve("/usr/bin/python3", "-c", SERVER,
                           ready=(session.folder / "ready").exists,
                           stop=lambda _: (session.folder / "stop").touch()):
            session.settle()
        return ""

    server = Program("server", (), run)
    base = tmp_path / "base"
    base.mkdir()
    mine = real_programs.Bench(base, [allocators.glibc()])
    mine.prepare(server)
    mine.expected["server"] = ""
    done = mine.run(server, allocators.glibc())
    assert done.status == "ok", done.errors
    assert 5000 < done.settled_kib < 40000 < 65536 < done.peak_kib
    real_programs.settled({("server", "glibc"): [done]}, ["glibc"], ["server", "other"])
    assert capsys.readouterr().out.startswith("\nserver, RSS in MiB after it has deleted: glibc ")


def test_programs_have_names_of_their_own():
    from lab import program_table
    names = [p.name for p in program_table.TABLE]
    assert len(set(names)) == len(names)
    assert all(p.needs for p in program_table.TABLE)


# ---- mimalloc-bench ------------------------------------------------------------------------------

def test_mimalloc_bench(hakmem, tmp_path):
    """A suite of two programs: one by the clock, and one that fails under a preload."""
    folder = tmp_path / "suite/out/bench"
    folder.mkdir(parents=True)
    for name, text in (("cfrac", "test -z \"$LD_PRELOAD\" || exit 5"),
                       ("larson", "echo 'time: x, relative time: 7.5s'")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    done = hakmem("bench", "--suite", "mimalloc-bench", "--from", tmp_path / "suite", "-n", "1",
                  "--allocators", "glibc,hakmem", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "cfrac did not run on hakmem: exit 5" in done.stdout
    assert "espresso is left out" in done.stderr
    rows = results.read(tmp_path / "out/programs.csv").rows
    assert {r["wall_s"] for r in rows if r["program"] == "larson"} == {"7.500000"}
    assert {r["status"] for r in rows if r["program"] == "cfrac"} == {"ok", "exit 5"}


def test_what_the_programs_of_mimalloc_bench_tell():
    tests = {t.name: t for t in mimalloc_bench.TESTS}
    assert tests["rptest"].relative("x ...1000000 memory ops/s") == 2.0
    assert tests["glibc-thread"].relative("500000000 iterations") == 2.0
    assert tests["xmalloc-test"].relative("rtime: 1.250, free/sec: 9") == 1.25
    assert tests["larson"].relative("nothing") is None
    assert tests["larson"].words(Path("/s"), 4) == [
        "/s/out/bench/larson", "5", "8", "1000", "5000", "100", "4141", "4"]
