# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem rss: what it says of a program whose memory is known, and its page."""

import re
import sys

import pytest

from lab import results, rss, rss_page

# 40 MB are held and written to, 20 MB more at the peak; all by hakmem, not by Python's own pools.
PROGRAM = """
import time
kept = [bytes([65 + i % 7]) * 20000 for i in range(2000)]
more = [bytes([65 + i % 7]) * 500000 for i in range(40)]
time.sleep(0.4)
del more
time.sleep(0.4)
"""


@pytest.fixture(name="measured", scope="module")
def fixture_measured(tmp_path_factory):
    """(what was printed, the directory) of one run of each kind."""
    import os
    import subprocess
    from lab import places

    folder = tmp_path_factory.mktemp("rss") / "out"
    env = {k: v for k, v in os.environ.items() if not k.startswith("HAKMEM_")}
    done = subprocess.run([sys.executable, places.ROOT / "hakmem", "rss", "-n", "1", "--every", "10",
                           "--profiles", "speed,lean", "--out", folder, "--", "/usr/bin/python3",
                           "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=100,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def test_the_table(measured):
    lines = measured[0].splitlines()
    assert lines[0].split()[:4] == ["peak", "RSS", "own", "live"]
    rows = {re.split(r"  +", line)[0]: re.split(r"  +", line)[1:] for line in lines[1:5]}
    assert list(rows) == ["speed", "speed, prefaulted", "lean", "lean, prefaulted"]
    for cells in rows.values():
        peak, live, *free = (float(cell) for at, cell in enumerate(cells) if at != 1)
        assert 57 < live < 75
        assert live + sum(free) < peak
        if cells[1] != "–":  # where the machine was too busy to sample
            assert 0 < peak - float(cells[1]) - live - sum(free) + 7 < 14


def test_samples(measured):
    table = results.read(measured[1] / "rss.csv")
    assert table.columns == rss.COLUMNS and table.facts["kind"] == "rss"
    for arm in ("speed", "lean"):
        rows = [row for row in table.rows if row["arm"] == arm]
        assert len(rows) > 4
        times = [float(row["time_s"]) for row in rows]
        assert times == sorted(times) and times[0] == 0 and times[-1] > 0.7
        for row in rows:
            assert abs(sum(float(row[part]) for part in rss.PARTS) - float(row["resident"])) <= 10
        # what was freed after the peak: kept in one profile, gone in the other
        top = max(range(len(rows)), key=lambda n: float(rows[n]["live"]))
        kept = [float(row["dirty"]) + float(row["bigcache"]) for row in rows[top:]
                if 30000 < float(row["live"]) < 50000]
        assert kept and (max(kept) > 10000 if arm == "speed" else max(kept) < 8000)


def test_the_page(measured):
    text = (measured[1] / "rss.html").read_text(encoding="utf-8")
    assert text.count('<figure class="lines">') == 4
    assert all(f"</svg>{name}" in text for name in [*rss.HEAPS, "RSS of the process"])
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")


def test_heaps_have_every_part_once():
    assert len(rss.PARTS) == len(set(rss.PARTS)) == 15


def sample(at, live, rss_kib=None):
    heaps = dict.fromkeys(rss.HEAPS, 0) | {"live": live, "records": 10}
    return rss.Sample(at, rss_kib, live + 10, heaps, {})


def test_own_is_what_is_not_hakmems():
    assert sample(0, 90, 150).own_kib() == 50
    assert sample(0, 90).own_kib() is None
    assert sample(0, 90, 60).own_kib() is None  # held, and not written to


def test_medians_are_of_the_peaks():
    runs = [rss.Measured(1, [sample(0, 5, 99), sample(1, top, top + 40), sample(2, 1, 99)], top + 50)
            for top in (100, 300, 200)]
    found = rss.figures(runs)
    assert (found["live"], found["peak"], found["own"]) == (200, 250, 30)


def test_peaks_that_no_sample_has_seen():
    assert rss.missed([rss.Measured(1, [sample(0, 5, 90)], 100)]) == pytest.approx(0.1)
    assert rss.missed([rss.Measured(1, [sample(0, 5)], 0)]) == 1


def test_the_watcher_finds_the_nearest():
    watcher = rss.Watcher()
    watcher.rss[7] = [(1.0, 10), (2.0, 20)]
    assert watcher.near(7, 1.9, 0.2) == 20
    assert watcher.near(7, 1.5, 0.2) is None
    assert watcher.near(8, 1.9, 0.2) is None


def test_thinning_keeps_the_peak():
    samples = [sample(at / 100, 1000 if at == 777 else at % 50) for at in range(5000)]
    thin = rss_page.thinned(samples)
    assert len(thin) <= rss_page.POINTS_MAX
    assert max(one.heaps["live"] for one in thin) == 1000


@pytest.mark.parametrize("words, said", [
    ([], "PROGRAM"),
    (["--profiles", "fast", "--", "true"], "'fast'"),
    (["-n", "0", "--", "true"], "-n"),
    (["--", "/no/such/program"], "not found"),
])
def test_refusals(hakmem, words, said):
    done = hakmem("rss", *words)
    assert done.returncode != 0 and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_program_that_fails_is_named(hakmem, tmp_path):
    done = hakmem("rss", "-n", "1", "--profiles", "lean", "--prefault", "OFF", "--out",
                  tmp_path / "out", "--", "false")
    assert done.returncode == 1 and "lean: exit 1" in done.stderr
