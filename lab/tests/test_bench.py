# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench: allocators, workloads, single runs, and every mode end to end, on tiny runs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import (allocators, bench, cli, counts, latency, machine, memory, places, results, rounds,
                 runs, scenarios, suite, workloads)

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = ["--workload", "random_mixed", "--ops", "20000", "--allocators", "glibc,hakmem"]


def a_row(**more):
    row = dict.fromkeys(suite.COLUMNS, "")
    row.update(workload="w", arguments="1", allocator="glibc", repetition="0", status="ok",
               ops_per_s="100", ops_per_cpu_s="100", peak_kib="1000", disturbed="0")
    row.update({k: str(v) for k, v in more.items()})
    return row


# ---- Allocators ----------------------------------------------------------------------------------

def test_preload_with_environment(tmp_path):
    library = tmp_path / "lib.so.3.1"
    shutil.copy(places.library(), library)
    found = allocators.from_words(f"mine={library},A=1,B=x=y")
    assert found.env() == {"LD_PRELOAD": str(library), "A": "1", "B": "x=y"}
    assert found.version == "3.1"
    google = allocators.from_words(f"tcmalloc-google={library}")
    assert google.env()["GLIBC_TUNABLES"] == "glibc.pthread.rseq=0"


@pytest.mark.parametrize("words, sentence", [
    ("x=/no/such.so", "no file /no/such.so"),
    ("x", "NAME=/path/to.so"),
    ("=/etc/passwd", "NAME=/path/to.so"),
    ("x=/etc/passwd", "not a shared library"),
    (f"x={shutil.which('sh')},A", "is not VARIABLE=VALUE"),
])
def test_bad_preload(words, sentence):
    with pytest.raises(cli.Failure, match=sentence):
        allocators.from_words(words)


def test_preload_path_that_the_loader_cannot_take(tmp_path):
    library = tmp_path / "a b.so"
    shutil.copy(places.library(), library)
    with pytest.raises(cli.Failure, match="space"):
        allocators.from_words(f"x={library}")


def test_served(tmp_path):
    link = tmp_path / "libx.so"
    link.symlink_to(places.library())
    assert allocators.Allocator("x", link).served(places.library().resolve().name)
    assert allocators.Allocator("x", link).served("libx.so")
    assert not allocators.Allocator("x", link).served("libc.so.6")
    assert allocators.glibc().served("libc.so.6")
    assert not allocators.glibc().served("libhakmem.so")


def test_choose():
    names = [a.name for a in allocators.choose(["hakmem-lean", "hakmem", "glibc"])]
    assert names == ["glibc", "hakmem-lean", "hakmem"]
    assert allocators.choose(["hakmem-lean"])[0].env()["HAKMEM_PROFILE"] == "lean"
    with pytest.raises(cli.Failure, match="no allocator 'hakmem-fast'"):
        allocators.choose(["hakmem-fast"])
    with pytest.raises(cli.Failure, match="no allocator 'x'"):
        allocators.choose(["x"])


# ---- Workloads -----------------------------------------------------------------------------------

def test_every_row_has_a_label_of_its_own():
    rows = workloads.table()
    assert len({(w.name, w.label()) for w in rows}) == len(rows)
    assert any(w.quick for w in rows) and not all(w.quick for w in rows)


def test_words_and_touch():
    row = workloads.Workload("w", "p", "{n} 4 --fifo", 1000, 10)
    assert row.words() == ["100", "4", "--fifo"]
    assert row.words(5) == ["1", "4", "--fifo"]
    assert row.touching().words(20) == ["2", "4", "--fifo", "--touch"]
    assert row.touching().touching() == row.touching()


def test_unknown_workload_and_programs_that_are_not_built(monkeypatch, capsys):
    with pytest.raises(cli.Failure, match="no workload 'nothing'"):
        workloads.choose("quick", ["nothing"])
    monkeypatch.setattr(workloads, "table", lambda: [
        workloads.Workload("here", "bench_tiny_hot", "{n}", 1, quick=True),
        workloads.Workload("gone", "bench_not_built", "{n}", 1, quick=True)])
    assert [w.name for w in workloads.choose()] == ["here"]
    assert "bench_not_built" in capsys.readouterr().err


# ---- One run -------------------------------------------------------------------------------------

def script(text):
    return ["sh", "-c", text]


LINE = ("Throughput = 5 ops/s  bench=x ops=10 warmup=0 time=2.0s cpu={cpu}s vmhwm=77KiB "
        "malloc=libc.so.6")


