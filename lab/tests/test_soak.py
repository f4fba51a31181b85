# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem soak, end to end in seconds: with the real driver, and with one that the tests steer."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lab import cli, places, results, runs, soak

HAKMEM = places.ROOT / "hakmem"
BUILT = places.build_dir() / "bench" / "bench_random_mixed_hakmem"
real = pytest.mark.skipif(not BUILT.exists(), reason="built without the benchmarks")

# Takes the driver's arguments, and makes an epoch in a hundredth of its time. With a file kill-N
# beside it, it dies after its epoch N; with hang, it says nothing more after the third.
FAKE = """#!/bin/sh
# {remark}
test "$1 $3" = "--duration --epoch" || exit 2
echo "$*" "$HAKMEM_PROFILE" "${{HAKMEM_BOUND-}}" >>"{folder}/calls"
echo {columns}
n=0
while test $n -lt $(($2 / $4)); do
	n=$((n + 1))
	sleep 0.0$4
	echo "$n,$((n * $4)).000,1000,$4.000000,$4.000000,$((100000000 + n % 2)),100000000,{rest}"
	test -e "{folder}/hang" && test $n = 3 && sleep 20
	test -e "{folder}/kill-$n" && rm "{folder}/kill-$n" && kill -9 $$
done
echo "Throughput = 1 ops/s"
"""


