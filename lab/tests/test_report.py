# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The report: its readers on damaged files, its figures against the CSV's, its texts."""

import csv
import re
import statistics
from html import unescape
from html.parser import HTMLParser

import pytest
import report_data

pytest.importorskip("jinja2", reason="no jinja2: apt-get install python3-jinja2")

from lab import (cli, report_compare, report_files, report_more, report_plots, report_sections,
                 report_text, results)


class Page(HTMLParser):
    """The tables of a page, by caption: [[cell]] with the head first."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.row, self.cell, self.name, self.text = {}, None, None, "", text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get("role") == "region":
            self.name = attrs["aria-label"]
            assert self.name not in self.tables, "two tables of one name"
            self.tables[self.name] = []
        elif tag == "tr":
            self.row = []
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.row.append(" ".join(self.cell.split()))
            self.cell = None
        elif tag == "tr":
            self.tables[self.name].append(self.row)

    def find(self, name, *cells):
        """The one line of a table that has these cells."""
        found = [row for row in self.tables[name] if all(cell in row for cell in cells)]
        assert len(found) == 1, (name, cells, found)
        return dict(zip(self.tables[name][0], found[0]))


def run(*words):
    return cli.run(["report", *map(str, words)])


def make_page(tmp_path, *words):
    assert run(*words, "-o", tmp_path / "page.html") == 0
    return Page((tmp_path / "page.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Page and scorecard of a file of every kind."""
    path = tmp_path_factory.mktemp("report")
    words = report_data.everything(path)
    assert run(*words, "-o", path / "page.html", "--scorecard", path / "card.md") == 0
    return path


# ---- Readers ------------------------------------------------------------------------------------

AB = "workload,arguments,arm,repetition,ops_per_s,ops_per_cpu_s,wall_s,cpu_s,peak_kib," \
     "steal_percent,foreign_percent,disturbed\n"
HEAD = f"{results.MAGIC}\n# kind: ab\n"


@pytest.mark.parametrize("content, sentence", [
    ("", "bad.csv: empty"),
    ("a,b\n1,2\n", "bad.csv: does not begin with"),
    (f"{results.MAGIC}\n# kind\n", "bad.csv:2: not '# name: value'"),
    (f"{results.MAGIC}\n# kind: ab\n", "bad.csv: no line of column names"),
    (f"{results.MAGIC}\n{AB}", "bad.csv: no line '# kind: …'"),
    (f"{results.MAGIC}\n# kind: novel\n{AB}", "bad.csv: unknown kind 'novel'"),
    (f"{HEAD}workload,arm\nx,a\n", "bad.csv:3: no column arguments, repetition, ops_per_s"),
    (f"{HEAD}{AB}", "bad.csv: no rows"),
    (f"{HEAD}{AB}x,1 2,a,0,5,5,1,1,9,0,0", "bad.csv: no rows"),
    (f"{HEAD}{AB}x,1 2,a,0,5,5,1,1,9,0,0\n", "bad.csv:4: 11 fields instead of 12"),
    (f"{HEAD}{AB}x,1,a,0,5,5,1,1,9,0,0,0\nx,1,a,1,fast,5,1,1,9,0,0,0\n",
     "bad.csv:5: ops_per_s is 'fast'"),
    (f"{HEAD}{AB}x,1,a,0,nan,5,1,1,9,0,0,0\n", "bad.csv:4: ops_per_s is 'nan'"),
    (f"{HEAD}{AB}x,1,a,0,inf,5,1,1,9,0,0,0\n", "bad.csv:4: ops_per_s is 'inf'"),
    (f"{HEAD}{AB}x,1,a,0,-5,5,1,1,9,0,0,0\n", "bad.csv:4: ops_per_s is '-5'"),
    (f"{HEAD}{AB}x,1,a,0,0,5,1,1,9,0,0,0\n", "bad.csv:4: ops_per_s is 0"),
    (f"{HEAD}{AB},1,a,0,5,5,1,1,9,0,0,0\n", "bad.csv:4: workload is empty"),
    ("\0\1\2", "bad.csv: does not begin with"),
    (b"\xff\xfe\xfd", "bad.csv: not a text"),
])
def test_a_bad_file_is_named_and_the_good_ones_are_shown(tmp_path, capsys, content, sentence):
    bad = tmp_path / "bad.csv"
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run(bad, "-o", tmp_path / "page.html") == cli.USAGE
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()

    good = report_data.ab(tmp_path / "runs.csv")
    assert run(bad, good, "-o", tmp_path / "page.html") == cli.USAGE
    page = unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert sentence in page and "A/B verdicts" in page
    assert sentence in capsys.readouterr().err


