# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem ab: specs, the order of the runs, redone runs, interrupts, verdicts; and its scripts."""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import ab, cli, places, results, runs

TINY = ["--workload", "random_mixed 100000 400 1"]


@pytest.fixture(name="measured")
def fixture_measured(hakmem):
    """What a comparison printed, and its table; its directory is removed again."""
    made = []

    def measure(*words, command=None, **variables):
        run = hakmem("ab", *words, **variables) if command is None else command
        found = re.search(r"^Every run: (.*)$", run.stdout, re.M)
        assert found, run.stderr
        path = Path(found[1])
        path = path if path.is_absolute() else Path.cwd() / path
        made.append(path.parent)
        return run, results.read(path)
    yield measure
    for directory in made:
        shutil.rmtree(directory)


def test_specs(tmp_path):
    ours = places.library().resolve()
    assert ab.arm("") == ("hakmem", ours, None, {})
    assert ab.arm("glibc").library is None
    assert ab.arm("glibc").env() == {}
    named = ab.arm("env:HAKMEM_BOUND=1M,env:X=a=b")
    assert (named.library, named.variables) == (ours, {"HAKMEM_BOUND": "1M", "X": "a=b"})
    assert named.env() == {"LD_PRELOAD": str(ours), "HAKMEM_BOUND": "1M", "X": "a=b"}
    assert ab.arm(f"build:{places.build_dir()}").library == ours
    program = places.bench("larson_hakmem")
    assert ab.arm(f"bin:{program}") == (
        f"bin:build/{places.build_dir().name}/bench/larson_hakmem", None, program.resolve(), {})
    both = ab.arm(f"bin:{program},lib:{ours}")
    assert (both.library, both.program) == (ours, program.resolve())
    spaced = tmp_path / "a b.so"
    spaced.touch()
    for bad in ("nothing", "env:X", "lib:/no/such/file.so", "build:/no/such/tree", "bin:", "bin:/",
                "glibc,lib:" + str(ours), f"lib:{spaced}"):
        with pytest.raises(cli.Failure):
            ab.arm(bad)


def test_bad_command_lines(hakmem):
    for words in ([], ["--b", "nothing"], ["--b", "", "-n", "0"], ["--b", "", "--workload", "none"],
                  ["--b", "", "--"], ["--b", "", *TINY, "--", "true"], ["--b", "", "--pin", *TINY],
                  ["--b", "", "--switch", "--build-level"], ["--b", "", "--", "no-such-program-here"]):
        done = hakmem("ab", *words)
        assert done.returncode == 2, words
        assert done.stderr.count("\n") == 1, done.stderr


class Scripted:
    """Stands for runs.run: arm B is faster by a factor; the runs of some numbers are disturbed."""

    def __init__(self, factor, disturbed=()):
        self.factor, self.disturbed, self.arms = factor, disturbed, []

    def __call__(self, command, env, cpu=None):
        arm = "b" if "X" in env else "a"
        self.arms.append(arm)
        speed = 1e8 * (self.factor if arm == "b" else 1) * (1 + 0.001 * (len(self.arms) % 3))
        if len(self.arms) in self.disturbed:
            speed /= 2
        return runs.Run("ok", 10, speed, speed, 10 / speed, 10 / speed, 2048, 0.0, 0.0,
                        len(self.arms) in self.disturbed, places.library().resolve().name)


@pytest.fixture(name="scripted")
def fixture_scripted(monkeypatch, tmp_path, capsys):
    """(stdout, stderr, table) of a comparison whose runs are told, not made."""
    def compare(run, *words):
        monkeypatch.setattr(runs, "run", run)
        monkeypatch.setattr(places, "results", lambda kind, stamp: tmp_path)
        (tmp_path / "runs.csv").unlink(missing_ok=True)
        assert ab.main(["--b", "env:X=1", *TINY, *words]) == 0
        out, err = capsys.readouterr()
        return out, err, results.read(tmp_path / "runs.csv")
    return compare


def test_order_is_abba(scripted):
    run = Scripted(1)
    scripted(run, "-n", "4")
    assert "".join(run.arms) == "ab" + "abbaabba"  # a run of each to warm up, first


@pytest.mark.parametrize("factor, words, word", [
    (1.02, [], "GO"), (0.98, [], "NO-GO"), (1.0, [], "NEUTRAL"), (1.007, [], "NEUTRAL"),
    (1.007, ["--build-level"], "GO"), (0.993, ["--build-level"], "NO-GO"),
    (1.02, ["--switch", "--by-cpu"], "GO")])
def test_verdicts(scripted, factor, words, word):
    out, err, table = scripted(Scripted(factor), *words)
    assert f"\nVerdict: {word}\n" in out and err == ""
    row = next(line for line in out.splitlines() if line.startswith("| random_mixed "))
    assert row.endswith(f"| {word} |") and row.count("|") == 6
    assert "2.0 MiB" in row and f"{100 * (factor - 1):+.1f} % [" in row
    assert len(table.rows) == 20
    assert table.facts["threshold_percent"] == ("0.5" if "--build-level" in words else "1.0")


