# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Verdicts on soaks whose truth is known, and refusals of files that are none."""

import random
import subprocess

import numpy
import pytest

from lab import cli, places, results, soak, soak_analysis

SCRIPT = places.ROOT / "scripts" / "analyze_soak.py"
FACTS = {"kind": "soak", "program": "a/b", "profile": "balanced"}


def rows(count, ops=lambda i: 1e8, rss=lambda i: 5000, noise=0.002, epoch_s=5.0, process=1):
    chance = random.Random(7)
    for i in range(count):
        speed = ops(i) * chance.gauss(1, noise)
        yield {"process": process, "epoch": i + 1, "time_s": f"{(i + 1) * epoch_s:.3f}",
               "ops": int(speed * epoch_s), "wall_s": epoch_s, "cpu_s": epoch_s,
               "ops_per_s": f"{speed:.0f}", "ops_per_cpu_s": f"{speed:.0f}",
               "rss_kib": round(rss(i)), "vmhwm_kib": round(rss(i)), "minor_faults": 0,
               "major_faults": 0}  # fmt: skip


def write(path, table, **facts):
    with results.Writer(path, {**FACTS, **facts}, soak.COLUMNS) as writer:
        for row in table:
            writer.row(**row)
    return path


def judge(path):
    found = soak_analysis.series(*soak_analysis.load(path))
    return found, soak_analysis.judge(found)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "epochs.csv"


def test_clean(file, capsys):
    found, verdict = judge(write(file, rows(720)))
    assert verdict.passed() and abs(verdict.rss_drift) < 0.1 and verdict.wall.variation < 0.3
    assert found.warm_up == 12 and len(found.ops_per_s) == 708
    assert soak_analysis.judge_file(file) == 0
    text = capsys.readouterr().out
    assert "12 epochs of warm-up left out" in text and "PASS, variation good" in text


def test_variation_that_passes_is_not_always_good(file, capsys):
    assert soak_analysis.judge_file(write(file, rows(720, noise=0.015))) == 0
    assert capsys.readouterr().out.endswith("PASS\n")


@pytest.mark.parametrize("percent, passes", [(3, True), (-3, True), (8, False), (-8, False)])
def test_rss_drift(file, percent, passes):
    _, verdict = judge(write(file, rows(720, rss=lambda i: 50000 * (1 + percent / 100 * i / 719))))
    assert verdict.rss_drift == pytest.approx(percent, abs=0.5)
    assert verdict.passed() == passes
    assert passes or "RSS drift" in verdict.failures[0]


@pytest.mark.parametrize("percent, passes", [(-3, True), (3, True), (-6.5, False), (6.5, True)])
def test_throughput_drift_fails_downwards_only(file, percent, passes):
    _, verdict = judge(write(file, rows(720, ops=lambda i: 1e8 * (1 + percent / 100 * i / 719))))
    assert verdict.wall.drift == pytest.approx(percent, abs=0.4)
    assert verdict.passed() == passes
    assert passes or "throughput drift" in verdict.failures[0]


def test_noise_fails(file):
    _, verdict = judge(write(file, rows(720, noise=0.03)))
    assert verdict.wall.variation == pytest.approx(3, abs=0.3)
    assert len(verdict.failures) == 1 and "variation" in verdict.failures[0]
    assert abs(verdict.wall.drift) < 1


def test_outliers_count_and_are_told(file, capsys):
    """Every 20th epoch loses a quarter, as by another program on the CPU."""
    write(file, rows(400, ops=lambda i: 0.75e8 if i % 20 == 10 else 1e8))
    _, verdict = judge(file)
    assert verdict.wall.outliers == pytest.approx(5, abs=0.8)
    assert not verdict.passed() and verdict.wall.variation > 4
    assert verdict.wall.variation_inside < 0.3
    soak_analysis.judge_file(file)
    assert "4.9 % outliers" in capsys.readouterr().out


def test_variation_is_numpys(file):
    found, verdict = judge(write(file, rows(100, noise=0.01)))
    values = numpy.array(found.ops_per_s)
    assert verdict.wall.variation == pytest.approx(100 * values.std(ddof=1) / values.mean())


def test_verdict_goes_by_wall(file):
    table = [{**row, "ops_per_s": int(float(row["ops_per_s"]) * (1 - 0.0002 * i))}
             for i, row in enumerate(rows(500))]
    _, verdict = judge(write(file, table))
    assert not verdict.passed() and verdict.wall.drift < -8 and abs(verdict.cpu.drift) < 0.5


