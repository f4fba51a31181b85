# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem trace: what is recorded of trace_program.c, the readers on damaged files, the replay."""

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import cli, places, tracefile

HERE = Path(__file__).resolve().parent
TRACES = sorted((places.ROOT / "bench/traces").glob("*.hktrace.*"))
OWN = 5000  # the least size of trace_program.c's own blocks
CHUNK = tracefile.CHUNK_BYTES


def built(name):
    path = places.build_dir() / "bench" / name
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


def compile_c(source, output, *flags):
    subprocess.run(["gcc", "-O1", "-pthread", "-fno-builtin", "-w", *flags, "-o", output, source],
                   check=True, timeout=60)
    return output


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    return compile_c(HERE / "trace_program.c", tmp_path_factory.mktemp("c") / "trace_program")


class Recording:
    """One run of trace_program.c under the recorder, converted."""

    def __init__(self, folder, program, mode, limit=64 << 20, preload=""):
        self.done = subprocess.run(
            [program, mode], capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "LD_PRELOAD": f"{built('libhakmem_trace.so')} {preload}".strip(),
                 "HAKMEM_TRACE_FILE": f"{folder}/%p", "HAKMEM_TRACE_LIMIT": str(limit)})
        self.raws = [tracefile.Raw(path) for path in folder.iterdir()]
        self.raw = next(raw for raw in self.raws if raw.program == "trace_program")
        self.header, self.data = tracefile.Converter(self.raw).convert()
        self.events = list(tracefile.Reader(self.data).events())
        self.told = dict((name, int(count)) for name, count in
                         re.findall(r"(\w+)=(\d+)", self.done.stdout))

    def own(self):
        """(name, bytes given, bytes taken, log2 of the alignment) of the program's own calls."""
        return [(tracefile.NAMES[op], size, had, align)
                for _, op, _, _, size, had, align in self.events if max(size, had) >= OWN]

    def counts(self):
        names = [event[0] for event in self.own()]
        return {name: names.count(name) for name in sorted(set(names))}


FIRST = [("malloc", OWN + 101, 0, 0), ("free", 0, OWN + 101, 0)]  # of the constructor's block


def test_kinds(tmp_path, program):
    r = Recording(tmp_path, program, "kinds")
    assert r.own() == FIRST + [
        ("malloc", 5000, 0, 0), ("calloc", 15000, 0, 0), ("realloc", 100000, 5000, 0),
        ("reallocarray", 10000, 15000, 0),
        ("posix_memalign", 5001, 0, 12), ("free", 0, 5001, 0),
        ("aligned_alloc", 5002, 0, 8), ("free", 0, 5002, 0),
        ("memalign", 5003, 0, 6), ("free", 0, 5003, 0),
        ("valloc", 5004, 0, 0), ("free", 0, 5004, 0),
        ("pvalloc", 5005, 0, 0), ("free", 0, 5005, 0),
        ("free", 0, 100000, 0), ("free", 0, 10000, 0),
        ("realloc", 5006, 0, 0), ("free", 0, 5006, 0)]
    assert sum(op == tracefile.FREE and not taken for _, op, _, taken, *_ in r.events) == 1
    # the realloc and the malloc that are too large, and the realloc to nothing; libc's reallocarray
    # calls realloc
    assert (r.header.failed, r.header.unknown, r.raw.skipped) == (3, 0, 1)
    assert (r.header.peak, r.header.cut) == (115005, False)


def check_threads(r):
    summary = tracefile.summarize(r.data)
    expected = {name: r.told[name] for name in ("malloc", "calloc", "realloc", "free")}
    expected["malloc"] += 1  # the constructor's
    expected["free"] += 1
    assert r.counts() == expected
    assert summary.crossing == r.told["crossing"] > 1000
    assert (r.header.threads, r.header.unknown, r.header.failed) == (4, 0, 0)


def test_threads(tmp_path, program):
    r = Recording(tmp_path, program, "threads")
    check_threads(r)
    assert r.raw.skipped == 0