def test_disturbed_runs_are_redone_and_left_out(scripted):
    run = Scripted(1.02, disturbed=(3, 7, 8))
    out, _, table = scripted(run, "-n", "6")
    assert len(table.rows) == 12 + 3
    disturbed = [row for row in table.rows if row["disturbed"] == "1"]
    assert len(disturbed) == 3 and all(float(row["ops_per_s"]) < 6e7 for row in disturbed)
    assert "3 disturbed runs were redone." in out
    assert "\nVerdict: GO\n" in out
    kept = [float(row["ops_per_s"]) for row in table.rows
            if row["disturbed"] == "0" and row["arm"] == "a"]
    assert f"{statistics.median(kept) / 1e6:.1f} ({min(kept) / 1e6:.1f}–{max(kept) / 1e6:.1f})" in out


def test_a_machine_in_use_is_said(scripted):
    out, err, table = scripted(Scripted(1, disturbed=range(3, 1000)), "-n", "2")
    assert len(table.rows) == 4 + ab.REDO_MAX
    assert "4 of the runs in the figures were disturbed" in err and "Verdict:" in out


def test_a_loss_anywhere_is_a_no_go(scripted, monkeypatch):
    class Mixed(Scripted):
        def __call__(self, command, env, cpu=None):
            self.factor = 0.9 if "larson" in str(command[0]) else 1.1
            return super().__call__(command, env, cpu)
    out = scripted(Mixed(1), "--workload", "larson 1 8 64 10 10 1 1")[0]
    assert "Verdict: NO-GO (GO, NO-GO)" in out


def test_end_to_end(measured):
    done, table = measured("--b", "env:HAKMEM_BIN_BYTES=64K", "-n", "3", *TINY)
    assert done.returncode == 0
    assert table.facts["kind"] == "ab" and table.facts["b"] == "env:HAKMEM_BIN_BYTES=64K"
    assert table.columns == ab.COLUMNS
    used = [row for row in table.rows if row["disturbed"] == "0"]
    assert sorted((row["arm"], row["repetition"]) for row in used) == [
        (arm, str(n)) for arm in "ab" for n in (1, 2, 3)]
    assert all(float(row["ops_per_s"]) > 1e6 and int(row["peak_kib"]) > 500 for row in used)
    assert re.search(r"^Verdict: (GO|NO-GO|NEUTRAL)$", done.stdout, re.M)


def test_programs_and_binaries(measured):
    done, table = measured("--a", "glibc", "--b", "", "-n", "2", "--", "sort", "/etc/passwd")
    assert {row["workload"] for row in table.rows} == {"sort"}
    assert all(float(row["wall_s"]) > 0 and row["peak_kib"] for row in table.rows)
    assert " s, " in done.stdout
    program = places.bench("bench_random_mixed_hakmem")
    done, table = measured("--a", f"bin:{program}", "--b", "", "-n", "2", *TINY)
    assert done.returncode == 0, done.stderr


def test_what_the_library_complains_about_is_said(hakmem, measured):
    done, _ = measured("--b", "env:HAKMEM_BIN_BITES=64K", "-n", "1", *TINY)
    assert "HAKMEM_BIN_BITES is no variable of hakmem" in done.stderr


def test_the_callers_variables_do_not_reach_the_runs(measured):
    done, _ = measured("--a", "glibc", "--b", "", "-n", "1", "--", "sh", "-c",
                       'test -z "$HAKMEM_BOUND$HAKMEM_STATS"', HAKMEM_BOUND="1M", HAKMEM_STATS="1")
    assert done.returncode == 0


def test_a_failing_program_is_named(hakmem, measured):
    done, _ = measured("--b", "", "-n", "1", "--", "sh", "-c", "echo broken >&2; exit 3")
    assert done.returncode == 1
    assert "exit 3: broken" in done.stderr


def test_malloc_of_another_is_noticed(measured):
    """A preload that brings no malloc."""
    library = next(Path("/lib").glob("*-linux-gnu/libm.so.6"), None)
    if not library:
        pytest.skip("no libm.so.6")
    done, _ = measured("--b", f"lib:{library}", "-n", "1", *TINY)
    assert done.returncode == 1 and "malloc came from libc" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_results(measured, number):
    command = [sys.executable, str(places.ROOT / "hakmem"), "ab", "--b", "", "-n", "500", *TINY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        before = set(places.ROOT.glob("bench_results/ab/*/runs.csv"))
        rows = []
        for _ in range(600):
            time.sleep(0.1)
            new = set(places.ROOT.glob("bench_results/ab/*/runs.csv")) - before
            rows = results.read(new.pop()).rows if new else []
            if len(rows) >= 10:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    table = measured(command=done)[1]
    assert done.returncode == 128 + number
    assert len(table.rows) >= 10 and "Verdict: " in out and "interrupted" in err


SCRIPTS = {
    "bench_random_mixed_ab.sh": {"ITERS": "100000"},
    "bench_larson_1t_ab.sh": {"SECONDS_EACH": "1", "A": "glibc", "B": "build:" + str(places.build_dir())},
    "bench_mid_large_mt_ab.sh": {"ITERS": "20000"},
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts(measured, script):
    env = {k: v for k, v in os.environ.items() if k not in ("A", "B")}
    done = subprocess.run([places.ROOT / "scripts" / script], capture_output=True, text=True,
                          env={**env, "RUNS": "1", **SCRIPTS[script]}, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    table = measured(command=done)[1]
    name = script[len("bench_"):].removesuffix("_ab.sh").removesuffix("_1t")
    assert {row["workload"] for row in table.rows} == {name}
    assert {row["arm"] for row in table.rows} == {"a", "b"}


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_scripts_are_clean():
    subprocess.run(["shellcheck", *(str(places.ROOT / "scripts" / name) for name in SCRIPTS)], check=True)
