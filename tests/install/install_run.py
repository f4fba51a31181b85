#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Installs a build into a folder, moves the folder, and builds and runs programs against it: by
find_package, by pkg-config, with the single object, by LD_PRELOAD, and by the program hakmem."""
import argparse
import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
failures = 0


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **more)


def check(what, done):
    """done: a finished process, or a bool."""
    global failures
    ok = done if isinstance(done, bool) else done.returncode == 0
    print(("ok     " if ok else "FAILED ") + what)
    if not ok:
        failures += 1
        if not isinstance(done, bool):
            print(f"  exit {done.returncode}: {' '.join(done.args)}\n{done.stdout}{done.stderr}")
    return ok


def find_one(root, pattern):
    found = glob.glob(os.path.join(root, "**", pattern), recursive=True)
    return found[0] if found else None


def with_find_package(args, prefix, work, proof):
    build = os.path.join(work, "by_cmake")
    for version, wanted in ((args.version, True), ("99.0", False)):
        done = run([args.cmake, "-S", os.path.join(HERE, "cmake_consumer"), "-B", build,
                    f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={args.cc}",
                    f"-DVERSION={version}"])
        if not wanted:
            check(f"find_package refuses {version}", done.returncode != 0)
        elif check("find_package", done) and check("find_package builds", run([args.cmake, "--build", build])):
            for kind in ("static", "shared") if args.shared else ("static",):
                check(f"find_package, {kind}, runs",
                      run([os.path.join(build, f"consumer_{kind}"), args.version] + proof))


def with_pkg_config(args, prefix, work, proof):
    pc = find_one(prefix, "hakmem.pc")
    if not check("hakmem.pc is installed", pc is not None):
        return
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc)}
    check("pkg-config knows the version",
          run(["pkg-config", "--modversion", "hakmem"], env=env).stdout.strip() == args.version)
    source = os.path.join(HERE, "consumer.c")
    for kind, words in (("shared", ["--libs", "--cflags"]), ("static", ["--static", "--libs", "--cflags"])):
        if kind == "shared" and not args.shared:
            continue
        flags = run(["pkg-config", *words, "hakmem"], env=env).stdout.split()
        check(f"pkg-config, {kind}, points into the moved folder", any(prefix in f for f in flags))
        library = os.path.dirname(find_one(prefix, "libhakmem.a"))
        if kind == "static":
            flags = ["-Wl,-Bstatic" if f == "-lhakmem" else f for f in flags]
            at = flags.index("-Wl,-Bstatic")
            flags[at + 1:at + 1] = ["-lhakmem", "-Wl,-Bdynamic"]
        program = os.path.join(work, f"by_pkg_config_{kind}")
        if check(f"pkg-config, {kind}, builds",
                 run([args.cc, source, "-o", program, *flags, f"-Wl,-rpath,{library}", "-fno-builtin"])):
            check(f"pkg-config, {kind}, runs", run([program, args.version] + proof))


def with_the_object(args, prefix, work, proof):
    single = find_one(prefix, "hakmem.o")
    if not check("hakmem.o is installed", single is not None):
        return
    program = os.path.join(work, "by_object")
    include = os.path.join(prefix, "include")
    if check("hakmem.o builds", run([args.cc, os.path.join(HERE, "consumer.c"), single, "-o", program,
                                     f"-I{include}", "-pthread", "-ldl", "-fno-builtin"])):
        check("hakmem.o runs", run([program, args.version] + proof))


def with_the_lab(prefix):
    door = os.path.join(prefix, "bin", "hakmem")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "LD_PRELOAD"))}
    done = run([door, "run", "--profile", "lean", "--", "cat", "/proc/self/maps", "/proc/self/environ"],
               env=env, cwd="/")
    check("the installed hakmem run preloads the installed library",
          done.returncode == 0 and os.path.realpath(find_one(prefix, "libhakmem.so")) in done.stdout
          and "HAKMEM_PROFILE=lean" in done.stdout)
    check("hakmem run refuses what is not there", run([door, "run", "no-such-program"]).returncode == 127)
    done = run([door, "options"], env=env, cwd="/")
    check("the installed hakmem options", done)
    check("hakmem options asks the library", "HAKMEM_BOUND " in done.stdout or "minimal" in done.stdout)
    check("hakmem ab says that it needs a checkout, or a package",
          run([door, "ab", "--b", "", "--", "true"], env=env, cwd="/").returncode == 1)
    check("the man page is installed", find_one(prefix, "hakmem.1") is not None)
    check("tests are not installed", not find_one(prefix, "test_*.py"))


def main():
    parser = argparse.ArgumentParser()
    for name in ("cmake", "cc", "build", "version"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--shared", type=int, default=1)
    parser.add_argument("--override", type=int, default=1)
    args = parser.parse_args()
    proof = ["serves"] if args.override else []
    with tempfile.TemporaryDirectory(prefix="hakmem_install_") as work:
        first, prefix = os.path.join(work, "first"), os.path.join(work, "moved", "there")
        if not check("install", run([args.cmake, "--install", args.build, "--prefix", first])):
            return 1
        os.makedirs(os.path.dirname(prefix))
        os.rename(first, prefix)
        texts = [p for p in glob.glob(prefix + "/**", recursive=True) if p.endswith((".pc", ".cmake"))]
        check("no path of the build is left in package files", bool(texts) and not any(
            args.build in text or first in text for text in (open(p, encoding="utf-8").read() for p in texts)))
        check("the header is installed", os.path.exists(os.path.join(prefix, "include/hakmem/hakmem.h")))
        with_find_package(args, prefix, work, proof)
        with_pkg_config(args, prefix, work, proof)
        with_the_object(args, prefix, work, proof)
        if args.shared:
            library = find_one(prefix, "libhakmem.so")
            check("the installed library preloads", run(["/bin/true"], env={**os.environ, "LD_PRELOAD": library}))
            with_the_lab(prefix)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