def test_what_is_not_there_is_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for word, sentence in ((tmp_path / "none", "there is no such file"),
                           (tmp_path / "empty", "no CSV files in this directory")):
        assert run(word) == cli.USAGE
        assert f"{word}: {sentence}" in capsys.readouterr().err
    assert run() == cli.USAGE


def test_a_page_that_cannot_be_written_says_so(tmp_path, capsys):
    good = report_data.ab(tmp_path / "runs.csv")
    assert run(good, "-o", tmp_path / "no" / "page.html") == cli.USAGE
    assert "can't be written" in capsys.readouterr().err


def test_directories_stand_for_their_files_and_the_page_goes_there(tmp_path, capsys):
    report_data.ab(tmp_path / "run" / "runs.csv")
    (tmp_path / "run" / "logs").mkdir()
    (tmp_path / "run" / "logs" / "raw.csv").write_text("not results", encoding="utf-8")
    assert run(tmp_path / "run") == 0
    assert capsys.readouterr().out == f"{tmp_path}/run/report.html\n"
    assert run(tmp_path / "run", tmp_path / "run" / "runs.csv") == 0
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("hakmem ab") == 1


def test_a_last_line_without_its_end_is_told(tmp_path):
    path = report_data.ab(tmp_path / "runs.csv")
    path.write_text(path.read_text(encoding="utf-8")[:-1], encoding="utf-8")
    page = make_page(tmp_path, path)
    assert "File 1: the last line has no end" in page.text
    assert page.find("Files and commands", "ab")["rows"] == "79"


# ---- Figures ------------------------------------------------------------------------------------

def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def median_of(rows, column, **cells):
    return statistics.median(float(row[column]) for row in rows
                             if all(row[name] == value for name, value in cells.items()))


def test_speed_and_memory_are_those_of_the_file(whole):
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    rows = [row for row in rows_of(whole / "suite" / "results.csv") if row["disturbed"] == "0"]
    where = {"workload": "vm_mixed", "arguments": "200000 256 1"}
    own = median_of(rows, "ops_per_s", allocator="mimalloc", **where)
    base = median_of(rows, "ops_per_s", allocator="glibc", **where)
    line = page.find("Speed, every row and allocator", "vm_mixed", "mimalloc")
    assert line["median M ops/s"] == f"{own / 1e6:.2f}"
    assert line["n"] == "7"
    index = page.tables["Speed, every row and allocator"][0].index("ratio × glibc")
    cells = next(row for row in page.tables["Speed, every row and allocator"]
                 if row[0] == "vm_mixed" and row[2] == "mimalloc")
    assert cells[index] == f"{own / base:.2f}"

    own = median_of(rows, "peak_kib", allocator="mimalloc", **where)
    base = median_of(rows, "peak_kib", allocator="glibc", **where)
    line = page.find("Peak RSS, every row and allocator", "vm_mixed", "mimalloc")
    assert (line["median MiB"], line["ratio × glibc"]) == (f"{own / 1024:.1f}", f"{own / base:.2f}")

    ratios = []
    for workload, arguments, *_ in report_data.ROWS:
        where = {"workload": workload, "arguments": arguments}
        ratios.append(median_of(rows, "ops_per_s", allocator="hakmem", **where)
                      / median_of(rows, "ops_per_s", allocator="glibc", **where))
    mean = f"{statistics.geometric_mean(ratios):.2f}"
    line = page.find("Speed against glibc", "hakmem")
    assert (line["mean ratio × glibc"], line["rows"]) == (mean, "7 of 7")
    assert (line["best"], line["worst"]) == (f"{max(ratios):.2f}", f"{min(ratios):.2f}")
    assert page.find("Where each allocator stands", "hakmem")["speed × glibc, 7 rows"] == mean
    assert f"hakmem {mean}" in page.text


