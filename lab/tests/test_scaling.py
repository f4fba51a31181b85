# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem bench --scaling: what is counted, what is taken off, and what the model makes of it."""

import pytest

from lab import (allocators, cli, places, report_files, results, runs, scaling, scaling_model,
                 workloads)

ONE = workloads.Workload("tiny_hot", "bench_tiny_hot", "32 1000 {n}", 2000, 2000)


def a_row(**counts):
    """A row of a million operations."""
    return {"workload": "w", "arguments": "1", "threads": 2, "ops": 1_000_000, "ns_per_op": "10.00",
            "atomics": 0, **dict.fromkeys(scaling.COUNTERS, 0),
            **{name.replace("__", "."): count for name, count in counts.items()}}


def test_every_counter_is_one_of_the_library():
    table = (places.ROOT / "src/base/tele.def").read_text()
    for name in scaling.COUNTERS:
        box, row = name.split(".")
        assert f"HK_TELE_ROW({box}, {row}, " in table
    for box in ("lock", "word", "moved", "wait"):
        assert table.count(f"HK_TELE_ROW({box}, ") == sum(
            name.startswith(box + ".") for name in scaling.COUNTERS)


def test_matrix():
    rows = scaling.matrix()
    assert len({(row.name, row.label()) for row in rows}) == len(rows)
    assert {row.threads for row in rows if row.name == "larson"} == set(scaling.THREADS)
    assert [row.words()[-1] for row in rows if row.name == "larson"] == [
        str(n) for n in scaling.THREADS]
    assert all(row.label().startswith("1 8 ") for row in rows if row.name == "larson")
    with pytest.raises(cli.Failure, match="no workload 'replay'"):
        scaling.choose(["replay"])


def test_length():
    rows = {row.name: row for row in scaling.matrix()}
    assert scaling.length(rows["larson"], 20_000) == 1  # a second
    assert scaling.length(rows["tiny_hot"], 50_000) == 50_000
    assert scaling.length(rows["phase_shift"], 1) == rows["phase_shift"].per


def fake_runs(monkeypatch, *texts, status="ok"):
    """Each run has as many operations more than the one before, and says so on stderr."""
    told = iter(enumerate(texts, 1))

    def run(_command, _env):
        number, text = next(told)
        return runs.Run(status, ops=1000 * number, malloc="libhakmem.so", errors=text)
    monkeypatch.setattr(scaling.runs, "run", run)


def said(**counts):
    row = a_row(**counts)
    return "".join(f"hakmem: {name:<18} {row[name]:>12}  words\n" for name in scaling.COUNTERS)


def test_the_shorter_run_is_taken_off(monkeypatch):
    fake_runs(monkeypatch, said(lock__pool=10, word__held=7, word__map=4, wait__pool=3),
              said(lock__pool=25, word__held=8, word__map=9, wait__pool=1))
    row = scaling.measure(ONE, allocators.hakmem(), 2000)
    assert row["ops"] == 1000
    assert row["lock.pool"] == 15 and row["word.held"] == 1 and row["word.map"] == 5
    assert row["atomics"] == 2 * 15 + 1  # the page map's words are plain stores
    assert row["wait.pool"] == 0


def test_a_library_that_does_not_count(monkeypatch):
    fake_runs(monkeypatch, "hakmem: heap.refill    3  bins refilled\n")
    with pytest.raises(cli.Failure, match="does not count lock.own_heap"):
        scaling.count(ONE, allocators.hakmem(), 1)
    fake_runs(monkeypatch, "oh no", status="signal 6")
    with pytest.raises(cli.Failure, match="signal 6: oh no"):
        scaling.count(ONE, allocators.hakmem(), 1)


def test_release_build_is_refused(monkeypatch, tmp_path):
    with pytest.raises(cli.Failure, match="does not count"):
        scaling.count(ONE, allocators.hakmem(), 2000)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    with pytest.raises(cli.Failure, match="cmake --preset observe"):
        scaling.library()