class Load:
    """A machine on which others use so much."""

    taken = (0.0, 0.0)

    def __init__(self, cpus=None):
        self.cpus = cpus

    def since(self, _):
        return self.taken


def loaded(steal, foreign):
    return type("Loaded", (Load,), {"taken": (steal, foreign)})


def test_a_run():
    run = runs.run(script(f"echo '{LINE.format(cpu=2.0)}'"), {}, runs.allowed_cpus()[0], load=Load)
    assert (run.status, run.ops, run.ops_per_s, run.peak_kib) == ("ok", 10, 5.0, 77)
    assert run.malloc == "libc.so.6" and not run.disturbed
    assert run.figures()["ops_per_cpu_s"] == "5"


@pytest.mark.parametrize("text, status", [
    ("exit 3", "exit 3"), ("kill -9 $$", "signal 9"), ("true", "no result"),
    ("sleep 9", "timeout")])
def test_failed_runs(text, status):
    run = runs.run(script(text), {}, None, timeout=0.3 if "sleep" in text else 30, load=Load)
    assert run.status == status
    assert run.figures()["ops_per_s"] == ""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=10):
    """A killed process ends when it is next scheduled."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_nothing_outlives_a_timeout(tmp_path):
    path = tmp_path / "pid"
    start = time.monotonic()
    run = runs.run(script(f"sleep 60 >/dev/null 2>&1 & echo $! >{path}; wait"), timeout=1,
                   load=Load)
    assert run.status == "timeout" and time.monotonic() - start < 30
    assert wait_until(lambda: not is_running(path.read_text().strip()))


def test_disturbed():
    quiet = script(f"sleep 0.2; echo '{LINE.format(cpu=2.0)}'")
    cpu = runs.allowed_cpus()[0]
    assert not runs.run(quiet, {}, cpu, load=loaded(0, 3)).disturbed
    assert runs.run(quiet, {}, cpu, load=loaded(0, 50)).disturbed
    assert runs.run(quiet, {}, cpu, load=loaded(50, 0)).disturbed
    # A single thread that had its CPU for half of the time, whatever /proc/stat says.
    waits = script(f"echo '{LINE.format(cpu=1.0)}'")
    assert runs.run(waits, {}, cpu, load=Load).disturbed
    assert not runs.run(waits, {}, None, load=Load).disturbed


def test_ticks_are_not_held_against_short_runs():
    assert not runs.is_disturbed(0, 10, 1, 0.2)
    assert runs.is_disturbed(0, 10, 1, 2.0)
    assert not runs.is_disturbed(0, 6, 2, 10.0)
    assert runs.is_disturbed(0, 10, 2, 10.0)


def test_environment_of_runs(monkeypatch):
    for name in ("HAKMEM_BOUND", "LD_PRELOAD", "GLIBC_TUNABLES", "BENCH_MIN_SIZE"):
        monkeypatch.setenv(name, "1")
    env = runs.clean_environment({"HAKMEM_PROFILE": "lean"})
    assert env["HAKMEM_PROFILE"] == "lean" and "PATH" in env
    assert not {"HAKMEM_BOUND", "LD_PRELOAD", "GLIBC_TUNABLES", "BENCH_MIN_SIZE"} & set(env)


def test_load_of_one_cpu(monkeypatch):
    stat = ["cpu 300 0 0 0 0 0 0 0\ncpu0 100 0 0 0 0 0 0 0\ncpu1 200 0 0 0 0 0 0 0\n"]
    monkeypatch.setattr(machine, "_read", lambda path: stat[0])
    clock = [0.0]
    monkeypatch.setattr(machine.time, "monotonic", lambda: clock[0])
    one, both = machine.Load([1]), machine.Load()
    stat[0] = "cpu 600 0 0 0 0 0 0 100\ncpu0 400 0 0 0 0 0 0 0\ncpu1 250 0 0 0 0 0 0 100\n"
    clock[0] = 10.0
    tick = os.sysconf("SC_CLK_TCK")
    assert one.since(0.1) == pytest.approx((1000 / tick, 10 * (50 / tick - 0.1)))
    assert both.since(0) == pytest.approx((1000 / tick, 3000 / tick))


# ---- Order, redone runs, figures -----------------------------------------------------------------

def test_order_rotates():
    order = list(rounds.order(["w"], ["a", "b"], 2))
    assert order == [(-1, "w", "a"), (-1, "w", "b"), (0, "w", "b"), (0, "w", "a"), (1, "w", "a"),
                     (1, "w", "b")]


def test_redo():
    def attempts(disturbed, total=100):
        each = iter(disturbed)
        return len(list(rounds.Redo(total).attempts(
            lambda: runs.Run("ok", disturbed=next(each)))))

    assert attempts([False]) == 1
    assert attempts([True, False]) == 2
    assert attempts([True] * 9) == 1 + rounds.REDO_MAX
    assert attempts([True, False], total=1) == 1


def test_what_is_finished():
    rows = [a_row(repetition=0, disturbed=1), a_row(repetition=0), a_row(repetition=1, disturbed=1),
            *[a_row(repetition=2, disturbed=1)] * 3, a_row(repetition=3, status="exit 1")]
    assert {key[3] for key in suite.finished(rows)} == {0, 2, 3}


def test_disturbed_rows_are_left_out_of_figures():
    rows = [a_row(repetition=i, ops_per_s=100 + i) for i in range(3)]
    rows += [a_row(repetition=0, ops_per_s=1, disturbed=1), a_row(repetition=3, status="exit 1")]
    found, enough = suite.usable(rows)
    assert enough and sorted(found) == [0, 1, 2] and found[0]["ops_per_s"] == "100"
    found, enough = suite.usable([a_row(repetition=i, disturbed=1) for i in range(3)])
    assert not enough and len(found) == 3


def test_ratio_pairs_repetitions():
    base = {i: a_row(ops_per_s=100 * (i + 1)) for i in range(8)}
    mine = {i: a_row(ops_per_s=200 * (i + 1)) for i in range(6)}
    ratio = suite.compared(mine, base, "ops_per_s")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


# ---- The suite, end to end -----------------------------------------------------------------------

def test_suite(hakmem, tmp_path):
    done = hakmem("bench", *TINY, "-n", "2", "--profiles", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    table = results.read(tmp_path / "out" / "results.csv")
    assert table.columns == suite.COLUMNS
    assert table.facts["kind"] == "suite" and table.facts["repetitions"] == "2"
    assert "glibc=libc " in table.facts["allocators"]
    assert {(r["allocator"], r["repetition"]) for r in table.rows} == {
        (a, r) for a in ("glibc", "hakmem") for r in ("0", "1")}
    assert all(r["status"] == "ok" and int(r["ops"]) == 20000 for r in table.rows)
    assert "malloc=libhakmem.so" in (
        tmp_path / "out/logs/random_mixed-hakmem.log").read_text()
    assert "x glibc" in done.stdout and "random_mixed 20000 400 1" in done.stdout


def test_malloc_of_another_library_is_no_row(hakmem, tmp_path):
    """A library without malloc: the run works, and measures glibc."""
    library = next(Path("/usr/lib").glob("*-linux-gnu/libm.so.6"), None) or next(
        Path("/lib").glob("*-linux-gnu/libm.so.6"))
    done = hakmem("bench", "--workload", "tiny_hot", "--ops", "20000", "-n", "1", "--preload",
                  f"m={library}", "--allocators", "glibc,m", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "malloc of libc.so.6" in done.stderr
    rows = results.read(tmp_path / "out" / "results.csv").rows
    assert {r["status"] for r in rows if r["allocator"] == "m"} == {"malloc of libc.so.6"}
    assert "failed" in done.stdout


def test_interrupt_keeps_rows_and_resume_goes_on(hakmem, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, ROOT / "hakmem", "bench", *TINY, "-n", "3", "--out",
                                out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    path = out / "results.csv"
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().count("random_mixed,") >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    kept = results.read(path).rows
    assert 3 <= len(kept) < 24
    with open(path, "a", encoding="utf-8") as file:
        file.write("random_mixed,half a ro")  # as after a power cut
    done = hakmem("bench", "--resume", out)
    assert done.returncode == 0, done.stderr
    rows = results.read(path).rows
    assert rows[:len(kept)] == kept
    assert len({suite.key(r) for r in rows}) == 4 * 2 * 3


def test_resume_refuses_another_machine(tmp_path):
    path = tmp_path / "results.csv"
    facts = {**rounds.facts("suite", [allocators.glibc()]), "cpu": "1 x Z80"}
    results.Writer(path, facts, suite.COLUMNS).close()
    plan = bench.Plan([allocators.glibc()], [], 1, None, 0, "quick", None, tmp_path, None, None)
    with pytest.raises(cli.Failure, match="cpu was '1 x Z80'"):
        suite.reopen(tmp_path, plan)


@pytest.mark.parametrize("words, sentence", [
    (["-n", "0"], "not a number above 0"),
    (["--set", "all"], "invalid choice"),
    (["--workload", "nothing"], "no workload 'nothing'"),
    (["--allocators", "nothing"], "no allocator 'nothing'"),
    (["--preload", "x=/no/such.so"], "no file /no/such.so"),
    (["--resume", "/no/such/directory"], "no results.csv"),
    (["--suite", "mimalloc-bench"], "belong together"),
    (["--suite", "mimalloc-bench", "--from", "/nowhere"], "no out/bench"),
    (["--syscalls", "--memory"], "not allowed with"),
    (["--out", str(ROOT)], "not an empty directory"),
    (["--programs", "--program", "nothing"], "no program 'nothing'"),
])
def test_bad_arguments(words, sentence, capsys):
    assert cli.run(["bench", *words]) == cli.USAGE
    said = capsys.readouterr().err
    assert sentence in said and said.strip().count("\n") == 0


# ---- Modes ---------------------------------------------------------------------------------------

STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 50.00    0.000015           1        14           mmap
 25.00    0.000005           1         4         1 mprotect
------ ----------- ----------- --------- --------- ------------------
100.00    0.000030           1        18         1 total
"""