def test_dots_stand_where_their_ratio_is(whole):
    sources = [report_files.read(whole / "suite" / "results.csv")]
    rows = report_compare.gather(sources)
    context = report_sections.Context({"suite": sources},
                                      report_plots.series_slots(report_data.FACTORS))
    dots = report_sections.ratio_dots(context, rows, "", "", report_compare.SPEED)
    page = (whole / "page.html").read_text(encoding="utf-8")
    for row, (_, _, front, lanes) in zip(rows, dots.rows):
        found = report_compare.ratio(row, "hakmem", "glibc", report_compare.SPEED)
        assert front == f"{found.value:.2f}"
        assert lanes[0].low <= lanes[0].at <= lanes[0].high
        assert lanes[0].at == dots.axis.at(found.value) > dots.one
        assert f'x="{lanes[0].at}%"' in page
    lanes = dots.rows[-1][3]
    assert lanes[-1].at is None and lanes[-1].trouble == "scudo <&>: signal 11 (7×)"


def test_failures_and_disturbed_rows_are_counted_and_in_no_figure(whole):
    page = (whole / "page.html").read_text(encoding="utf-8")
    text = unescape(page)
    assert "larson, 4 threads, scudo <&>: signal 11 (7×)" in text
    assert "redis, mimalloc: timeout (5×)" in text
    assert "2 of 456 measurements ran while others used the machine, and are left out" in text
    assert "scudo <" not in page, "not escaped"
    assert "over 4 rows only" in text
    assert "Speed and peak memory of the workloads: not of tbb." in text


def test_disturbed_repetitions_have_to_do_where_there_are_too_few_others(tmp_path):
    rows = [{"workload": "w", "arguments": "1", "threads": 1, "allocator": name, "repetition": at,
             "status": "ok", "ops_per_s": speed, "disturbed": int(name == "hakmem" and at > 1)}
            for at in range(4) for name, speed in (("hakmem", 200 if at > 1 else 300),
                                                   ("glibc", 100))]
    path = report_data.write(tmp_path / "results.csv", "suite", rows, repetitions=4)
    page = make_page(tmp_path, path)
    line = page.find("Speed, every row and allocator", "hakmem")
    assert (line["n"], line["failed or disturbed"]) == ("4*", "2 disturbed")
    assert page.find("Wins and losses in speed, row by row", "w")["glibc"] == "2.50 ▲*"
    assert "1 of 2 figures rest on them" in page.text
    assert 'class="hollow"' in page.text


def test_figures_are_without_disturbed_and_failed_repetitions(tmp_path):
    speeds = [("ok", 300, 0)] * 4 + [("ok", 100, 1), ("ok", 100, 1), ("exit 1", 100, 0)]
    rows = [{"workload": "w", "arguments": "1", "threads": 1, "allocator": name, "repetition": at,
             "status": "ok" if name == "glibc" else status, "disturbed": disturbed,
             "ops_per_s": 100 if name == "glibc" else speed}
            for at, (status, speed, disturbed) in enumerate(speeds) for name in ("hakmem", "glibc")]
    page = make_page(tmp_path, report_data.write(tmp_path / "r.csv", "suite", rows))
    line = page.find("Speed, every row and allocator", "hakmem")
    assert (line["n"], line["min–max M ops/s"]) == ("4", "0.000300–0.000300")
    assert line["failed or disturbed"] == "exit 1 (1×), 2 disturbed"
    assert page.find("Speed against glibc", "hakmem")["mean ratio × glibc"] == "3.00"


@pytest.mark.parametrize("low, high, more, less", [
    (1.01, 1.2, "won", "lost"), (0.8, 0.99, "lost", "won"), (0.99, 1.2, "even", "even"),
    (0.8, 1.01, "even", "even"), (1, 1, "even", "even")])
def test_a_row_is_won_when_the_whole_interval_says_so(low, high, more, less):
    for value in (low, high):
        found = report_compare.stats.Ratio(value, low, high)
        assert report_compare.outcome(found, report_compare.SPEED) == more
        assert report_compare.outcome(found, report_compare.PEAK) == less