def test_threads_on_hakmem(tmp_path, program):
    library = places.build_dir() / "libhakmem.so"
    if not library.exists():
        pytest.skip("no libhakmem.so")
    r = Recording(tmp_path, program, "threads", preload=library)
    check_threads(r)
    assert r.done.stderr == ""


def test_addresses_in_use_again_at_once(tmp_path, program):
    library = compile_c(HERE / "trace_reuse.c", tmp_path / "reuse.so", "-shared", "-fPIC")
    folder = tmp_path / "raw"
    folder.mkdir()
    check_threads(Recording(folder, program, "threads", preload=library))


def test_limit(tmp_path, program):
    r = Recording(tmp_path, program, "threads", limit=8 * CHUNK)
    assert r.header.cut
    assert r.raw.path.stat().st_size == 8 * CHUNK
    assert r.header.unknown == 0  # a free whose malloc is missing would be one
    assert 7 * CHUNK // 32 - 3 * CHUNK // 16 < len(r.events) < sum(r.told.values()) / 2
    # what a thread wrote after the cut is there, and is left out
    numbers = [number for number, *_ in r.raw.events()]
    assert numbers == sorted(set(numbers)) and numbers[-1] < r.raw.cut_at


def test_a_thousand_threads(tmp_path, program):
    r = Recording(tmp_path, program, "churn", limit=16 * CHUNK)
    assert not r.header.cut  # each with a chunk of its own would need 64 MiB
    assert r.header.threads == 1001
    assert r.counts() == {"malloc": 1001, "free": 1001}


def test_fork_vfork_and_exec(tmp_path, program):
    r = Recording(tmp_path, program, "forks")
    assert r.own() == FIRST + [("malloc", 5000, 0, 0), ("free", 0, 5000, 0),
                               ("malloc", 5001, 0, 0), ("free", 0, 5001, 0)]
    assert r.header.unknown == 0
    assert sorted(raw.program for raw in r.raws) == ["trace_program", "true"]
    assert r.done.returncode == 0  # the child's calls had nowhere to go, and did not fail


def test_exec_starts_a_file(tmp_path, program):
    r = Recording(tmp_path, program, "exec")
    assert sorted(raw.program for raw in r.raws) == ["again", "trace_program"]
    assert len({raw.path.name.split(".")[0] for raw in r.raws}) == 1  # one process


@pytest.mark.parametrize("mode", ["_exit", "kill"])
def test_nothing_is_lost_at_the_end(tmp_path, program, mode):
    r = Recording(tmp_path, program, mode)
    assert r.done.returncode == (-9 if mode == "kill" else 0)
    assert r.own() == FIRST + [("malloc", 5001, 0, 0), ("free", 0, 5001, 0)]


def test_killed_while_it_records(tmp_path, program):
    r = Recording(tmp_path, program, "endless", limit=1 << 20)
    assert r.done.returncode == -9
    assert r.header.cut and r.header.unknown == 0
    assert len(r.events) > 10000


def test_no_place_to_record(tmp_path, program):
    def run(**env):
        done = subprocess.run([program, "kinds"], capture_output=True, text=True, timeout=60,
                              check=True, env={**os.environ, **env,
                                               "LD_PRELOAD": str(built("libhakmem_trace.so"))})
        return done.stderr

    assert run() == ""
    assert re.fullmatch("hakmem_trace: not recording: cannot create the file: .*\n",
                        run(HAKMEM_TRACE_FILE=str(tmp_path / "none/file")))
    assert re.fullmatch("hakmem_trace: not recording: HAKMEM_TRACE_LIMIT is no number of bytes: "
                        "64M\n", run(HAKMEM_TRACE_FILE=str(tmp_path / "f"),
                                     HAKMEM_TRACE_LIMIT="64M"))
    assert not list(tmp_path.iterdir())


