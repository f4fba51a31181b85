# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Made-up results of every kind, the same at every call, for the tests of the report."""

import random

from lab import report_files, results

FACTS = {"date": "2026-11-20T10:00:00Z", "cpu": "2 x Example CPU", "memory": "16 GiB",
         "kernel": "Linux 6.18.0 x86_64", "libc": "glibc 2.36", "commit": "0123abc",
         "flags": "release cc -O3"}
FACTORS = {"hakmem": 1.4, "glibc": 1.0, "mimalloc": 1.3, "jemalloc": 1.1, "tcmalloc": 1.25,
           "scudo <&>": 0.7}
ROWS = [("random_mixed", "20000000 400 1", 1, 100e6), ("random_mixed", "20000000 8192 1", 1, 80e6),
        ("tiny_hot", "32 64 1000000", 1, 180e6), ("vm_mixed", "200000 256 1", 1, 1.6e6)] \
    + [("larson", f"2 8 1000 5000 100 4141 {t}", t, 80e6 * t ** 0.8) for t in (1, 2, 4)]


def write(path, kind, rows, **facts):
    """A results file; columns that a row has no value for are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = " ".join(report_files.KINDS[kind]).split()
    command = {"command": f"hakmem {kind}"}
    with results.Writer(path, {"kind": kind} | FACTS | command | facts, columns) as file:
        for row in rows:
            file.row(**row)
    return path


def suite(path, repetitions=7, factors=None, rows=None, disturbed=2, **facts):
    chance, made = random.Random(1), []
    factors = factors or FACTORS
    for repetition in range(repetitions):
        for workload, arguments, threads, speed in rows or ROWS:
            for name, factor in factors.items():
                row = {"workload": workload, "arguments": arguments, "threads": threads,
                       "allocator": name, "repetition": repetition, "status": "ok",
                       "disturbed": 0}
                if name.startswith("scudo") and workload == "larson":
                    made.append(row | {"status": "signal 11"})
                    continue
                own = factor ** (0.5 + chance.random() if len(made) % 3 else 1)
                found = speed * own * chance.uniform(0.96, 1.04)
                made.append(row | {
                    "ops": 20000000, "ops_per_s": round(found), "wall_s": 2, "cpu_s": 2 * threads,
                    "ops_per_cpu_s": round(found / threads * 0.99), "steal_percent": 0.1,
                    "peak_kib": round(8000 * threads * (1 + abs(factor - 1))
                                      * chance.uniform(1, 1.1)),
                    "foreign_percent": 0.2})
    for at in range(disturbed):
        made.insert(5, made[at] | {"disturbed": 1, "ops_per_s": 1, "foreign_percent": 60})
    return write(path, "suite", made, allocators=", ".join(f"{n}=lib{n}.so 1.0" for n in factors),
                 repetitions=repetitions, **facts)


def programs(path):
    chance, made = random.Random(2), []
    for repetition in range(5):
        for program, seconds in (("sqlite", 2.1), ("gcc", 4.4), ("lua", 1.2), ("redis", 3)):
            for name in ("hakmem", "glibc", "mimalloc", "jemalloc"):
                time = seconds / FACTORS[name] ** 0.3 * chance.uniform(0.98, 1.02)
                bad = program == "redis" and name == "mimalloc"
                made.append({"program": program, "allocator": name, "repetition": repetition,
                             "status": "timeout" if bad else "ok", "wall_s": "" if bad else time,
                             "cpu_s": "" if bad else time * 0.98,
                             "peak_kib": "" if bad else round(50000 * chance.uniform(1, 1.2)),
                             "minor_faults": 12000, "disturbed": 0})
    return write(path, "programs", made, repetitions=5)


def counts(directory):
    calls, work = [], []
    for workload, arguments, *_ in ROWS[:4]:
        for at, name in enumerate(("hakmem", "glibc", "mimalloc")):
            own = 0 if workload == "tiny_hot" and name == "hakmem" else 40 * (at + 1) ** 3
            calls.append({"workload": workload, "arguments": arguments, "allocator": name,
                          "ops": 1000000, "mmap": own // 2, "munmap": own // 4, "madvise": own // 4,
                          "other": 0, "per_million_ops": own,
                          "inside": own if name == "hakmem" else ""})
            work.append({"workload": workload, "arguments": arguments, "allocator": name,
                         "ops": 1000000, "instructions": (20 + 9 * at) * 1000000,
                         "per_op": 20 + 9 * at})
    return [write(directory / "syscalls.csv", "syscalls", calls),
            write(directory / "instructions.csv", "instructions", work)]


def memory(path):
    made = []
    for name in ("hakmem", "glibc", "mimalloc"):
        for repetition in range(2):
            for step in range(90):
                phase = 1 - abs(step % 30 - 15) / 15
                kib = 20000 + 200000 * phase * FACTORS[name] + 500 * repetition
                made.append({"workload": "phase_shift", "arguments": "256", "allocator": name,
                             "repetition": repetition, "time_s": step / 3, "rss_kib": round(kib)})
    return write(path, "memory", made)


def retain(path):
    made = []
    for name, calls in (("hakmem", 190), ("glibc", "")):
        for repetition in range(3):
            for scenario, left in (("equal", 0), ("scatter", 20000)):
                made.append({"scenario": scenario, "arguments": "64", "allocator": name,
                             "repetition": repetition, "status": "ok", "own_kib": 1024,
                             "live_kib": 200000, "left_kib": left, "freed_kib": 31024,
                             "rss_kib": round(1024 + 30000 * FACTORS[name]), "calls": calls,
                             "peak_kib": 201024})
    return write(path, "retain", made)


def latency(path):
    made = []
    for name, scale in (("hakmem", 1), ("glibc", 1.3), ("mimalloc", 1.1)):
        for operation in ("malloc", "free"):
            for bucket in range(60):
                made.append({"workload": "random_mixed", "arguments": "20000000 400 1",
                             "allocator": name, "repetition": 0, "operation": operation,
                             "le_ns": round(8 * scale * 1.25 ** bucket),
                             "count": int(3e7 * 0.62 ** bucket * scale)})
    return write(path, "latency", made)


def soak(path, epochs=1200, **facts):
    chance, made = random.Random(3), []
    for process in (1, 2):
        for epoch in range(1, epochs + 1):
            speed = 90e6 * chance.uniform(0.97, 1.03)
            made.append({"process": process, "epoch": epoch, "ops": round(speed * 5),
                         "time_s": 5 * (epoch + (process - 1) * epochs),
                         "wall_s": 5, "cpu_s": 5, "ops_per_s": round(speed),
                         "ops_per_cpu_s": round(speed), "minor_faults": 12, "major_faults": 0,
                         "rss_kib": 6000 + min(epoch, 40) * 10 + round(chance.uniform(0, 20)),
                         "vmhwm_kib": 9000, "system_calls": 3,
                         "hakmem_system_calls": 2})
    facts = {"program": "build/release/bench/bench_random_mixed_hakmem", "profile": "balanced",
             "ws": 400} | facts
    return write(path, "soak", made, **facts)


def ab(path):
    chance, made = random.Random(4), []
    for repetition in range(10):
        for workload, arguments, _, speed in ROWS[:4]:
            for arm, factor in (("a", 1), ("b", 1.03 if workload == "tiny_hot" else
                                                0.97 if workload == "vm_mixed" else 1.001)):
                found = speed * factor * chance.uniform(0.995, 1.005)
                made.append({"workload": workload, "arguments": arguments, "arm": arm,
                             "repetition": repetition, "ops_per_s": round(found),
                             "ops_per_cpu_s": round(found), "disturbed": 0})
    return write(path, "ab", made, a="build:build/before", b="hakmem", threshold_percent=1.0)


def everything(directory):
    """A file of every kind; the directories to report on."""
    suite(directory / "suite" / "results.csv")
    programs(directory / "programs" / "programs.csv")
    counts(directory / "counts")
    memory(directory / "memory" / "memory.csv")
    latency(directory / "latency" / "latency.csv")
    soak(directory / "soak" / "epochs.csv")
    ab(directory / "ab" / "runs.csv")
    return [str(directory / name)
            for name in ("suite", "programs", "counts", "memory", "latency", "soak", "ab")]