def test_parse_strace():
    assert counts.parse_strace(STRACE) == {"mmap": 14, "mprotect": 4}


def test_calls_that_differ_are_marked():
    row = {"allocator": "hakmem", "mmap": 3, "munmap": 1, "madvise": 0, "other": 0,
           "per_million_ops": "4.00", "inside": 4}
    assert counts.line(row, row)[1]
    cells, agrees = counts.line(row, {**row, "inside": 5})
    assert not agrees and cells[-1] == "5!"


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_syscalls(hakmem, tmp_path):
    """What strace sees is what hakmem counts; and blocks that come back cost no further call."""
    done = hakmem("bench", "--syscalls", "--allocators", "glibc,hakmem", "--workload",
                  "random_mixed", "--workload", "vm_mixed", "--ops", "20000", "--out",
                  tmp_path / "out")
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [r for r in results.read(tmp_path / "out/syscalls.csv").rows
            if r["allocator"] == "hakmem"]
    assert any(int(r["inside"]) > 20 for r in rows)
    for row in rows:
        assert int(row["inside"]) == sum(int(row[c]) for c in (*counts.NAMED, "other"))
    steady = [int(r["inside"]) for r in rows if r["arguments"].endswith("000 400 1")]
    assert len(steady) == 4
    for short, long in (steady[:2], steady[2:]):
        assert long - short <= 1  # a first step of the arena may still come


