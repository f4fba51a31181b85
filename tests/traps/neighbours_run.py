#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Other people's tools on a program that is linked with libhakmem.so, or preloads it: valgrind, gdb,
perf, strace, rr, sanitizers, core dumps. One tool a call; exit status 77 where it is not there, or may not
work."""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
MISTAKE = """#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	char *volatile p = malloc(100);

	(void)argv;
	p[1] = 2;
	free(p);
	if (argc > 1)
		printf("%d\\n", p[1]);
	puts("the end");
	return 0;
}
"""


class Failed(Exception):
    pass


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def need(condition, what, output=""):
    if not condition:
        raise Failed(f"{what}\n{output[-4000:]}")


def tool(name):
    if shutil.which(name) is None:
        skip(f"there is no {name} here")
    return name


def run(*command, env=None, cwd=None):
    """Exit status and all output; the environment has nothing of the test's own run."""
    clean = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", **(env or {})}
    done = subprocess.run(list(map(str, command)), env=clean, cwd=cwd, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return done.returncode, done.stdout


def test_memcheck(args):
    """memcheck takes malloc's place: the program is clean, and hakmem is not in its way."""
    status, output = run(tool("valgrind"), "--leak-check=full", "--error-exitcode=9", args.program,
                         "work")  # fmt: skip
    need(status == 0, "errors under memcheck", output)
    found = re.search(r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees", output)
    need(found and found[1] == found[2] and found[1] != "0", "memcheck saw no allocations", output)


def test_itself_checked(args):
    """hakmem itself under valgrind: it runs, and touches nothing that it should not."""
    status, output = run(tool("valgrind"), "--soname-synonyms=somalloc=NONE", "--error-exitcode=9",
                         args.program, "work")  # fmt: skip
    need(status == 0, "errors under valgrind", output)
    need("total heap usage: 0 allocs" in output, "memcheck took malloc's place", output)


def test_gdb(args):
    """A breakpoint and a backtrace inside malloc; a block, live and freed; functions called."""
    script = ["set debuginfod enabled off", "set pagination off", "set breakpoint pending on",
              "break hk_heap_refill", "run work", "backtrace", "delete",
              "break trap_look_here", "continue", "print (char *)block",
              "print (unsigned long)malloc_usable_size(block)",
              "print (char *)strcpy((char *)malloc(50), \"made by gdb\")", "continue",
              "print/x ((struct hk_block *)block)->tag", "delete", "continue"]  # fmt: skip
    command = [tool("gdb"), "-nx", "-batch"]
    for line in script:
        command += ["-ex", line]
    _, output = run(*command, "--args", args.program, "work")
    if "ptrace: Operation not permitted" in output:
        skip("gdb may not trace here")
    for wanted in (r"Breakpoint 1, hk_heap_refill", r"#\d+ +(0x\w+ in )?main \(",
                   r'\$1 = 0x\w+ "a block"', r"\$2 = 1\d\d\b", r'\$3 = 0x\w+ "made by gdb"',
                   r"\$4 = 0xffffffff9e3779b1", r"exited normally"):  # fmt: skip
        need(re.search(wanted, output), f"gdb does not say {wanted!r}", output)


def test_perf(args):
    """Samples in the library have names."""
    tool("perf")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "perf.data"
        status, output = run("perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", data,
                             "--", args.program, "spin")  # fmt: skip
        if status != 0 or not data.exists():
            skip(f"perf record: {output.strip()[-200:]}")
        _, output = run("perf", "script", "-i", data, "-F", "ip,sym,dso")
    ours = [line for line in output.splitlines() if "libhakmem" in line]
    named = [line for line in ours if re.search(r"\b(malloc|free|hk_\w+|hak_\w+)\b.*\(", line)]
    print(f"{len(ours)} samples in the library, {len(named)} with a name")
    need(len(ours) > 20 and len(named) >= 0.95 * len(ours), "samples without names", output)


def test_rr(args):
    """A recorded run is replayed, to the same end."""
    tool("rr")
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        status, output = run("rr", "record", "-o", trace, args.program, "work")
        if "performance counter" in output or "perf_event" in output or "not permitted" in output:
            skip(f"rr has no counters here: {output.strip()[-200:]}")
        need(status == 0, "the program does not end as without rr", output)
        status, output = run("rr", "replay", "-a", trace)
        need(status == 0, "the recorded run cannot be replayed", output)


def test_strace(args):
    """The program runs, and its calls are few: the loader's and libc's among them."""
    status, output = run(tool("strace"), "-f", "-c", args.program, "work")
    if "ptrace" in output and status != 0:
        skip("strace may not trace here")
    need(status == 0, "the program fails under strace", output)
    counts = {line.split()[-1]: int(line.split()[3]) for line in output.splitlines()
              if re.match(r"\s*\d+\.\d+", line)}  # fmt: skip
    need("mmap" in counts and sum(counts.values()) < 400, "too many calls", output)
    print(f"{sum(counts.values())} calls, of them {counts}")


def compile_mistake(cc, folder, *flags):
    source, program = Path(folder) / "mistake.c", Path(folder) / "mistake"
    source.write_text(MISTAKE)
    status, _ = run(cc, "-g", "-w", "-o", program, source, *flags)
    return program if status == 0 else None


def look_at_sanitizer(cc, preload, flags, works, warns):
    """works: the sanitizer finds the mistake though hakmem is there. warns: hakmem says a word."""
    with tempfile.TemporaryDirectory() as folder:
        program = compile_mistake(cc, folder, *flags)
        if program is None:
            print(f"not tried: {cc} {' '.join(flags)}")
            return
        env = {"LD_PRELOAD": preload, "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        status, output = run(program, env=env)
        what = f"{cc} {' '.join(flags)}"
        need(status == 0 and "the end" in output, f"{what}: the program does not run", output)
        warned = "hakmem: this program has a sanitizer" in output
        need(warned == warns, f"{what}: warned: {warned}", output)
        status, output = run(program, "mistake", env=env)
        found = "AddressSanitizer: heap-use-after-free" in output
        need(found == works, f"{what}: found the mistake: {found}", output)
        print(f"{what}: as it should be")


def test_sanitizers(args):
    """A program with a sanitizer, and hakmem preloaded: the sanitizer refuses, or works, or hakmem
    says that it does not."""
    shared, static = ["-fsanitize=address"], ["-fsanitize=address", "-static-libasan"]
    with tempfile.TemporaryDirectory() as folder:
        program = compile_mistake("gcc", folder, *shared)
        if program is None:
            skip("gcc has no AddressSanitizer here")
        status, output = run(program, env={"LD_PRELOAD": args.library})
        need(status != 0 and "ASan runtime does not come first" in output, "not refused", output)
    look_at_sanitizer("gcc", args.library, shared, works=False, warns=True)
    look_at_sanitizer("gcc", args.library, static, works=True, warns=False)
    look_at_sanitizer("gcc", args.library, ["-fsanitize=thread"], works=False, warns=True)
    look_at_sanitizer("clang", args.library, shared, works=True, warns=True)


def check_core(path, said, what):
    live, anonymous = map(int, re.search(r"live (\d+) anonymous (\d+)", said).groups())
    on_disk = os.stat(path).st_blocks // 2
    print(f"{what}: live {live} KiB, {anonymous} KiB in memory, {on_disk} KiB on disk,"
          f" file of {os.stat(path).st_size >> 10} KiB")  # fmt: skip
    need(on_disk <= anonymous + 2048, f"{what}: more on disk than in memory")
    need(on_disk >= live, f"{what}: what is live is missing")
    need(anonymous <= live * 5 // 4 + 16 * 1024, f"{what}: more in memory than the bound allows")


def test_core(args):
    """What is free and purged is not in a core dump: on disk it has what was in memory."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern.startswith("core"):
        skip(f"core dumps go elsewhere: {pattern}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        def allow():
            os.chdir(folder)
            resource.setrlimit(resource.RLIMIT_CORE, (most, most))

        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        if most == 0:
            skip("no core dumps are allowed")
        done = subprocess.run([args.program, "dump"], preexec_fn=allow, text=True,
                              stdout=subprocess.PIPE)  # fmt: skip
        need(done.returncode == -signal.SIGABRT, f"ended by {done.returncode}")
        cores = list(Path(folder).glob("core*"))
        need(cores, "there is no core dump")
        check_core(cores[0], done.stdout, "the kernel's")


def main():
    tests = {name[5:]: fn for name, fn in globals().items() if name.startswith("test_")}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="of trap_neighbour.c, linked")
    parser.add_argument("--library", required=True, help="libhakmem.so")
    parser.add_argument("--cc", default="cc", help="the compiler of the build")
    parser.add_argument("tool", choices=sorted(tests))
    args = parser.parse_args()
    try:
        tests[args.tool](args)
    except Failed as failure:
        print(f"FAILED {args.tool}: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