def test_the_fastest_is_named_only_when_it_is_told_apart(tmp_path):
    def rows(other):
        return [{"workload": f"w{row}", "arguments": "1", "threads": 1, "allocator": name,
                 "repetition": at, "status": "ok", "disturbed": 0,
                 "ops_per_s": speed * (1 + 0.02 * ((7 * at + 3 * row + len(name)) % 5))}
                for row in range(3) for at in range(8)
                for name, speed in (("hakmem", 200), ("mimalloc", other), ("glibc", 100))]

    for other, said in ((199.9, "hakmem is the fastest, but not told apart from mimalloc, by"),
                        (150, "hakmem is the fastest, by"), (260, "mimalloc is the fastest, by")):
        path = report_data.write(tmp_path / f"{other}.csv", "suite", rows(other))
        assert f"{said} geometric mean over 3 rows." in make_page(tmp_path, path).text
    part = report_data.write(tmp_path / "part.csv", "suite",
                             [row for row in rows(260)
                              if (row["allocator"], row["workload"]) != ("mimalloc", "w0")])
    assert "hakmem is the fastest, but behind mimalloc on the 2 rows that both have, by " \
        in make_page(tmp_path, part).text
    alone = report_data.write(tmp_path / "slow.csv", "suite",
                              [row | {"ops_per_s": 50 if row["allocator"] == "hakmem" else 100}
                               for row in rows(150) if row["allocator"] != "mimalloc"])
    assert "glibc is the fastest, by geometric mean" in make_page(tmp_path, alone).text


def test_interrupted_and_absent_allocators_are_told(tmp_path):
    factors = {"hakmem": 1.4, "glibc": 1}
    path = report_data.suite(tmp_path / "results.csv", 5, factors)
    lines = path.read_text(encoding="utf-8").replace(
        "allocators: ", "allocators: snmalloc=libsn.so 1, ").splitlines(keepends=True)
    path.write_text("".join(lines[:-len(report_data.ROWS)]), encoding="utf-8")
    text = unescape(make_page(tmp_path, path).text)
    assert "larson, 4 threads, hakmem and glibc: 4 of 5 repetitions" in text
    assert "snmalloc: not measured" in text


def test_one_repetition_has_no_interval(tmp_path):
    page = make_page(tmp_path, report_data.suite(tmp_path / "r.csv", 1, disturbed=0))
    line = page.find("Speed against glibc", "hakmem")
    assert line["95 % interval"] == "unknown"
    assert page.find("hakmem's speed against each", "glibc")["undecided rows"] == "7"
    assert 'class="span"' not in page.text


def test_a_file_without_glibc_says_what_the_ratios_are_to(tmp_path):
    page = make_page(tmp_path, report_data.suite(tmp_path / "r.csv", 3,
                                                 {"mimalloc": 1.3, "jemalloc": 1.1}))
    assert "Speed against mimalloc" in page.tables
    assert "× glibc" not in page.text


def test_files_of_different_runs_are_not_mixed(tmp_path):
    one = report_data.suite(tmp_path / "one.csv", 3, {"hakmem": 1.4, "glibc": 1}, commit="aaa")
    two = report_data.suite(tmp_path / "two.csv", 3, {"hakmem": 2.4, "glibc": 1}, commit="bbb+")
    page = make_page(tmp_path, one, two)
    assert page.find("Speed against glibc", "hakmem")["rows"] == "14 of 14"
    assert page.find("Wins and losses in speed, row by row", "vm_mixed [file 2]")
    assert "The files differ in commit: aaa (file 1); bbb+ (file 2)." in page.text
    assert "The tree had changes that are in no commit: file 2." in page.text


def test_programs_ratios_are_speeds(whole):
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    rows = rows_of(whole / "programs" / "programs.csv")
    ratios = [median_of(rows, "cpu_s", allocator="glibc", program=name)
              / median_of(rows, "cpu_s", allocator="hakmem", program=name)
              for name in ("sqlite", "gcc", "lua", "redis")]
    line = page.find("Real programs: speed against glibc, by CPU time", "hakmem")
    assert line["mean ratio × glibc"] == f"{statistics.geometric_mean(ratios):.2f}"
    assert line["best"] == f"{max(ratios):.2f}"


def test_quantiles_are_those_of_the_values():
    values = sorted((at * at) % 97 for at in range(1000))
    buckets = sorted((limit, values.count(limit)) for limit in set(values))
    for share in (0.001, 0.25, 0.5, 0.9, 0.999, 1):
        assert report_sections.quantile(buckets, share) == values[max(round(share * 1000) - 1, 0)]
    assert report_sections.quantile([(1, 50), (2, 50)], 0.5) == 1
    assert report_sections.quantile([(1, 999), (2, 1)], 0.999) == 1


