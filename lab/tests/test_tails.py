# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Percentiles against numpy's, and the two scripts that print them."""

import re
import subprocess

import numpy
import pytest

from lab import cli, places, results, soak, tails
from lab.tests.test_soak_analysis import rows, write

PERCENTS = [50, 90, 99, 99.9, 100]
EPOCHS = places.ROOT / "scripts" / "analyze_epoch_tail_csv.py"
PERCENTILES = places.ROOT / "scripts" / "calculate_percentiles.py"


def run(*words, text=None):
    return subprocess.run([str(word) for word in words], input=text, capture_output=True, text=True,
                          check=False)


def bucket_limit(value):
    """As bench/bench_latency.h."""
    value = int(value)
    octave = max(value.bit_length() - 6, 0)
    return ((value >> octave) + 1 << octave) - 1


def histogram(values):
    found = {}
    for value in values:
        tails.add(found, {float(bucket_limit(value)): 1})
    return found


@pytest.mark.parametrize("count", [1, 2, 10, 999, 1001, 20000])
def test_histogram_percentiles_are_numpys(count):
    values = numpy.random.default_rng(3).lognormal(4, 1.5, count).astype(int)
    found = tails.histogram_percentiles(histogram(values))
    exact = numpy.percentile(values, PERCENTS, method="inverted_cdf")
    for ours, true in zip(found, exact):
        assert true <= ours <= true * (1 + 1 / 32)
    assert found == sorted(found)


def test_a_rank_on_the_edge_of_a_bucket():
    assert tails.histogram_percentiles({10.0: 50, 20.0: 49, 30.0: 1}) == [10, 20, 20, 30, 30]
    assert tails.histogram_percentiles({10.0: 999, 70.0: 1}) == [10, 10, 10, 10, 70]
    assert tails.histogram_percentiles({10.0: 5, 20.0: 0}, (100,)) == [10]


def latency_file(path, lines, facts=None, columns="operation,le_ns,count"):
    with results.Writer(path, {"kind": "latency", **(facts or {})}, columns.split(",")) as writer:
        for line in lines:
            writer.row(**dict(zip(columns.split(","), line.split(","))))
    return path


def test_script_on_a_drivers_histogram(tmp_path):
    path = latency_file(tmp_path / "l.csv", ["malloc,20.03,900", "malloc,5000.7,100", "free,9.5,7"],
                        {"timer_overhead_ns": "18.5"})
    done = run(PERCENTILES, path)
    assert done.returncode == 0, done.stderr
    head, malloc, free = (line.split() for line in done.stdout.splitlines())
    assert head[-6:] == ["count", "p50", "p90", "p99", "p99.9", "worst"] and "18.5)" in head
    assert malloc == ["malloc", "1000", "20", "20", "5001", "5001", "5001"]
    assert free[:2] == ["free", "7"]


def test_script_on_a_suites_histograms(tmp_path):
    columns = "workload,arguments,allocator,repetition,operation,le_ns,count"
    path = latency_file(tmp_path / "l.csv",
                        ["larson,2 8,glibc,1,malloc,20,5", "larson,2 8,glibc,2,malloc,30,5",
                         "larson,2 8,hakmem,1,malloc,10,5"], columns=columns)
    lines = [line.split() for line in run(PERCENTILES, path).stdout.splitlines()[1:]]
    assert lines == [["larson", "2", "8", "glibc", "malloc", "10", "20", *4 * ["30"]],
                     ["larson", "2", "8", "hakmem", "malloc", "5", *5 * ["10"]]]


def test_script_on_numbers(tmp_path):
    values = numpy.random.default_rng(5).normal(100, 20, 5000)
    text = "# a remark\n\n" + "\n".join(map(str, values)) + "\n"
    path = tmp_path / "numbers.txt"
    path.write_text(text)
    want = [f"{x:.6g}" for x in numpy.percentile(values, PERCENTS)]
    for done in (run(PERCENTILES, path), run(PERCENTILES, "-", text=text)):
        assert done.returncode == 0
        assert done.stdout.splitlines()[1].split()[1:] == ["5000", *want]


def refused(path, words):
    with pytest.raises(cli.Failure, match=re.escape(words)) as caught:
        tails.main_percentiles([str(path)])
    assert caught.value.status == 2


def test_script_refuses(tmp_path):
    path = tmp_path / "x"
    for text, words in (("", "no numbers"), ("1\n2\nthree\n", ":3: 'three'"),
                        ("1\nnan\n", ":2: 'nan'"), (f"{results.MAGIC}\nbroken\n", "no columns")):
        path.write_text(text)
        refused(path, words)
    assert run(PERCENTILES, path).returncode == 2
    path.unlink()
    for lines, words in (([], "empty"), (["malloc,x,1"], "row 1"), (["malloc,5,-1"], "row 1")):
        refused(latency_file(path, lines), words)
        path.unlink()
    refused(path, "No such file")
    path.write_bytes(b"\xff\xfe1\n")
    refused(path, "not a text")


def test_epoch_tails_are_numpys():
    values = numpy.random.default_rng(5).normal(1e8, 1e6, 777)
    want = numpy.percentile(values, [50, 10, 1, 0.1, 0])
    assert tails.epoch_tails(values) == pytest.approx(list(want))


def test_epoch_script(tmp_path):
    path = write(tmp_path / "epochs.csv",
                 rows(100, ops=lambda i: 50e6 if i == 40 else 100e6, noise=0))
    done = run(EPOCHS, tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1].split()[-6:] == ["100", "100.00", "100.00", "99.50", "54.95", "50.00"]
    assert lines[2].split()[-6:] == ["100", "10.000", "10.000", "10.100", "19.010", "20.000"]
    assert "by CPU" in lines[3] and "by CPU" in lines[4]
    path.write_text("")
    assert run(EPOCHS, path).returncode == 2
    assert run(EPOCHS).returncode == 2


def test_columns_are_those_of_the_driver():
    header = (places.ROOT / "bench" / "bench_epoch.c").read_text().split("head[] = ", 1)[1]
    text = "".join(header.split(";", 1)[0].split('"')[1::2]).replace("\\n", "")
    assert text.split(",") == soak.DRIVER_COLUMNS
