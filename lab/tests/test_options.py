# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem options: what the library says, where each value came from, and the table's shape."""

import json
import re

import pytest

from lab import options, places


@pytest.fixture(name="ask")
def fixture_ask(hakmem):
    """{name: (value, source)}"""
    def ask(*words, **variables):
        done = hakmem("options", "--json", *words, **variables)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return {row["name"]: (row["value"], row["source"]) for row in told["options"]}, told
    return ask


def test_every_option_of_the_table_is_told(ask):
    table = (places.ROOT / "src/base/options.def").read_text(encoding="utf-8")
    wanted = re.findall(r'^HK_OPTION\((\w+),.*"(.*)"\)$', table, re.M)
    told = ask()[1]["options"]
    assert [(row["name"], row["sentence"]) for row in told] == [(f"HAKMEM_{n}", s) for n, s in wanted]


def test_where_values_came_from(ask):
    plain, told = ask()
    assert set(source for _, source in plain.values()) == {"default"}
    assert plain["HAKMEM_PROFILE"] == ("balanced", "default") and told["without_effect"] == []
    lean = ask("--profile", "lean")[0]
    assert lean["HAKMEM_PROFILE"] == ("lean", "command line")
    assert lean["HAKMEM_BOUND_SHARE"][1] == "profile"
    assert lean["HAKMEM_BOUND_SHARE"][0] != plain["HAKMEM_BOUND_SHARE"][0]
    by_env = ask(HAKMEM_PROFILE="lean", HAKMEM_BOUND="64K")[0]
    assert by_env["HAKMEM_PROFILE"] == ("lean", "environment")
    assert by_env["HAKMEM_BOUND"] == ("65536", "environment")
    assert by_env["HAKMEM_BOUND_SHARE"] == (lean["HAKMEM_BOUND_SHARE"][0], "profile")
    assert ask(HAKMEM_SS_MEM_LEAN="1")[0]["HAKMEM_BOUND_SHARE"] == by_env["HAKMEM_BOUND_SHARE"]
    one = ask(HAKMEM_BOUND="1M")[0]
    assert one["HAKMEM_BOUND"] == ("1048576", "environment")
    assert one["HAKMEM_PROFILE"] == ("balanced", "default")
    assert one["HAKMEM_EARNED"][1] == "default"


def test_a_bad_value_is_named_and_the_default_stays(hakmem):
    done = hakmem("options", HAKMEM_BOUND="much")
    assert done.returncode == 0
    assert "HAKMEM_BOUND=much is ignored" in done.stderr
    assert re.search(r"^HAKMEM_BOUND +6291456 +default ", done.stdout, re.M)


def test_variables_without_effect_are_named(hakmem, ask):
    done = hakmem("options", HAKMEM_TINY_TCACHE="1", HAKMEM_BUOND="1", HAKMEM_BENCH_MIN_SIZE="16")
    assert done.stdout.endswith("\nSet, and without effect: HAKMEM_BUOND, HAKMEM_TINY_TCACHE\n")
    assert "do you mean HAKMEM_BOUND?" in done.stderr
    assert ask(HAKMEM_TINY_TCACHE="1")[1]["without_effect"] == ["HAKMEM_TINY_TCACHE"]


def test_asking_has_no_side_effect(hakmem, tmp_path):
    done = hakmem("options", HAKMEM_STATS=str(tmp_path / "stats"))
    assert done.returncode == 0 and done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert f"{tmp_path}/stats" in done.stdout


def test_it_works_on_hakmem_itself(hakmem):
    done = hakmem("options", LD_PRELOAD=str(places.library()))
    assert done.returncode == 0 and "HAKMEM_BOUND " in done.stdout


def test_a_library_that_is_none(monkeypatch, tmp_path):
    broken = tmp_path / "libhakmem.so"
    broken.write_text("no library")
    with pytest.raises(options.cli.Failure, match="does not tell"):
        options.ask(broken, None)


def test_the_table_fits(hakmem):
    for width in (60, 80, 100, 200):
        done = hakmem("options", COLUMNS=str(width))
        lines = done.stdout.splitlines()
        assert max(map(len, lines)) <= width
        names = [line.split()[0] for line in lines if line.startswith("HAKMEM_")]
        assert len(names) == len(set(names)) > 20
    # one line each where there is room
    assert len(lines) == len(names) + 1
    assert len({line.index(" default ") for line in lines[1:]}) == 1


def test_an_unknown_profile(hakmem):
    done = hakmem("options", "--profile", "fast")
    assert done.returncode == 2 and "fast" in done.stderr