def test_repetitions_of_a_histogram_are_added(tmp_path):
    rows = [{"workload": "w", "arguments": "", "allocator": "hakmem", "repetition": at,
             "operation": "malloc", "le_ns": limit, "count": number}
            for at in (0, 1) for limit, number in ((10, 90), (1000, 9), ("inf", at))]
    page = make_page(tmp_path, report_data.write(tmp_path / "latency.csv", "latency", rows))
    line = page.find("Latency", "hakmem")
    assert (line["p50"], line["p99"], line["operations"]) == ("10 ns", "1.00 µs", "199")
    assert line["worst"] == "beyond the last bucket"


def test_memory_over_time():
    assert report_sections.time_figures([(0, 10), (1, 30), (3, 0)]) == (30, (20 + 30) / 3, 0)


def test_what_stays(tmp_path):
    page = make_page(tmp_path, report_data.retain(tmp_path / "retain.csv"))
    line = page.find("What stays", "equal", "hakmem")
    assert line["at the end MiB"] == f"{30000 * 1.4 / 1024:.1f}"
    assert (line["peak × live"], line["at the end × left"], line["system calls"]) == (
        "1.00", "", "190")
    line = page.find("What stays", "scatter", "glibc")
    assert (line["at the end × left"], line["system calls"]) == ("1.50", "")


def test_scaling_joins_the_rows_that_differ_in_threads_alone(whole):
    def row(workload, arguments, threads):
        return report_compare.Row(None, workload, arguments, threads)

    larson = [row("larson", f"1 8 {most} 4141 {t}", t) for t in (1, 2, 4) for most in (128, 1000)]
    shared = [row("mid", f"{t} {6000 // t} 256", t) for t in (1, 2, 4)]
    single = [row("tiny", "32", 1), row("replay", "x", None)]
    groups = report_sections.scaling_groups(larson + shared + single)
    assert [(workload, said, [r.threads for r in rows]) for workload, said, rows in groups] == [
        ("larson", "1 8 128 4141 T", [1, 2, 4]), ("larson", "1 8 1000 4141 T", [1, 2, 4]),
        ("mid", "T 6000/T 256", [1, 2, 4])]
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    rows = rows_of(whole / "suite" / "results.csv")
    speed = median_of(rows, "ops_per_s", allocator="jemalloc", workload="larson", threads="4")
    line = page.find("Speed by threads", "jemalloc", "4")
    assert line["speed M ops/s"] == report_text.figure(speed / 1e6)


def test_system_calls_include_the_others(tmp_path):
    row = {"workload": "w", "arguments": "1", "ops": 1000000, "mmap": 2, "munmap": 0, "madvise": 1}
    path = report_data.write(tmp_path / "s.csv", "syscalls", [
        row | {"allocator": "hakmem", "other": 0, "per_million_ops": 3, "inside": 3},
        row | {"allocator": "glibc", "other": 7, "per_million_ops": 3}])
    page = make_page(tmp_path, path)
    assert page.find("System calls", "glibc")["all calls per million ops"] == "10.0"
    assert "1 run together: hakmem 3.00, glibc 10.0." in page.text
    path = report_data.write(tmp_path / "n.csv", "syscalls", [
        row | {"allocator": "hakmem", "munmap": -4, "other": 0, "per_million_ops": -1}])
    page = make_page(tmp_path, path)
    assert page.find("System calls", "hakmem")["all calls per million ops"] == "-1.00"


def test_soaks_are_judged_as_by_the_analysis(tmp_path, whole):
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    line = page.tables["Verdicts of soaks"][1]
    assert line[:4] == ["hakmem balanced 400 slots", "PASS", "2,400", "2"]
    path = report_data.soak(tmp_path / "epochs.csv", 100)
    head, *rows = [line for line in path.read_text(encoding="utf-8").splitlines(True)
                   if not line.startswith("#")]
    names = head.strip().split(",")
    at = names.index("rss_kib")
    grown = []
    for number, row in enumerate(rows):
        cells = row.strip().split(",")
        cells[at] = str(6000 + 20 * number)
        grown.append(dict(zip(names, cells)))
    path = report_data.write(tmp_path / "grown.csv", "soak", grown,
                             program="bench_random_mixed_mi")
    page = make_page(tmp_path, path)
    assert page.find("Verdicts of soaks", "mimalloc")["verdict"].startswith("FAIL: RSS drift +")
    assert "mimalloc: FAIL: RSS drift" in page.text