@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_instructions(hakmem, tmp_path):
    words = ("bench", "--instructions", "--allocators", "hakmem", "--workload", "tiny_hot",
             "--ops", "4000", "--out")
    assert hakmem(*words, tmp_path / "1").returncode == 0
    rows = results.read(tmp_path / "1/instructions.csv").rows
    assert len(rows) == 2
    for row in rows:
        assert 10 < float(row["per_op"]) < 200
        assert int(row["instructions"]) == pytest.approx(
            float(row["per_op"]) * int(row["ops"]), rel=0.001)


def test_memory(hakmem, tmp_path):
    done = hakmem("bench", "--memory", "-n", "1", "--allocators", "hakmem", "--workload",
                  "vm_mixed", "--ops", "3000", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = results.read(tmp_path / "out/memory.csv").rows
    assert rows and all(int(r["rss_kib"]) > 0 for r in rows)
    assert max(int(r["rss_kib"]) for r in rows) > 1000


def test_scenarios(hakmem, tmp_path):
    done = hakmem("bench", "--memory", "-n", "2", "--allocators", "glibc,hakmem", "--scenario",
                  "equal 16 1000 0", "--scenario", "shift 2 90 0", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = results.read(tmp_path / "out/retain.csv").rows
    assert len(rows) == 8 and {r["status"] for r in rows} == {"ok"}
    assert not (tmp_path / "out/memory.csv").exists()
    for row in rows:
        own, live, left = (int(row[f"{name}_kib"]) for name in ("own", "live", "left"))
        assert int(row["peak_kib"]) - own >= live * 0.98
        assert (left == 0) == (row["scenario"] == "equal")
        assert (row["calls"] == "") == (row["allocator"] == "glibc")
    for title in ("MiB at the end", "peak / live", "end / left", "system calls"):
        assert title in done.stdout


@pytest.mark.parametrize("words, said", [
    (("--memory", "--scenario", "nothing 1"), "there is no scenario 'nothing'"),
    (("--scenario", "equal"), "--scenario belongs to --memory"),
])  # fmt: skip
def test_scenarios_that_are_none(hakmem, tmp_path, words, said):
    done = hakmem("bench", *words, "--allocators", "glibc", "--out", tmp_path / "out")
    assert done.returncode == 2 and said in done.stderr


def test_scenario_figures():
    run = {"own_kib": 2048, "rss_kib": 5120, "peak_kib": 6144, "live_kib": 2048, "left_kib": 1024}
    assert scenarios.at_end(run, 1024) == 4
    assert scenarios.blow_up(run, 2048) == 2
    assert scenarios.over_left(run, 1024) == 4
    assert scenarios.cell([1.0, 1.0, 1.04]) == "1.00"
    assert scenarios.cell([1.0, 2.0, 3.0]) == "2.00 (1.00–3.00)"
    one = scenarios.Scenario("equal")
    found = {(one, "a"): [run], (one, "b"): [run | {"own_kib": 1000}]}
    assert scenarios.own(one, ["a", "b"], found) == 1000


def test_mean_over_time():
    assert memory.mean([(0.0, 10), (1.0, 30), (4.0, 50)]) == (10 + 3 * 30) / 4
    assert memory.mean([(0.0, 10)]) == 10


def test_latency(hakmem, tmp_path):
    done = hakmem("bench", "--latency", "-n", "1", *TINY, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = results.read(tmp_path / "out/latency.csv").rows
    calls = sum(int(r["count"]) for r in rows
                if r["allocator"] == "hakmem" and r["arguments"] == "20000 400 1")
    assert calls == 20000
    assert "p99.9" in done.stdout


def test_percentiles():
    histogram = latency.Histogram()
    for le_ns, count in ((10, 50), (20, 40), (30, 9), (5000, 1)):
        histogram.add(le_ns, count)
    assert [histogram.percentile(p) for p in (50, 90, 99, 99.9)] == [10, 20, 30, 5000]
    assert histogram.worst() == 5000
    assert [latency.short(x) for x in (12, 3400, 5.6e6)] == ["12 ns", "3.4 us", "5.6 ms"]


# ---- Scripts -------------------------------------------------------------------------------------

def shell(name, *words, **variables):
    return subprocess.run([ROOT / "scripts" / name, *words], env={**os.environ, **variables},
                          capture_output=True, text=True, check=False, timeout=100)


def test_bench_suite_matrix():
    done = shell("bench_suite_matrix.sh", "-n", "0")
    assert done.returncode == 2 and "not a number above 0" in done.stderr


def test_run_mixed_cleanenv(tmp_path):
    """The program sees the profile, and no other variable of ours."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nenv | grep -E '^(HAKMEM|LD_PRELOAD|BENCH_M)' >>$0.env\n"
                       "echo \"$@\" >>$0.words\n"
                       "echo \"Throughput = $(wc -l <$0.words)000000 ops/s x\"\n")
    program.chmod(0o755)
    done = shell("run_mixed_10_cleanenv.sh", BENCH_BIN=str(program), RUNS="4", WS="7", ITERS="9",
                 PROFILE="lean", HAKMEM_BOUND="1M", HAKMEM_NOT_KNOWN="1", BENCH_MIN_SIZE="9")
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "program.env").read_text().split()) == {"HAKMEM_PROFILE=lean"}
    assert (tmp_path / "program.words").read_text() == "9 7 1\n" * 4
    lines = done.stdout.splitlines()
    assert lines[3] == "run 4: 4.00 M ops/s"
    assert lines[4] == ("mean 2.50  median 2.50  CV 51.64%  min 1.00  max 4.00  M ops/s, 4 runs")


def test_run_mixed_names_an_unknown_profile():
    done = shell("run_mixed_10_cleanenv.sh", PROFILE="fastest", RUNS="1", ITERS="1000")
    assert done.returncode == 2 and "fastest" in done.stderr
    done = shell("run_mixed_10_cleanenv.sh", BENCH_BIN="/nowhere")
    assert done.returncode == 2 and "no program /nowhere" in done.stderr