class Driver:
    """A stand-in, and what it was told."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "driver"
        self.write()

    def write(self, remark="", rest="5000,5000,0,0,7,0"):
        self.path.write_text(FAKE.format(remark=remark, folder=self.folder, rest=rest,
                                         columns=",".join(soak.DRIVER_COLUMNS)))
        self.path.chmod(0o755)

    def calls(self):
        return [line.split() for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def driver(tmp_path):
    return Driver(tmp_path)


def command(*words):
    if "--bin" in words and "--cpu" not in words:  # need not look for the least busy one
        words += ("--cpu", runs.allowed_cpus()[0])
    return [sys.executable, str(HAKMEM), "soak", *map(str, words)]


def run(*words, status=0, **variables):
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **variables})
    assert done.returncode == status, done.stderr + done.stdout
    return done


def refused(*words):
    """The sentence with which a command line is refused."""
    with pytest.raises(cli.Failure) as caught:
        soak.main([str(word) for word in words])
    assert caught.value.status == 2 and "\n" not in str(caught.value)
    return str(caught.value)


def rows(folder):
    return results.read(folder / "epochs.csv").rows


def test_one_process(driver, tmp_path):
    done = run("--bin", driver.path, "--duration", 60, "--epoch", 5, "--ws", 77, "--profile",
               "lean", "--out", tmp_path / "run", HAKMEM_BOUND="1M")
    assert "PASS" in done.stdout and "12 epochs; 1 epoch of warm-up" in done.stdout
    assert driver.calls() == ["--duration 60 --epoch 5 1000000 77 1 lean".split()]
    table = results.read(tmp_path / "run" / "epochs.csv")
    assert table.columns == soak.COLUMNS and len(table.rows) == 12
    facts = table.facts
    assert facts["kind"] == "soak" and facts["profile"] == "lean" and facts["ws"] == "77"
    assert facts["cpu"] and facts["libc"] and "--profile lean" in facts["command"]
    assert {row["process"] for row in table.rows} == {"1"}
    assert [row["time_s"] for row in table.rows] == [f"{5 * n}.000" for n in range(1, 13)]


def test_processes(driver, tmp_path):
    done = run("--bin", driver.path, "--duration", 20, "--epoch", 2, "--processes", 3,
               "--out", tmp_path / "run")
    assert "judged by 3 processes" in done.stdout
    # 20 s in three processes is 7 s each: four epochs, and two that are left
    assert [(r["process"], r["epoch"]) for r in rows(tmp_path / "run")] == [
        ("1", "1"), ("1", "2"), ("1", "3"), ("1", "4"), ("2", "1"), ("2", "2"), ("2", "3"),
        ("2", "4"), ("3", "1"), ("3", "2")]
    assert [r["time_s"] for r in rows(tmp_path / "run")] == [f"{2 * n}.000" for n in range(1, 11)]


def test_a_process_every_few_seconds(driver, tmp_path):
    run("--bin", driver.path, "--duration", 6, "--epoch", 1, "--process-seconds", 2,
        "--out", tmp_path / "run")
    assert [r["process"] for r in rows(tmp_path / "run")] == ["1", "1", "2", "2", "3", "3"]


def test_killed_driver_and_resume(driver, tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "kill-4").touch()
    done = run("--bin", driver.path, "--duration", 60, "--epoch", 5, "--profile", "speed",
               "--out", folder, status=1)
    assert "signal 9" in done.stderr and f"--resume {folder}" in done.stderr
    assert len(rows(folder)) == 4
    done = run("--resume", folder)
    assert "PASS" in done.stdout
    found = rows(folder)
    assert [(r["process"], r["epoch"]) for r in found] == [
        *(("1", str(n)) for n in range(1, 5)), *(("2", str(n)) for n in range(1, 9))]
    assert [r["time_s"] for r in found] == [f"{5 * n}.000" for n in range(1, 13)]
    assert driver.calls()[1][:2] == ["--duration", "40"] and driver.calls()[1][-1] == "speed"
    calls = len(driver.calls())
    assert "PASS" in run("--resume", folder).stdout  # nothing is left: the verdict alone
    assert len(driver.calls()) == calls and len(rows(folder)) == 12


def test_resume_drops_half_a_row(driver, tmp_path):
    folder = tmp_path / "run"
    run("--bin", driver.path, "--duration", 10, "--epoch", 2, "--out", folder)
    path = folder / "epochs.csv"
    path.write_bytes(path.read_bytes()[:-9])
    assert len(rows(folder)) == 4
    run("--resume", folder)
    assert [(r["process"], r["epoch"]) for r in rows(folder)][-2:] == [("1", "4"), ("2", "1")]


def test_resume_in_the_middle_of_processes(driver, tmp_path):
    (tmp_path / "kill-2").touch()
    run("--bin", driver.path, "--duration", 12, "--epoch", 1, "--process-seconds", 4,
        "--out", tmp_path / "run", status=1)
    run("--resume", tmp_path / "run")
    assert [r["process"] for r in rows(tmp_path / "run")] == [*"11", *"2222", *"3333", *"44"]


def test_resume_wants_the_same_facts(driver, tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "kill-1").touch()
    run("--bin", driver.path, "--duration", 4, "--epoch", 2, "--out", folder, status=1)
    path = folder / "epochs.csv"
    before = path.read_text()
    driver.write(remark="other")
    assert "another driver" in refused("--resume", folder)
    driver.write()
    for old, new, words in (("# libc: ", "# libc: x", "another libc"),
                            ("# kernel: ", "# kernel: x", "another kernel"),
                            ("# pinned: ", "# pinned: 99", "CPU 99"),
                            ("# ws: ", "# size: ", "does not say how it was run"),
                            ("hakmem_system_calls", "others", "other columns"),
                            ("# hakmem results 1", "", "does not begin")):
        path.write_text(before.replace(old, new, 1))
        assert words in refused("--resume", folder)
    path.write_text(before)
    driver.path.unlink()
    assert "any more" in refused("--resume", folder)
    assert path.read_text() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted(driver, tmp_path, number):
    folder = tmp_path / "run"
    if number != signal.SIGKILL:  # when it can be ended, the driver is, whatever it is at
        (tmp_path / "hang").touch()
    with subprocess.Popen(command("--bin", driver.path, "--duration", 900, "--epoch", 9,
                                  "--out", folder), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        # its head comes in one piece with the column names, but after the file
        while not list(folder.glob("epochs.csv")) or "\n1,3," not in (
                folder / "epochs.csv").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        errors = process.communicate(timeout=10)[1]
    kept = len(rows(folder))
    assert kept >= 3
    if number == signal.SIGKILL:  # then its driver ends at its next row
        assert process.returncode == -signal.SIGKILL
        time.sleep(1)
    else:
        assert process.returncode == 128 + number and f"--resume {folder}" in errors
    alive = subprocess.run(["pgrep", "-f", str(driver.path)], capture_output=True, text=True,
                           check=False).stdout
    assert alive == "" and len(rows(folder)) == kept


def test_says_once_that_system_calls_are_not_counted(driver, tmp_path):
    driver.write(rest="5000,5000,0,0,,")
    done = run("--bin", driver.path, "--duration", 10, "--epoch", 1, "--processes", 2,
               "--out", tmp_path / "run")
    assert done.stderr.count("mount -t tracefs") == 1
    assert {r["system_calls"] for r in rows(tmp_path / "run")} == {""}


def test_a_program_that_is_no_driver(tmp_path):
    done = run("--bin", "/bin/true", "--duration", 1, "--epoch", 1, "--out", tmp_path / "run",
               status=1)
    assert "printed no rows" in done.stderr


@pytest.mark.parametrize("words, sentence", [
    (["--duration", "0"], "--duration"),
    (["--duration", "1h"], "--duration"),
    (["--duration", "3", "--epoch", "4"], "epoch is longer than the whole"),
    (["--duration", "30", "--epoch", "4", "--processes", "10"], "epoch is longer than a process"),
    (["--processes", "2", "--process-seconds", "5"], "not allowed with"),
    (["--profile", "fast"], "fast"),
    (["--cpu", "9999"], "CPU 9999"),
    (["--bin", "/nowhere"], "/nowhere"),
    (["--bin", "/etc/passwd"], "/etc/passwd"),
    (["--resume", "/nowhere"], "/nowhere"),
    (["--resume", "/nowhere", "--ws", "5"], "no other option"),
    (["--ws", "0"], "--ws"),
    (["more"], "more"),
])  # fmt: skip
def test_bad_arguments_are_refused(words, sentence, tmp_path):
    out = [] if "--resume" in words else ["--out", tmp_path / "run"]
    defaults = [] if "--bin" in words or out == [] else ["--bin", "/bin/true"]
    assert sentence in refused(*words, *defaults, *out)
    assert not (tmp_path / "run" / "epochs.csv").exists()


def test_exit_status_of_bad_arguments():
    done = run("--duration", "0", status=2)
    assert done.stderr.count("\n") == 1 and "hakmem soak --help" in done.stderr


def test_results_are_not_overwritten(driver, tmp_path):
    run("--bin", driver.path, "--duration", 2, "--epoch", 1, "--out", tmp_path / "run")
    before = (tmp_path / "run" / "epochs.csv").read_text()
    assert "already" in refused("--bin", driver.path, "--duration", 2, "--epoch", 1,
                                "--out", tmp_path / "run")
    assert (tmp_path / "run" / "epochs.csv").read_text() == before


def script(name, folder, **variables):
    """The verdict on seconds is chance, so 0 and 1 are both right."""
    done = subprocess.run([places.ROOT / "scripts" / name, "--out", folder],
                          env={**os.environ, **variables}, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert ("PASS" in done.stdout) == (done.returncode == 0)
    return results.read(folder / "epochs.csv")


@real
def test_script_of_one_process(tmp_path):
    table = script("soak_mixed_single_process.sh", tmp_path / "run", DURATION_SEC="2",
                   EPOCH_SEC="1", WS="100", PROFILE="speed")
    assert len(table.rows) == 2 and table.facts["profile"] == "speed" and table.facts["ws"] == "100"
    assert table.facts["program"].endswith("bench/bench_random_mixed_hakmem")
    for row in table.rows:
        assert float(row["wall_s"]) == pytest.approx(1, abs=0.3)
        speed = int(row["ops"]) / float(row["wall_s"])
        assert float(row["ops_per_s"]) == pytest.approx(speed, 1e-4)
        assert int(row["rss_kib"]) > 500 and row["hakmem_system_calls"] != ""


@real
def test_script_of_many_processes(tmp_path):
    table = script("soak_mixed_rss.sh", tmp_path / "run", DURATION_SEC="2", EPOCH_SEC="1",
                   PROCESS_SEC="1", BENCH_BIN=str(BUILT).replace("_hakmem", "_system"))
    assert [r["process"] for r in table.rows] == ["1", "2"]
    assert table.facts["program"].endswith("bench/bench_random_mixed_system")
    assert {r["hakmem_system_calls"] for r in table.rows} == {""}
