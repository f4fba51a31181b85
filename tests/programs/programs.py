# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The programs that run_program.py knows: one function each.

A function gets a Run, starts the program as often as it likes, and returns text that must be the
same on every allocator: results, checksums of files, counts; no times and no addresses.
"""

import concurrent.futures
import dataclasses
import hashlib
import http.client
import random
import re
import signal
import shutil
import subprocess
import sys
import typing
from pathlib import Path

from program_run import Failure, can_connect, free_port, server_user

PYTHON = "/usr/bin/python3"
TABLE = {}


@dataclasses.dataclass
class Entry:
    name: str
    function: typing.Callable
    needs: list
    timeout: int
    locks: list


def program(name, *needs, timeout=120, locks=()):
    """Registers a function under a name. locks: what no two tests may use at once."""
    def register(function):
        TABLE[name] = Entry(name, function, list(needs), timeout, list(locks))
        return function
    return register


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def words(rng, count):
    """Text that compresses as text does."""
    return " ".join(f"w{int(rng.expovariate(0.01))}" for _ in range(count))


# ---- Python: its own test suite ------------------------------------------------------------------

def python_suite(run, *arguments):
    """With pymalloc and without, at once: most of these tests wait."""
    def one(mode):
        directory = run.dir / mode
        directory.mkdir()
        out = run.call(PYTHON, "-m", "test", "-v", "--tempdir", directory, *arguments,
                       env={"PYTHONMALLOC": mode}, timeout=240)
        counts = re.findall(r"^Ran (\d+) tests", out, re.M)
        result = re.findall(r"^Tests result: .*$", out, re.M)
        if not counts or result != ["Tests result: SUCCESS"]:
            raise Failure(f"python: no success under PYTHONMALLOC={mode}\n{out[-3000:]}")
        return f"{mode}: ran {counts}"

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return "\n".join(pool.map(one, ["pymalloc", "malloc"]))


@program("python_json", PYTHON)
def python_json(run):
    return python_suite(run, "test_json")


@program("python_dict", PYTHON)
def python_dict(run):
    return python_suite(run, "test_dict")


@program("python_threading", PYTHON, timeout=300)
def python_threading(run):
    return python_suite(run, "test_threading")


@program("python_multiprocessing_fork", PYTHON, timeout=300)
def python_multiprocessing_fork(run):
    """The classes that move data and start processes; those that mostly sleep are left out."""
    chosen = ["WithProcessesTestPool", "WithProcessesTestQueue", "WithProcessesTestConnection",
              "WithProcessesTestSharedMemory", "WithProcessesTestHeap", "WithProcessesTestArray",
              "WithProcessesTestValue", "WithProcessesTestSubclassingProcess",
              "WithManagerTestContainers", "WithThreadsTestQueue"]
    match = [word for name in chosen for word in ("-m", f"*.{name}.*")]
    return python_suite(run, *match, "test_multiprocessing_fork")


# ---- Tools that run to their end -----------------------------------------------------------------

@program("git", "git")
def git(run):
    source = run.dir / "source"
    env = {"GIT_CONFIG_NOSYSTEM": "1"}

    def g(*arguments, **options):
        return run.call("git", *arguments, env=env, **options)

    rng = random.Random(1)
    stream = ["reset refs/heads/main\n"]
    for commit in range(120):
        stream.append(f"commit refs/heads/main\ncommitter a <a@localhost> {1000000000 + commit} "
                      f"+0000\ndata 4\nc{commit:03}\n")
        for _ in range(12):
            text = words(rng, 400).replace(" w1", "\nw1")
            stream.append(f"M 100644 inline d{rng.randrange(20)}/f{rng.randrange(30)}\n"
                          f"data {len(text)}\n{text}\n")
    g("init", "-q", "-b", "main", source)
    g("-C", source, "fast-import", "--quiet", stdin="".join(stream))
    g("clone", "-q", "--no-local", source, run.dir / "clone")
    g("-C", "clone", "gc", "-q", "--aggressive", "--prune=now")
    g("-C", "clone", "fsck", "--strict")
    log = g("-C", "clone", "log", "--stat", "-p", "-M")
    blame = g("-C", "clone", "blame", "-s", "d1/f1") if (run.dir / "clone/d1/f1").exists() else ""
    return "\n".join([g("-C", "clone", "rev-parse", "HEAD"),
                      hashlib.sha256(log.encode()).hexdigest(), blame])


@program("gcc", "gcc", timeout=300)
def gcc(run):
    """One function of a size that -O2 needs over 300 MB for: the same object file."""
    lines = ["extern int step(int, int);", "int f(int a, int b, int *p)", "{", "int x = a;"]
    lines += [f"if (p[{i}] > x) x += step(x, b * {i * 7919 % 1000}); "
              f"else p[{i}] = x ^ {i * 104729 % 65536};" for i in range(2000)]
    run.write("big.c", "\n".join(lines + ["return x;", "}", ""]))
    _, report = run.measured("gcc", "-O2", "-c", "big.c", "-o", "big.o", timeout=240)
    if run.preload == {} and int(report["vmhwm_kib"]) < 300 * 1024:
        raise Failure(f"gcc: its largest process needs {report['vmhwm_kib']} KiB, not 300 MiB: "
                      "the generated file is too small")
    return sha256(run.dir / "big.o")


@program("sqlite", "sqlite3")
def sqlite(run):
    script = """
