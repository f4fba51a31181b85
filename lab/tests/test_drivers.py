# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The programs of bench/ that the soak and the latency figures rest on."""

import csv
import os
import re
import subprocess

import pytest

from lab import places, results

BENCH = places.build_dir() / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="built without the benchmarks")


def run(name, *words, status=0, **variables):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "BENCH_"))}
    done = subprocess.run([BENCH / f"{name}_hakmem", *map(str, words)], env={**env, **variables},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done


def result(done):
    """The result line as {name: text}."""
    line = done.stdout.splitlines()[-1]
    assert line.startswith("Throughput = ")
    return dict(re.findall(r"(\w+)=([\w./-]+?)(?:s|KiB)?(?= |$)", line))


@pytest.mark.parametrize("words", [
    ("bench_producer_consumer", "0"),
    ("bench_producer_consumer", "1", "0"),
    ("bench_producer_consumer", "1", "1", "7"),
    ("bench_producer_consumer", "1", "1", "64", "0"),
    ("bench_producer_consumer", "1", "1", "64", "100", "1", "1"),
    ("bench_producer_consumer", "--sorted"),
    ("bench_phase_shift", "x"),
    ("bench_phase_shift", "1", "1000"),
    ("bench_phase_shift", "-1"),
    ("bench_phase_shift", "--latency"),
    ("bench_phase_shift", "--latency", ""),
    ("bench_random_mixed", "--latency", "/nowhere/file"),
    ("larson", "--latency", "/"),
])  # fmt: skip
def test_bad_arguments_are_refused(words):
    done = run(*words, status=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(words[0])


@pytest.mark.parametrize("threads", [(1, 1), (2, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("mixed", [(), ("--mixed",)])
def test_producers_and_consumers_do_all_operations(threads, mixed):
    found = result(run("bench_producer_consumer", *threads, 200, 60001, 1, *mixed))
    assert 60001 <= int(found["ops"]) < 60001 + 2 * threads[0]
    assert 6000 <= int(found["warmup"]) < 6000 + 2 * threads[0] + 2


def test_fewer_blocks_than_a_batch_arrive():
    done = run("bench_producer_consumer", 1, 1, 64, 2, HAKMEM_BENCH_PREFAULT="0")
    assert result(done)["ops"] == "2"


def test_phase_rows():
    done = run("bench_phase_shift", 2, 4 << 20, 1, "--rows")
    *lines, _ = done.stdout.splitlines()
    rows = list(csv.DictReader(lines))
    sizes = [24, 200, 3000, 40000, 1000000, 40000, 3000, 200, 24]
    steps = [f"{step}-{size}" for size in sizes for step in ("fill", "free")]
    assert [row["phase"] for row in rows] == [*steps, *steps, "end-0"]
    for row, step in zip(rows, [*steps, *steps]):
        live = int(row["live_bytes"])
        if step.startswith("fill"):
            assert 4 << 20 <= live < (4 << 20) + 1_250_000
        elif step in ("free-24", "free-200"):  # of large blocks there are few
            assert 0.08 * (4 << 20) < live < 0.12 * (4 << 20)
        assert int(row["rss_kib"]) * 1024 > live
    assert rows[-1]["live_bytes"] == "0"
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    assert int(result(done)["rss_end_kib"]) == int(rows[-1]["rss_kib"])


def test_phase_shift_is_the_same_work_each_time():
    found = {result(run("bench_phase_shift", 1, 2 << 20, 5))["ops"] for _ in range(2)}
    other = result(run("bench_phase_shift", 1, 2 << 20, 6))["ops"]
    assert len(found) == 1 and other not in found


@pytest.mark.parametrize("words, slack", [
    (("bench_random_mixed", 300000), 0),
    (("bench_vm_mixed", 2000), 0),
    (("bench_mid_large_mt", 2, 50000), 0),
    (("bench_producer_consumer", 2, 2, 64, 100000), 0),
    (("bench_phase_shift", 1, 2 << 20), 0),
    (("larson", 1, 8, 1000, 500, 10), 4 * 256),  # threads look at the clock now and then
])  # fmt: skip
def test_histogram(words, slack, tmp_path):
    path = tmp_path / "latency.csv"
    done = result(run(*words, "--latency", path))
    table = results.read(path)
    assert table.facts["kind"] == "latency"
    assert 1 <= float(table.facts["timer_mhz"]) < 10000
    overhead, step = (float(table.facts[f"timer_{x}_ns"]) for x in ("overhead", "step"))
    assert 0 < step < 1000 and 0 <= overhead < 10000
    total = 0
    for operation in ("malloc", "free"):
        rows = [r for r in table.rows if r["operation"] == operation]
        limits = [float(r["le_ns"]) for r in rows]
        assert limits == sorted(set(limits)) and limits[0] >= 0
        assert all(int(r["count"]) > 0 for r in rows)
        total += sum(int(r["count"]) for r in rows)
    assert abs(total - int(done["ops"])) <= slack
    # All single times together are shorter than the whole run on all its threads
    spent = sum(float(r["le_ns"]) / (1 + 1 / 32) * int(r["count"]) for r in table.rows) / 1e9
    assert 0 < spent < 4 * float(done["time"])


def test_warm_up_is_not_timed(tmp_path):
    path = tmp_path / "latency.csv"
    run("bench_random_mixed", 1000, "--latency", path, HAKMEM_BENCH_PREFAULT="50000")
    assert sum(results.read(path).numbers("count")) == 1000


def test_the_loop_that_is_not_timed_holds_no_timer():
    text = subprocess.run(
        ["objdump", "-d", "--disassemble=run_slots_untimed", BENCH / "bench_random_mixed_hakmem"],
        capture_output=True, text=True, check=True).stdout
    timed = text.replace("run_slots_untimed", "")
    assert "<run_slots_untimed>:" in text
    assert not re.search(r"rdtsc|lfence|cntvct", timed)
