# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The real programs of `hakmem bench --programs`: how each is prepared, run, and checked.

A run returns text that must be the same on every allocator: results and checksums, no times.
Servers listen on sockets in the run's own directory; their clients run on glibc.
"""

import glob
import hashlib
import os
import pwd
import random
import shutil
import subprocess
from pathlib import Path
from typing import Callable, NamedTuple

from lab import places, runs

PYTHON = "/usr/bin/python3"
POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
PATH = ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", *POSTGRES])


class Program(NamedTuple):
    """prepare(folder) is called once, run(session) for every run."""

    name: str
    needs: tuple
    run: Callable
    prepare: Callable = lambda folder: None

    def missing(self):
        """The programs it needs that are not there."""
        return [word for word in self.needs if not shutil.which(word, path=PATH)]


def command(*words, stdin="", cwd=None, **options):
    """A helper on glibc: what it prints; an exception if it fails."""
    done = subprocess.run([str(word) for word in words], input=stdin, cwd=cwd, check=False,
                          text=True, capture_output=True, timeout=120,
                          env=runs.clean_environment({"PATH": PATH, "LC_ALL": "C"}), **options)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ---- Programs that run to their end --------------------------------------------------------------

def prepare_gcc(folder):
    lines = ["extern int step(int, int);"]
    for f in range(20):
        lines += [f"int f{f}(int a, int b, int *p)", "{", "int x = a;"]
        lines += [f"if (p[{i}] > x) x += step(x, b * {i * 7919 % 1000 + f}); "
                  f"else p[{i}] = x ^ {i * 104729 % 65536};" for i in range(60)]
        lines += ["return x;", "}"]
    (folder / "big.c").write_text("\n".join(lines) + "\n")


def run_gcc(session):
    output = session.folder / "big.o"
    session.measure("gcc", "-O2", "-c", "big.c", "-o", output)
    return sha256(output)


def run_python(session):
    # pymalloc, Python's own cache of small objects, would hide the allocator.
    return session.measure(PYTHON, places.ROOT / "scripts/demo/records.py",
                           env={"PYTHONMALLOC": "malloc"})


def run_sqlite(session):
    return session.measure("sqlite3", ":memory:", f".read {places.ROOT}/scripts/demo/sort.sql")


def prepare_node(folder):
    (folder / "main.js").write_text("""
const crypto = require('crypto');
const zlib = require('zlib');
let seed = 1;
const records = [];
for (let i = 0; i < 60000; i++) {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  records.push({ id: i, name: 'n' + seed, tags: ['' + seed % 7, '' + seed % 11] });
}
records.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id);
const hash = crypto.createHash('sha256');
const text = JSON.stringify(records);
hash.update(zlib.gunzipSync(zlib.gzipSync(text, { level: 1 })));
let buffers = [];
for (let i = 0; i < 60000; i++) {
  buffers.push(Buffer.allocUnsafeSlow(1 + i * 13 % 9000).fill(i));
  if (buffers.length > 5000) {
    for (const b of buffers) hash.update(b.subarray(0, 16));
    buffers = [];
  }
}
console.log(hash.digest('hex'));
""")


def run_node(session):
    return session.measure("node", "main.js")


# ---- Servers -------------------------------------------------------------------------------------

def prepare_redis(folder):
    rng = random.Random(4)
    lines = []
    for i in range(15000):
        lines += [f"SET k{i} {'v' * rng.randrange(1, 400)}", f"HSET h{i % 500} f{i} {i}",
                  f"ZADD z{i % 50} {rng.randrange(10**6)} m{i}", f"LPUSH l{i % 50} e{i}"]
    lines += [f"DEL k{i}" for i in range(0, 15000, 3)]
    (folder / "commands").write_text("\r\n".join(lines) + "\r\n")


def run_redis(session):
    socket = session.folder / "s"

    def cli(*words, **options):
        return command("redis-cli", "-s", socket, *words, **options)

    def is_ready():
        return socket.exists() and subprocess.run(
            ["redis-cli", "-s", str(socket), "ping"], capture_output=True,
            check=False).stdout == b"PONG\n"

    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir",
               session.folder, "--enable-debug-command", "local"]
    load = (session.prepared / "commands").read_text()
    with session.serve("redis-server", *options, ready=is_ready,
                       stop=lambda _: cli("SHUTDOWN", "NOSAVE")):
        with session.timed():
            cli("--pipe", stdin=load)
            command("redis-benchmark", "-s", socket, "-q", "-n", 40000, "-c", 20, "-P", 16, "-r",
                    10000, "-t", "set,get,lpush,rpop,sadd,hset,zadd")
        cli("FLUSHALL")
        cli("--pipe", stdin=load)
        return cli("DEBUG", "DIGEST") + cli("DBSIZE")


def postgres_user():
    """Options for a server that refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def prepare_postgres(folder):
    """A database with pgbench's tables, which the runs only read."""
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    command("initdb", "-D", folder / "data", "-A", "trust", "-U", "test", "-N", "--locale=C",
            "-E", "UTF8", **postgres_user(), cwd=folder)
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    control = ["pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
    command(*control, "-o", options, "start", **postgres_user(), cwd=folder)
    try:
        command("pgbench", "-h", folder, "-U", "test", "-q", "-i", "-s", "2", "postgres")
    finally:
        command(*control, "-m", "fast", "stop", **postgres_user(), cwd=folder)


def run_postgres(session):
    folder = session.prepared
    login = ["-h", folder, "-U", "test"]

    def is_ready():
        return subprocess.run(["psql", *map(str, login), "-c", "select 1", "postgres"],
                              check=False, capture_output=True).returncode == 0

    options = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off",
               "-c", "autovacuum=off", "-c", "max_parallel_workers_per_gather=0"]
    with session.serve("postgres", *options, ready=is_ready, **postgres_user()):
        with session.timed():
            command("pgbench", *login, "-n", "-S", "-c", 2, "-t", 4000, "-M", "prepared",
                    "--random-seed=7", "postgres")
            return command("psql", *login, "-At", "-c",
                           "select md5(string_agg(x, ',' order by x desc)) from (select "
                           "md5(a.aid::text) x from pgbench_accounts a join pgbench_accounts b "
                           "on a.aid = b.aid + 1) s", "postgres")


TABLE = [
    Program("gcc", ("gcc",), run_gcc, prepare_gcc),
    Program("python3", (PYTHON,), run_python),
    Program("redis", ("redis-server", "redis-cli", "redis-benchmark"), run_redis, prepare_redis),
    Program("sqlite3", ("sqlite3",), run_sqlite),
    Program("node", ("node",), run_node, prepare_node),
    Program("postgres", ("postgres", "initdb", "pg_ctl", "pgbench", "psql"), run_postgres,
            prepare_postgres),
]