PRAGMA temp_store=memory;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INTEGER, blob BLOB);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 60000)
INSERT INTO t SELECT i, printf('%d-%d', (i * 7919) % 100003, i), i % 500, zeroblob(i % 300) FROM c;
CREATE INDEX t_name ON t(name);
CREATE INDEX t_n ON t(n, name);
BEGIN;
UPDATE t SET name = name || '-changed' WHERE n % 7 = 0;
DELETE FROM t WHERE n % 11 = 0;
COMMIT;
SELECT count(*), sum(length(name)), max(name) FROM t;
SELECT n, count(*), length(group_concat(name)) FROM t GROUP BY n ORDER BY 3 DESC, 1 LIMIT 20;
SELECT a.name FROM t a JOIN t b ON a.id = b.n + 1 ORDER BY a.name DESC LIMIT 20;
SELECT json_array_length(json_group_array(json_object('k', name, 'v', n))) FROM t;
VACUUM; PRAGMA integrity_check;
"""
    return run.call("sqlite3", "test.db", stdin=script) + run.call("sqlite3", ":memory:",
                                                                   stdin=script)


@program("node", "node")
def node(run):
    run.write("main.js", """
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
function work(seed) {
  const records = [];
  for (let i = 0; i < 30000; i++) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    records.push({ id: i, name: 'n' + seed, tags: ['' + seed % 7, '' + seed % 11] });
  }
  records.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id);
  const text = JSON.stringify(records);
  const small = zlib.gzipSync(text, { level: 3 });
  const back = zlib.gunzipSync(small);
  const buffers = [];
  for (let i = 0; i < 3000; i++) buffers.push(Buffer.allocUnsafeSlow(1 + i * 13 % 9000).fill(i));
  const hash = crypto.createHash('sha256').update(back);
  for (const b of buffers) hash.update(b);
  return hash.digest('hex');
}
if (isMainThread) {
  const results = [];
  let left = 3;
  for (let i = 0; i < 3; i++)
    new Worker(__filename, { workerData: i }).on('message', (m) => {
      results[i] = m;
      if (--left === 0) console.log(work(99), results.join(' '));
    });
} else {
  parentPort.postMessage(work(workerData));
}
""")
    return run.call("node", "main.js")


@program("perl", "perl")
def perl(run):
    return run.call("perl", "-e", r"""
use strict; use threads;
sub work {
  my ($seed) = @_; my (%h, @list);
  for my $i (1 .. 60000) {
    $seed = ($seed * 1103515245 + 12345) % 2147483648;
    push @{$h{$seed % 5000}}, "x$seed" x (1 + $seed % 5);
  }
  for my $k (sort { $a <=> $b } keys %h) {
    my $s = join ',', reverse sort @{$h{$k}}; $s =~ s/(\d)(\d)/$2$1/g; push @list, $s;
    delete $h{$k} if $k % 3 == 0;
  }
  return length(join '', @list) . ':' . unpack('%32C*', join '', @list) . ':' . keys %h;
}
my @t = map { threads->create(\&work, $_) } 1 .. 3;
print join("\n", work(9), map { $_->join } @t), "\n";
""")


@program("bash", "bash")
def bash(run):
    return run.call("bash", "-c", r"""
declare -A count
seed=1
for ((i = 0; i < 20000; i++)); do
	((seed = (seed * 1103515245 + 12345) % 2147483648))
	list+=("item-$seed")
	((count[k$((seed % 777))] += 1))