# ---- The model -----------------------------------------------------------------------------------

def predict(cores, line_ns, **counts):
    return scaling_model.predict(a_row(**counts), 10.0, scaling_model.Machine(cores, line_ns, ""))


def test_nothing_shared_scales():
    found = predict(64, 100)
    assert found == (0.0, 1.0, None, None)


def test_a_line_that_all_write_to():
    # One write in a hundred operations: at most 1,000 M operations a second, of all cores.
    found = predict(2, 100, word__held=10_000)
    assert found.line == "held" and found.moved_ns == 0.5  # every other time it was oneself
    assert found.share == pytest.approx(10 / 10.5)
    assert found.saturates == pytest.approx(10.5)
    many = predict(64, 100, word__held=10_000)
    assert many.share == pytest.approx(10 / 64)  # ten cores' worth
    assert many.saturates == pytest.approx(10 + 63 / 64)


def test_lines_of_two_threads_do_not_saturate():
    found = predict(64, 100, word__remote=10_000, word__mailbox=10_000)
    assert found.line is None and found.moved_ns == pytest.approx(63 / 64 * 3)
    assert found.share == pytest.approx(10 / (10 + found.moved_ns))


def test_looks_cost_what_is_written_between_them():
    rare = predict(11, 100, release__look=100_000, word__held=1000)
    assert rare.moved_ns == pytest.approx(10 / 11 * (0.1 + 0.01 * 100))
    often = predict(11, 100, release__look=1000, word__held=1000)
    assert often.moved_ns == pytest.approx(10 / 11 * (0.1 + 0.1))


def test_the_busiest_line_comes_first():
    assert predict(16, 50, lock__pool=1000, word__live=5000).line == "pool"  # six lines each
    assert predict(16, 50, lock__pool=1000, word__live=7000).line == "live"


def test_predictions_take_the_highest_number_of_threads():
    rows = [a_row(), {**a_row(word__held=10_000), "ns_per_op": ""}]
    lines = scaling.predictions(rows)
    assert len(lines) == len(scaling_model.MACHINES)
    assert all(line[2] == "10.0" and line[5] == "held" for line in lines)
    assert not scaling.predictions([{**a_row(), "ns_per_op": ""}])


# ---- Files ---------------------------------------------------------------------------------------

def test_the_report_reads_it(hakmem, tmp_path):
    with results.Writer(tmp_path / "scaling.csv", {"kind": "scaling"}, scaling.COLUMNS) as writer:
        writer.row(**a_row(lock__pool=1234, moved__pool=1000, moved__held=1))
        writer.row(**{**a_row(), "threads": 4, "ns_per_op": ""})
    assert len(report_files.read(tmp_path / "scaling.csv").rows) == 2
    done = hakmem("report", tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "Writes to shared memory" in page and "1,234" in page and "1,001" in page


@pytest.mark.skipif(not (places.ROOT / "build/observe/libhakmem.so").exists(),
                    reason="no observe build")
def test_scaling(hakmem, tmp_path):
    """One thread's tiny blocks share nothing once it runs; blocks that change hands go through
    remote words and mailboxes."""
    done = hakmem("bench", "--scaling", "-n", "1", "--workload", "tiny_hot", "--workload",
                  "producer_consumer", "--ops", "40000", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = results.read(tmp_path / "out/scaling.csv").rows
    assert [row["workload"] for row in rows].count("producer_consumer") == 6
    tiny = rows[0]
    assert tiny["workload"] == "tiny_hot" and tiny["atomics"] == "0"
    assert float(tiny["ns_per_op"]) > 0.1
    two = next(row for row in rows if row["threads"] == "2")
    sends = int(two["ops"]) / 2 / 64
    assert 0.5 * sends < int(two["word.remote"]) < 4 * sends
    assert "tiny_hot" in done.stdout and "saturates" not in done.stderr