@pytest.mark.parametrize("epoch_s, count, left_out", [
    (5, 720, 12),  # an hour: the first minute
    (5, 100, 5),  # 500 s: a 20th
    (1, 10, 1),
    (1, 9, 0),  # too few
    (120, 30, 1),
])  # fmt: skip
def test_warm_up(file, epoch_s, count, left_out):
    found, _ = judge(write(file, rows(count, epoch_s=epoch_s)))
    assert found.warm_up == left_out and found.epochs == count


def test_growth_in_warm_up_does_not_count(file):
    _, verdict = judge(write(file, rows(720, rss=lambda i: 2000 if i < 12 else 5000)))
    assert verdict.rss_first == 5000 and verdict.passed()


def test_every_process_warms_up(file):
    table = [*rows(100, process=1), *rows(100, process=2)]
    for i, row in enumerate(table):
        row["time_s"] = (i + 1) * 5
    found, _ = judge(write(file, table))
    assert found.warm_up == 10 and found.unit == "epoch" and len(found.ops_per_s) == 190


def many(leak=0):
    """Twelve processes, each of which grows by half; later ones by `leak` percent more."""
    table = []
    for process in range(1, 13):
        base = 5000 * (1 + leak / 100 * (process - 1) / 11)
        table += rows(12, process=process, rss=lambda i, base=base: base * (1 + i / 22))
    for i, row in enumerate(table):
        row["time_s"] = (i + 1) * 5
    return table


def test_processes_are_judged_by_their_ends(file):
    found, verdict = judge(write(file, many(), process_s=60))
    assert found.unit == "process" and len(found.rss_kib) == 12
    assert verdict.passed() and verdict.rss_last == 7500
    file.unlink()
    _, verdict = judge(write(file, many(leak=10), process_s=60))
    assert not verdict.passed() and verdict.rss_drift > 8


def refused(path, words):
    with pytest.raises(cli.Failure, match=words) as caught:
        soak_analysis.judge_file(path)
    assert caught.value.status == 2


def test_bad_files(file, tmp_path):
    refused(tmp_path / "none.csv", "No such file")
    refused(tmp_path, "No such file")
    file.write_text("")
    refused(file, "empty")
    file.write_text("epoch,ops\n1,2\n")
    refused(file, "does not begin")
    file.unlink()
    refused(write(file, []), "0 epochs")
    file.unlink()
    refused(write(file, rows(1)), "1 epochs")
    file.unlink()
    refused(write(file, rows(20), kind="suite"), "'suite'")


def test_damaged_rows(file):
    write(file, rows(20))
    whole = file.read_text()
    file.write_text(whole.replace("1,7,35.000", "1,7,thirty"))
    refused(file, "row 7")
    file.write_text(whole.replace("1,7,35.000", "1,7,nan"))
    refused(file, "row 7")
    lines = whole.splitlines(keepends=True)
    file.write_text("".join([*lines[:-5], "1,16\n", *lines[-4:]]))
    refused(file, "fields instead of")
    file.write_text(whole.replace("rss_kib", "resident"))
    refused(file, "no column rss_kib")
    file.write_text(whole[:-20])  # killed while writing: the half row is dropped
    found, _ = judge(file)
    assert found.epochs == 19


def test_rss_of_zero_is_refused(file):
    refused(write(file, rows(20, rss=lambda i: 0)), "not above 0")


def test_one_process_alone_is_judged_by_epochs(file):
    found, _ = judge(write(file, rows(12), process_s=60))
    assert found.unit == "epoch" and len(found.ops_per_s) == 11


def test_script(tmp_path):
    def script(*words):
        return subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False)

    good = write(tmp_path / "good.csv", rows(100))
    bad = write(tmp_path / "bad.csv", rows(100, rss=lambda i: 1000 + 10 * i))
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "epochs.csv", rows(100))
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert script(good).returncode == 0
    assert script(tmp_path / "run").returncode == 0
    done = script(good, bad)
    assert done.returncode == 1 and "FAIL: RSS drift" in done.stdout
    done = script(bad, empty, good)
    assert done.returncode == 2 and "PASS" in done.stdout and "empty" in done.stderr
    done = script()
    assert done.returncode == 2 and "analyze_soak.py --help" in done.stderr
    assert script("--help").returncode == 0