done
text=$(printf '%s\n' "${list[@]}")
text=${text//item-1/other-}
mapfile -t lines <<<"$text"
for k in "${!count[@]}"; do sum=$((sum + count[$k] * ${#k})); done
echo "${#lines[@]} ${#text} ${lines[777]} ${#count[@]} $sum"
""")


@program("vim", "vim.basic")
def vim(run):
    rng = random.Random(2)
    run.write("in.txt", "".join(words(rng, 12) + "\n" for _ in range(20000)))
    run.write("edit.vim", r"""
set nomore undolevels=1000
edit in.txt
%s/w\(\d\)\(\d*\)/\2-\1/g
sort! /-/ n
g/99/m0
v/1/d
%s/\v(\S+) (\S+)/\2 \1/e
undo
redo
let words = {}
for word in split(join(getline(1, '$')))
  let words[word] = get(words, word) + 1
endfor
call append(0, map(sort(items(words)), 'join(v:val, "=")'))
write! out.txt
qall!
""")
    run.call("vim.basic", "-Nu", "NONE", "-i", "NONE", "-n", "-es", "-S", "edit.vim")
    return sha256(run.dir / "out.txt")


@program("ghostscript", "gs")
def ghostscript(run):
    rng = random.Random(3)
    page = "".join(f"{rng.random():.3f} {rng.random():.3f} {rng.random():.3f} setrgbcolor "
                   f"{rng.randrange(500)} {rng.randrange(700)} moveto ({words(rng, 5)}) show\n"
                   f"{rng.randrange(500)} {rng.randrange(700)} {rng.randrange(60)} 0 360 arc "
                   "stroke\n"
                   for _ in range(800))
    page = f"/Times-Roman findfont 9 scalefont setfont\n{page}showpage\n"
    run.write("in.ps", "%!PS\n" + page * 3)
    base = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER"]
    run.call(*base, "-sDEVICE=ppmraw", "-r100", "-dTextAlphaBits=4", "-sOutputFile=out%d.ppm",
             "in.ps")
    text = run.call(*base, "-sDEVICE=txtwrite", "-sOutputFile=-", "in.ps")
    pages = sorted(run.dir.glob("out*.ppm"))
    return "\n".join([sha256(p) for p in pages] + [hashlib.sha256(text.encode()).hexdigest()])


@program("z3", "z3")
def z3(run):
    """The factors of a product of two primes, a model with arrays, and many inequalities."""
    run.write("in.smt2", """
(declare-const a (_ BitVec 32)) (declare-const b (_ BitVec 32))
(push) (assert (= (bvmul a b) #x0efa482f)) (assert (bvult #x00000001 a)) (assert (bvule a b))
(assert (bvult b #x00010000)) (check-sat) (eval (bvmul a b)) (pop)
(push)
(declare-const m (Array Int Int)) (declare-const i Int) (declare-const j Int)
(assert (forall ((k Int)) (=> (and (<= 0 k) (< k 12)) (< (select m k) (select m (+ k 1))))))
(assert (and (= i (select m 3)) (= j (select m 9)) (> (- j i) 50) (= (mod j 17) 5)))
(check-sat) (pop)
(push)
""" + "".join(f"(declare-const x{i} Int) (assert (and (> x{i} 0) (< x{i} 60)))\n"
              for i in range(60))
              + "".join(f"(assert (distinct (+ x{i} {i}) (+ x{j} {j})))\n"
                        for i in range(60) for j in range(i + 1, 60, 3))
              + "(check-sat) (pop)\n")
    return run.call("z3", "in.smt2")


@program("cxx")
def cxx(run):
    """tests/programs/cxx_program.cpp: exceptions, pmr, threads and iostreams."""
    if "cxx" not in run.tools:
        raise Failure("--cxx is needed: the path of cxx_program")
    return run.call(run.tools["cxx"])


# ---- Servers -------------------------------------------------------------------------------------

@program("redis", "redis-server", "redis-benchmark", "redis-cli", locks=["ports"])
def redis(run):
    """Debian's is linked with jemalloc: a preloaded malloc has to win over it."""
    port = free_port()

    def cli(*arguments, **options):
        return run.call("redis-cli", "-p", port, *arguments, preload=False, **options)

    rng = random.Random(4)
    commands = []
    for i in range(20000):
        commands += [f"SET k{i} {'v' * rng.randrange(1, 400)}", f"HSET h{i % 500} f{i} {i}",
                     f"ZADD z{i % 50} {rng.randrange(10**6)} m{i}", f"LPUSH l{i % 50} e{i}"]
    commands += [f"DEL k{i}" for i in range(0, 20000, 3)]
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
               run.dir, "--enable-debug-command", "local", "--dbfilename", "dump.rdb"]
    with run.server("redis-server", *options, ready=lambda: can_connect(port),
                    stop=lambda: cli("SHUTDOWN", "SAVE")):
        cli("--pipe", stdin="\r\n".join(commands) + "\r\n")
        before = cli("DEBUG", "DIGEST")
        cli("SAVE")
        cli("DEBUG", "RELOAD")
        cli("BGSAVE", "SCHEDULE")
        run.call("redis-benchmark", "-p", port, "-q", "-n", 30000, "-c", 30, "-P", 16, "-r", 10000,
                 "-t", "set,get,incr,lpush,rpop,sadd,hset,zadd,mset", preload=False)
        run.call("redis-benchmark", "-p", port, "-q", "-n", 2000, "-c", 30, "-d", 40000, "-t",
                 "set,get", preload=False)
        cli("FLUSHALL")
        cli("--pipe", stdin="\r\n".join(commands) + "\r\n")
        return before + cli("DEBUG", "DIGEST") + cli("DBSIZE")


@program("nginx", "nginx", "wrk", locks=["ports"])
def nginx(run):
    port = free_port()
    site = run.dir / "site"
    site.mkdir()
    rng = random.Random(5)
    names = [f"page{i}.html" for i in range(40)]
    for name in names:
        (site / name).write_text(words(rng, rng.randrange(50, 8000)))
    (site / "all.shtml").write_text("".join(f'<!--#include virtual="/{n}" -->\n' for n in names))
    for path in ("body", "proxy"):
        (run.dir / path).mkdir()
    run.write("nginx.conf", f"""
daemon off; master_process on; worker_processes 2; pid {run.dir}/nginx.pid;
env LD_PRELOAD; env HAKMEM_STATS;
error_log {run.dir}/error.log warn;
{"user nobody nogroup;" if server_user("nobody") else ""}
events {{ worker_connections 512; }}
http {{
	access_log off; gzip on; gzip_types *; gzip_min_length 1; ssi on;
	client_body_temp_path {run.dir}/body; proxy_temp_path {run.dir}/proxy;
	fastcgi_temp_path {run.dir}/f; uwsgi_temp_path {run.dir}/u; scgi_temp_path {run.dir}/s;
	types {{ text/html html shtml; }}
	server {{
		listen 127.0.0.1:{port}; root {site};
		location /list/ {{ alias {site}/; autoindex on; autoindex_format json; }}
		location /proxy/ {{ proxy_pass http://127.0.0.1:{port}/; }}
	}}
}}
""")

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        text = re.sub(rb'"mtime":"[^"]*"', b"", body)
        return f"{path} {response.status} {hashlib.sha256(text).hexdigest()}"

    options = ["-p", run.dir, "-c", run.dir / "nginx.conf", "-e", run.dir / "error.log"]
    with run.server("nginx", *options, ready=lambda: can_connect(port), stop=signal.SIGQUIT):
        for path in ("/page1.html", "/proxy/page2.html", "/all.shtml"):
            out = run.call("wrk", "-t1", "-c100", "-d1s", "-H", "Accept-Encoding: gzip",
                           f"http://127.0.0.1:{port}{path}", preload=False)
            if "Non-2xx" in out or not re.search(r"[1-9]\d* requests in", out):
                raise Failure(f"nginx: wrk is not content\n{out}")
        run.call("nginx", *options, "-s", "reload")
        return "\n".join(get(f"/{n}") for n in [*names, "all.shtml", "list/", "proxy/page3.html",
                                                "no-such-page"])


@program("postgres", "postgres", "initdb", "pgbench", "psql", locks=["ports"])
def postgres(run):
    """initdb, pgbench's tables and transactions, and a sort and a hash join, by a socket in the
    run's directory. Totals are the same whatever the order of transactions."""
    user = server_user("postgres")
    home = run.dir / "postgres"
    home.mkdir()
    if user:
        shutil.chown(home, "postgres")
    data = home / "data"
    run.call("initdb", "-D", data, "-A", "trust", "-U", "test", "-N", "--locale=C", "-E", "UTF8",
             **user)
    run.forget_blocks()  # the server has to prove itself without initdb's
    login = ["-h", home, "-U", "test"]
    options = ["-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off",
               "-c", "autovacuum_naptime=1s"]

    def is_ready():
        return subprocess.run(["psql", *login, "-c", "select 1", "postgres"], check=False,
                              capture_output=True).returncode == 0

    def psql(text):
        return run.call("psql", *login, "-At", "-c", text, "postgres", preload=False)

    with run.server("postgres", *options, ready=is_ready, stop=signal.SIGINT, **user):
        def pgbench(*words):
            run.call("pgbench", *login, *words, "postgres", preload=False)

        pgbench("-q", "-i", "-s", "2")
        pgbench("-n", "-c", "4", "-j", "2", "-t", "250", "--random-seed=7")
        pgbench("-n", "-S", "-c", "4", "-j", "2", "-t", "1000", "-M", "prepared")
        return (psql("select count(*) from pgbench_history")
                + psql("select (select sum(abalance) from pgbench_accounts) = "
                       "(select sum(delta) from pgbench_history)")
                + psql("select md5(string_agg(x, ',' order by x desc)) from (select "
                       "md5(a.aid::text) x from pgbench_accounts a join pgbench_accounts b "
                       "on a.aid = b.aid + 1) s"))


if __name__ == "__main__":
    sys.exit("programs.py is a table: run run_program.py")