def test_full_disk(tmp_path, program):
    """Recording stops at the last chunk that there is room for; the program goes on."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", tmp_path],
                      capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system")
    try:
        r = Recording(tmp_path, program, "threads")
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert r.done.returncode == 0
    assert r.header.cut and r.header.unknown == 0
    assert 5000 < len(r.events) < sum(r.told.values()) / 2


# ---- Readers -------------------------------------------------------------------------------------

def trace(*events, threads=1, blocks=None, count=None, peak=0, tail=b"\0", version=1):
    """A compact trace of (byte, …) events, with a header that may lie."""
    plain = [event for event in events if event[0] != tracefile.THREAD]
    given = sum(event[0] not in tracefile.FREES for event in plain)
    header = tracefile.Header(4096, 0, "hand", len(plain) if count is None else count,
                              given if blocks is None else blocks, threads, peak=peak).pack()
    header = header[:8] + version.to_bytes(4, "little") + header[12:]
    return header + b"".join(map(bytes, events)) + tail


GOOD = trace((2, 100), (1, 1), (3, 2, 50), (4, 2, 200, 1), (1, 0), (6, 8, 10), (11, 1), (11, 0),
             (12, 3), threads=2, peak=310)
BAD = {
    "is no trace of hakmem": [b"", b"x", GOOD[:127], b"X" + GOOD[1:], b"\x7fELF" * 100],
    "is of version 2": [trace(version=2)],
    "the file ends": [GOOD[:-1], GOOD[:-2], GOOD[:140], trace((2, 200), tail=b"")],
    "goes on after the end": [GOOD + b"\0", GOOD + GOOD],
    "not live|never given": [trace((11, 1), blocks=0), trace((2, 9), (11, 1), (11, 1)),
                             trace((2, 9), (11, 2)), trace((2, 9), (4, 1, 9), (11, 2))],
    "a thread out of turn": [trace((1, 2), (2, 9), threads=2), trace((1, 2), (2, 9), threads=3)],
    "does not exist": [trace((14, 1)), trace((255,))],
    "other counts|impossible counts|more blocks": [
        trace((2, 9), count=2), trace((2, 9), blocks=0), trace((2, 9), threads=2),
        trace((2, 9), threads=0), trace((2, 9), threads=1 << 31), trace((2, 9), count=1 << 60),
        trace((2, 9), (2, 9), blocks=1)],
    "2\\^47|too large": [trace((2, 255, 255, 255, 255, 255, 255, 63)),
                         trace((3, 255, 255, 255, 255, 15, 255, 255, 255, 255, 15))],
    "alignment|too large": [trace((6, 31, 10))],
    "63 bits|too large": [trace((2,) + (255,) * 9 + (1,))],
}
CASES = [(sentence, data) for sentence, many in BAD.items() for data in many]


def drive(data, suffix="system", *options, **env):
    return subprocess.run([built(f"bench_replay_{suffix}"), *options, "-"], input=data,
                          capture_output=True, timeout=120, check=False,
                          env={**os.environ, **env})


def operations(done):
    assert done.returncode == 0, done.stderr.decode()
    return int(re.fullmatch(r"Throughput = \d+ ops/s .* ops=(\d+) .*\n", done.stdout.decode())[1])


def test_good_trace():
    summary = tracefile.summarize(GOOD)
    assert summary.calls == {"malloc": 1, "calloc": 1, "realloc": 1, "aligned_alloc": 1, "free": 2,
                             "free_sized": 1}
    assert (summary.peak, summary.peak_blocks, summary.crossing) == (310, 3, 2)
    assert (summary.left, summary.left_blocks) == (200, 1)
    assert operations(drive(GOOD)) == 7
    assert operations(drive(GOOD, "system", "--repeat", "3")) == 21


@pytest.mark.parametrize("sentence, data", CASES,
                         ids=lambda case: case[:20] if isinstance(case, str) else "")
def test_damaged(sentence, data):
    """Both readers refuse it, with a sentence."""
    with pytest.raises(tracefile.Damaged, match=sentence):
        tracefile.summarize(data)
    done = drive(data)
    assert done.returncode == 2
    assert re.fullmatch(f"bench_replay_system: -: .*({sentence}).*\n", done.stderr.decode())


def test_every_truncation_and_many_changes():
    """The readers agree; the driver's run is short, whatever a changed trace asks for."""
    rng = random.Random(1)
    cases = [GOOD[:length] for length in range(len(GOOD))]
    for _ in range(150):
        changed = bytearray(GOOD)
        changed[rng.randrange(72 + 56, len(GOOD))] ^= 1 << rng.randrange(8)
        cases.append(bytes(changed))
    for data in cases:
        try:
            tracefile.summarize(data)
            good = True
        except tracefile.Damaged as damage:
            good = "another peak" in str(damage)  # which the driver does not look at
        assert drive(data).returncode == (0 if good else 2), data[128:]