def test_duels_use_the_threshold_of_their_run(tmp_path, whole):
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    words = [row[0] for row in page.tables["Verdicts of A/B"][1:]]
    assert words == ["NEUTRAL", "NEUTRAL", "GO", "NO-GO"]
    assert page.find("Verdicts of A/B", "GO")["candidate"] == "hakmem"
    path = report_data.ab(tmp_path / "runs.csv")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("threshold_percent: 1.0", "threshold_percent: 4"),
                    encoding="utf-8")
    words = [duel.verdict.word for duel in report_more.duels([report_files.read(path)])]
    assert words == ["NEUTRAL"] * 4


def test_axes():
    for values in ([1.01], [0.97, 1.03], [0.5, 6.3], [0.0003, 4000], [1], [1.3, 1.4]):
        axis = report_plots.ratio_axis(values, "")
        assert 2 <= len(axis.ticks) <= 10, (values, axis.ticks)
        assert any(text == "1" for _, text in axis.ticks)
        assert all(at == axis.at(float(text)) for at, text in axis.ticks)
        assert all(0 <= axis.at(value) <= 100 for value in values)
        assert axis.at(min(values)) < axis.at(max(values) * 1.001)
    for high in (0.03, 1, 7, 95, 300, 123456):
        axis = report_plots.linear_axis(high, "")
        assert axis.high >= high and 3 <= len(axis.ticks) <= 6
        assert float(axis.ticks[-1][1]) == pytest.approx(axis.high)


def test_long_series_are_drawn_as_medians_and_range():
    points = [(at, 100 + at % 7) for at in range(5000)]
    pieces = report_plots.thin(points)
    assert len(pieces) <= report_plots.POINTS_MAX
    assert all((low, high) == (100, 106) for _, low, _, high in pieces[:-1])
    assert all(102 <= middle <= 104 for _, _, middle, _ in pieces[:-1])


# ---- Page and scorecard as texts ----------------------------------------------------------------

def test_the_same_files_give_the_same_page(tmp_path, whole):
    words = [whole / name for name in ("suite", "programs", "counts", "memory", "latency", "soak",
                                       "ab")]
    assert run(*words, "-o", tmp_path / "page.html", "--scorecard", tmp_path / "card.md") == 0
    for name in ("page.html", "card.md"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_nothing_is_loaded_and_nothing_runs(whole):
    page = (whole / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|<script|<img|<link (?!rel=\"icon\" href=\"data:)|"
                         r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_scorecard_says_what_the_page_says(whole):
    card = (whole / "card.md").read_text(encoding="utf-8")
    page = Page((whole / "page.html").read_text(encoding="utf-8"))
    assert "{" not in card and not re.search(r"(?<!\\)<", card)
    for name in ("Speed against glibc", "hakmem's peak RSS against each", "Latency", "System calls",
                 "RSS over time", "Verdicts of soaks"):
        head, *rows = page.tables[name]
        block = card.split(f"**{name}**")[1].split("**")[0]
        for row in rows:
            cells = [cell.replace("<", "\\<").replace("[", "\\[").replace("]", "\\]")
                     for cell in row]
            assert f"| {' | '.join(cells)} |".replace("|  |", "|  |") in block, (name, row)
    lines = [line for line in card.splitlines() if line.startswith("|")]
    for line, below in zip(lines, lines[1:]):
        if set(below) <= set("|-: "):
            assert line.count("|") == below.count("|")
    for sentence in ("larson, 4 threads | scudo \\<&> | signal 11 (7×) |", "not of tbb.",
                     "| commit | 0123abc | all |", "| hakmem soak |", "2026-11-20T10:00:00Z"):
        assert sentence in card, sentence


def test_the_scorecard_says_what_was_not_measured(tmp_path):
    path = report_data.ab(tmp_path / "runs.csv")
    assert run(path, "-o", tmp_path / "p.html", "--scorecard", tmp_path / "card.md") == 0
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    for title in ("Speed", "Memory", "System calls", "Stability", "Tail latency", "Instructions",
                  "Real programs"):
        assert f"## {title}\n\nNot measured.\n" in card, title
    assert "Nothing of: speed and peak memory of the workloads, real programs" in card
