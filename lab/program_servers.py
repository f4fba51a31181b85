# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The servers among the real programs of `hakmem bench --programs`.

They listen on sockets in the run's own directory; their clients run on glibc.
"""

import contextlib
import os
import pwd
import random
import shutil
import subprocess
from signal import SIGTERM

from lab.program import Program, command, digest

# ---- Redis ---------------------------------------------------------------------------------------

REDIS = ("redis-server", "redis-cli", "redis-benchmark")


def prepare_redis(folder):
    rng = random.Random(4)
    lines = []
    for i in range(15000):
        lines += [f"SET k{i} {'v' * rng.randrange(1, 400)}", f"HSET h{i % 500} f{i} {i}",
                  f"ZADD z{i % 50} {rng.randrange(10**6)} m{i}", f"LPUSH l{i % 50} e{i}"]
    lines += [f"DEL k{i}" for i in range(0, 15000, 3)]
    (folder / "commands").write_text("\r\n".join(lines) + "\r\n")


@contextlib.contextmanager
def redis(session):
    """A server, as a function that talks to it by redis-cli."""
    socket = session.folder / "s"

    def cli(*words, **options):
        return command("redis-cli", "-s", socket, *words, **options)

    def is_ready():
        return socket.exists() and subprocess.run(
            ["redis-cli", "-s", str(socket), "ping"], capture_output=True,
            check=False).stdout == b"PONG\n"

    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir",
               session.folder, "--enable-debug-command", "local"]
    with session.serve("redis-server", *options, ready=is_ready,
                       stop=lambda _: cli("SHUTDOWN", "NOSAVE")):
        yield cli


def run_redis(session):
    load = (session.prepared / "commands").read_text()
    with redis(session) as cli:
        with session.timed():
            cli("--pipe", stdin=load)
            command("redis-benchmark", "-s", session.folder / "s", "-q", "-n", 40000, "-c", 20,
                    "-P", 16, "-r", 10000, "-t", "set,get,lpush,rpop,sadd,hset,zadd")
        cli("FLUSHALL")
        cli("--pipe", stdin=load)
        return cli("DEBUG", "DIGEST") + cli("DBSIZE")


def run_deleted(session):
    """A million keys, nine tenths of them deleted, and others of another size."""
    delete = ("for i = 0, 999999 do if i % 10 ~= 3 then redis.call('DEL', 'a:' .. i) end end "
              "return redis.call('DBSIZE')")
    with redis(session) as cli:
        with session.timed():
            cli("DEBUG", "POPULATE", 1000000, "a", 60)
            cli("EVAL", delete, 0)
            session.settle()
            cli("DEBUG", "POPULATE", 300000, "b", 200)
        return cli("DEBUG", "DIGEST") + cli("DBSIZE")


# ---- nginx ---------------------------------------------------------------------------------------

NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log warn;
events { worker_connections 512; }
http {
	access_log off; gzip on; gzip_types *; gzip_min_length 1; ssi on;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f;
	uwsgi_temp_path u; scgi_temp_path s;
	types { text/html html shtml; }
	server {
		listen unix:SOCKET; root SITE;
		location /proxy/ { proxy_pass http://unix:SOCKET:/; }
	}
}
"""


def prepare_nginx(folder):
    rng = random.Random(5)
    for number in range(40):
        (folder / f"{number}.html").write_text(
            " ".join(str(rng.random()) for _ in range(rng.randrange(20, 2000))))
    (folder / "all.shtml").write_text("".join(
        f'<!--#include virtual="/{number}.html" -->\n' for number in range(40)))


def run_nginx(session):
    """Twelve clients at once: files compressed, through a proxy, and put together from parts."""
    socket = session.folder / "http"
    config = session.folder / "nginx.conf"
    config.write_text(NGINX.replace("SOCKET", str(socket)).replace("SITE", str(session.prepared)))
    curl = ["curl", "-sf", "--compressed", "--unix-socket", socket]
    loads = ["http://x/[0-39].html?[1-20]", "http://x/proxy/[0-39].html?[1-10]",
             "http://x/all.shtml?[1-20]"] * 4
    with session.serve("nginx", "-p", session.folder, "-c", config, "-e", "error.log",
                       ready=socket.exists, stop=lambda process: process.send_signal(SIGTERM)):
        with session.timed():
            command("xargs", "-P", len(loads), "-I{}", *curl, "-o", "/dev/null", "{}",
                    stdin="\n".join(loads))
        return digest(command(*curl, "http://x/{,proxy/}[0-39].html", "http://x/all.shtml"))


# ---- PostgreSQL ----------------------------------------------------------------------------------

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
    Program("redis", REDIS, run_redis, prepare_redis),
    Program("redis-deleted", REDIS, run_deleted),
    Program("nginx", ("nginx", "curl", "xargs"), run_nginx, prepare_nginx),
    Program("postgres", ("postgres", "initdb", "pg_ctl", "pgbench", "psql"), run_postgres,
            prepare_postgres),
]
