# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Facts of the machine and the build; where things are."""

import json
import time

import pytest

from lab import cli, machine, places


def test_facts_are_there():
    facts = machine.facts("suite")
    assert facts["kind"] == "suite"
    assert all(facts[name] for name in ("date", "cpu", "memory", "kernel", "libc", "command"))


@pytest.fixture(name="tree")
def fixture_tree(tmp_path, monkeypatch):
    """A build tree of one file, compiled with these words."""
    monkeypatch.setattr(places, "build_dir", lambda: tmp_path)

    def make(words, extra=""):
        source = places.ROOT / "src/heap/heap.c"
        commands = [{"file": "/elsewhere/test.c", "command": "cc -O0 -c test.c"},
                    {"file": str(source), "command": f"/usr/bin/gcc-12 -DX=1 -Isrc {words} "
                     f"-Wall -std=gnu11 -fPIC -o heap.o -c {source}"}]
        (tmp_path / "compile_commands.json").write_text(json.dumps(commands))
        (tmp_path / "CMakeCache.txt").write_text(
            f"CMAKE_C_FLAGS_RELEASE:STRING=-O3 -DNDEBUG\nEXTRA_CFLAGS:STRING={extra}\n")
        (tmp_path / "CMakeFiles/3.25.1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "CMakeFiles/3.25.1/CMakeCCompiler.cmake").write_text(
            'set(CMAKE_C_COMPILER_ID "GNU")\nset(CMAKE_C_COMPILER_VERSION "12.2.0")\n')
        return machine.facts("x")["flags"].split()[1:]
    return make


def test_flags_are_those_that_were_used(tree):
    assert tree("-O2 -g") == ["gcc-12", "12.2.0", "-O2", "-g"]
    assert tree("-O2 -g -march=native -flto", "-march=native -flto") == [
        "gcc-12", "12.2.0", "-O2", "-g", "-march=native", "-flto"]


def test_no_build_has_no_flags(tree, tmp_path):
    assert machine.facts("x")["flags"] == ""
    (tmp_path / "compile_commands.json").write_text("{ damaged")
    assert machine.facts("x")["flags"] == ""
    (tmp_path / "compile_commands.json").write_text("[]")
    assert machine.facts("x")["flags"] == ""


def test_load_counts_what_others_take():
    load = machine.Load()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    _, all_of_it = load.since(0)
    assert all_of_it > 10  # we are the others of somebody who used nothing
    assert load.since(1e6)[1] == 0


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_FLAVOR", "no-such-flavour")
    with pytest.raises(cli.Failure, match="build it first"):
        places.library()
    with pytest.raises(cli.Failure, match=r"make larson_system"):
        places.bench("larson_system")
    monkeypatch.setattr(places, "IN_CHECKOUT", False)
    monkeypatch.chdir(tmp_path)
    assert places.results("ab", "now") == tmp_path / "bench_results/ab/now"
    assert places.results("ab", "now").name == "now-2"
    with pytest.raises(cli.Failure, match="not installed"):
        places.bench("larson_system")
    prefix = tmp_path / "prefix"
    monkeypatch.setattr(places, "PREFIX", prefix)
    with pytest.raises(cli.Failure, match="there is no"):
        places.library()
    library = prefix / "lib/x86_64-linux-gnu/libhakmem.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert places.library() == library