def test_damaged_recordings(tmp_path, program):
    r = Recording(tmp_path, program, "kinds", limit=2 * CHUNK)
    data = r.raw.path.read_bytes()
    path = tmp_path / "raw"
    for bad in (b"", data[:100], b"X" + data[1:], data[:8] + b"\2" + data[9:],
                data[:CHUNK] + b"\xff" + data[CHUNK + 1:], data[:CHUNK] + b"\2" + data[CHUNK + 1:]):
        path.write_bytes(bad)
        with pytest.raises(tracefile.Damaged):
            tracefile.Raw(path)
    path.write_bytes(data[:CHUNK + 100])  # as after a copy that was cut: the start is good
    assert list(tracefile.Raw(path).events()) == []


# ---- Replay --------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["system", "hakmem"])
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.split(".")[0])
def test_shipped(path, suffix):
    data = tracefile.load(path)
    header = tracefile.read_header(data)
    assert operations(drive(data, suffix)) == header.events > 100000
    assert not header.cut


def test_shipped_are_few_and_small():
    names = {path.name.split(".")[0] for path in TRACES}
    assert names == {"gcc", "node", "python", "redis", "sqlite"}
    assert sum(path.stat().st_size for path in TRACES) < 10 << 20
    data = tracefile.load(next(path for path in TRACES if path.name.startswith("gcc")))
    summary = tracefile.summarize(data)
    assert sum(summary.calls.values()) == summary.header.events
    assert summary.left <= summary.peak


def table_row(path):
    """A line of the table in docs/trace-format.md, from its second column on."""
    header = tracefile.read_header(tracefile.load(path))
    peak = f"{header.peak >> 10:,} KiB"
    return f"| {header.program} | {header.events:,} | {header.threads} | {peak} |"


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.split(".")[0])
def test_the_table_in_the_docs(path):
    text = (places.ROOT / "docs/trace-format.md").read_text(encoding="utf-8")
    assert f"| `{path.name}` {table_row(path)}" in text


def test_replay_of_threads(tmp_path, program):
    """Blocks cross threads, threads come and go; each call is made, over and over."""
    for mode in ("threads", "churn"):
        folder = tmp_path / mode
        folder.mkdir()
        r = Recording(folder, program, mode)
        for suffix in ("system", "hakmem"):
            done = drive(r.data, suffix, "--repeat", "2", "--touch")
            assert operations(done) == 2 * r.header.events
            assert f"THREADS={r.header.threads} " in done.stdout.decode()


def test_replay_makes_the_calls(tmp_path, program):
    """A replay that is recorded has the calls of its trace."""
    r = Recording(tmp_path, program, "kinds")
    folder = tmp_path / "again"
    folder.mkdir()
    done = drive(r.data, "system", LD_PRELOAD=str(built("libhakmem_trace.so")),
                 HAKMEM_TRACE_FILE=f"{folder}/raw")
    assert operations(done) == r.header.events
    _, data = tracefile.Converter(tracefile.Raw(folder / "raw")).convert()
    again = [(op, size, had, align) for _, op, _, _, size, had, align in
             tracefile.Reader(data).events() if max(size, had) >= OWN]
    page = os.sysconf("SC_PAGESIZE").bit_length() - 1
    expected = []
    for _, op, _, _, size, had, align in r.events:
        if op in (tracefile.VALLOC, tracefile.PVALLOC):
            size = size if op == tracefile.VALLOC else (size + (1 << page) - 1) >> page << page
            op, align = tracefile.MEMALIGN, page
        if had == 5005:
            had = (had + (1 << page) - 1) >> page << page
        if max(size, had) >= OWN:
            expected.append((op, size, had, align))
    assert again == expected


BROKEN = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
void *malloc(size_t); void *calloc(size_t, size_t); void *realloc(void *, size_t);
void *memalign(size_t, size_t); void free(void *);
#ifdef CALLOC
void *calloc(size_t n, size_t m)
{ char *p = NEXT(calloc)(n, m); if (n * m > 4999) p[n * m - 1] = 1; return p; }
#elif defined(MALLOC)
void *malloc(size_t n)
{
	static char *last;
	char *p = NEXT(malloc)(n);
	if (n > 4999) { if (last) last[n - 1] ^= 1; last = p; }
	return p;
}
#elif defined(REALLOC)
void *realloc(void *p, size_t n)
{ char *q = NEXT(realloc)(p, n); if (n > 4999) q[0] ^= 1; return q; }
#elif defined(MEMALIGN)
void *memalign(size_t a, size_t n) { return NEXT(malloc)(n + a); }
#endif
"""


@pytest.mark.parametrize("what, events", [
    ("CALLOC", [(3, 1, 136, 39)]),
    ("MALLOC", [(2, 136, 39), (2, 136, 39), (11, 2), (11, 1)]),
    ("REALLOC", [(2, 136, 39), (4, 1, 136, 78)]),
    ("MEMALIGN", [(8, 20, 136, 39)]),
])
def test_replay_checks_the_allocator(tmp_path, what, events):
    """An allocator that loses what was written, or gives what is not asked for, ends the replay."""
    (tmp_path / "broken.c").write_text(BROKEN)
    library = compile_c(tmp_path / "broken.c", tmp_path / "broken.so", "-shared", "-fPIC",
                        f"-D{what}")
    data = trace(*events)
    assert operations(drive(data)) == len(events)
    done = drive(data, LD_PRELOAD=str(library))
    assert done.returncode == -6
    assert b"does not hold what was written" in done.stderr


# ---- The command ---------------------------------------------------------------------------------

def test_command(tmp_path, program, capfd):
    output = tmp_path / "a.hktrace.xz"
    built("libhakmem_trace.so")
    assert cli.run(["trace", "-o", str(output), "--limit", "1M", "--", str(program), "kinds"]) == 0
    told = capfd.readouterr().out
    assert told.startswith("trace_program, recorded 20") and "2 malloc" not in told.split("\n")[0]
    assert f"{output}: " in told
    assert cli.run(["trace", "--info", str(output)]) == 0
    assert capfd.readouterr().out in told
    assert cli.run(["trace", "--replay", str(output), "--preload",
                    f"it={built('libhakmem_trace.so')}"]) == 0
    assert re.fullmatch(r"it: Throughput = .* malloc=libhakmem_trace.so\n", capfd.readouterr().out)


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_compressions(tmp_path, suffix):
    path = tmp_path / f"a.hktrace{suffix}"
    tracefile.compress(path, GOOD)
    assert tracefile.load(path) == GOOD
    if suffix:
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(tracefile.Damaged, match="decompressed"):
            tracefile.load(path)


@pytest.mark.parametrize("words, sentence", [
    ([], "what is to be recorded"),
    (["--limit", "much", "--", "true"], "'much' is no size"),
    (["--info", "/nonexistent"], "No such file"),
    (["--info", "/etc/passwd"], "/etc/passwd: is no trace of hakmem"),
    (["--replay", "/etc/passwd"], "/etc/passwd: is no trace of hakmem"),
    (["--info", "x", "--", "true"], "start no program"),
    (["--preload", "a=/nonexistent", "--", "true"], "is not NAME=PATH"),
    (["--nonsense"], "unrecognized arguments"),
])
def test_bad_command_lines(words, sentence, capfd):
    if "true" in words:
        built("libhakmem_trace.so")
    assert cli.run(["trace", *words]) == 2
    error = capfd.readouterr().err
    assert error.startswith("hakmem: ") and sentence in error and error.count("\n") == 1


def test_program_that_does_not_exist(capfd):
    built("libhakmem_trace.so")
    assert cli.run(["trace", "--", "/nonexistent"]) == 127
    assert capfd.readouterr().err == "hakmem: /nonexistent: No such file or directory\n"
