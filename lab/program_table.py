# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The real programs of `hakmem bench --programs`: how each is prepared, run, and checked.

A run returns text that must be the same on every allocator: results and checksums, no times.
Servers are in lab/program_servers.py.
"""

import functools
import random
import shutil

from lab import places, program_servers
from lab.program import Program, command, digest, file_digest

PYTHON = "/usr/bin/python3"
CONVERT = "convert-im6.q16"  # Debian's ImageMagick: other programs are called convert, too


# ---- Compilers -----------------------------------------------------------------------------------

def prepare_c(folder):
    lines = ["extern int step(int, int);"]
    for f in range(20):
        lines += [f"int f{f}(int a, int b, int *p)", "{", "int x = a;"]
        lines += [f"if (p[{i}] > x) x += step(x, b * {i * 7919 % 1000 + f}); "
                  f"else p[{i}] = x ^ {i * 104729 % 65536};" for i in range(60)]
        lines += ["return x;", "}"]
    (folder / "big.c").write_text("\n".join(lines) + "\n")


def prepare_cxx(folder):
    """Many headers, and templates with many instances."""
    names = ("algorithm", "array", "functional", "iostream", "map", "memory", "regex", "string",
             "unordered_map", "variant", "vector")
    lines = [f"#include <{name}>" for name in names]
    lines.append("""
template <int N> struct table {
	using value = std::variant<int, std::string, std::array<char, N>>;
	std::map<std::string, std::vector<value>> rows;
	std::unordered_map<int, std::shared_ptr<value>> index;
	void add(const std::string &name, value v)
	{
		rows[name].push_back(v);
		index[N + (int)rows.size()] = std::make_shared<value>(std::move(v));
	}
	std::size_t find(const std::string &pattern)
	{
		std::regex wanted(pattern);
		return std::count_if(rows.begin(), rows.end(), [&](const auto &row) {
			return std::regex_match(row.first, wanted) && row.second.size() > N;
		});
	}
};""")
    lines += [f"template struct table<{n}>;" for n in range(1, 5)]
    (folder / "big.cc").write_text("\n".join(lines) + "\n")


def compiled(source, compiler, *options):
    """A run that compiles a file of prepare()'s: the object file must be the same, bit by bit."""
    def run(session):
        output = session.folder / "big.o"
        session.measure(compiler, *options, "-c", session.prepared / source, "-o", output)
        return file_digest(output)
    return run


# ---- Interpreters --------------------------------------------------------------------------------

def run_python(malloc, session):
    return session.measure(PYTHON, places.ROOT / "scripts/demo/records.py",
                           env={"PYTHONMALLOC": malloc})


SCRIPTS = {
    "main.js": """
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
""",
    "main.pl": """
use strict;
my ($seed, %rows, $sum) = (1);
for my $i (1 .. 250000) {
	$seed = ($seed * 1103515245 + 12345) % 2147483648;
	push @{$rows{"k" . $seed % 60000}}, "v$seed-" . "x" x ($seed % 50);
}
for my $round (1 .. 2) {
	for my $key (sort keys %rows) {
		my $line = join ",", sort @{$rows{$key}};
		$line =~ s/(\\d)(\\d)/$2$1/g;
		$sum = ($sum * 31 + length($line) + ord(substr $line, 3)) % 1000000007;
		$rows{$key} = [split /,/, $line];
		delete $rows{$key} if $round == 1 && length($line) % 3 == 0;
	}
}
print scalar(keys %rows), " $sum\\n";
""",
    "main.lua": """
local seed, rows, sum = 1, {}, 0
local function random(n)
	seed = (seed * 1103515245 + 12345) % 2147483648
	return seed // 65536 % n
end
for i = 1, 400000 do
	local name = "n" .. random(30000) .. ("x"):rep(random(40))
	rows[i % 150000] = { name = name, tags = { i, random(9) } }
end
local list = {}
for _, row in pairs(rows) do list[#list + 1] = row end
table.sort(list, function(a, b)
	return a.name < b.name or a.name == b.name and a.tags[1] < b.tags[1]
end)
local parts = {}
for i, row in ipairs(list) do parts[i] = row.name .. ";" .. row.tags[1] end
local text = table.concat(parts, "\\n")
for word in text:gmatch("[^\\n]+") do sum = (sum * 31 + #word + word:byte(2)) % 1000000007 end
print(#list, #text, sum)
""",
    "main.rb": """
seed = 1
rows = Array.new(150_000) do |i|
  seed = (seed * 1103515245 + 12345) % 2147483648
  { id: i, name: "n#{seed}" + "x" * (seed % 60), tags: [seed % 7, "t#{seed % 11}"] }
end
rows.sort_by! { |row| [row[:name], row[:id]] }
groups = rows.group_by { |row| row[:tags][1] }
text = groups.keys.sort.map { |key| groups[key].map { |r| r[:name].tr("x", "y") }.join(",") }
counts = Hash.new(0)
text.each do |line|
  line.split(",").each { |word| counts[word[0, 5].gsub(/\\d/, "9") + word[-2..]] += 1 }
end
puts text.sum(&:size), counts.size, counts.values.max
""",
}


def script(name, interpreter):
    """A Program that runs one of SCRIPTS."""
    file = next(f for f in SCRIPTS if f.endswith(name))

    def prepare(folder):
        (folder / file).write_text(SCRIPTS[file])

    return Program(interpreter, (interpreter,),
                   lambda session: session.measure(interpreter, session.prepared / file), prepare)


# ---- Data and files ------------------------------------------------------------------------------

def run_sqlite(session):
    return session.measure("sqlite3", ":memory:", f".read {places.ROOT}/scripts/demo/sort.sql")


def prepare_sort(folder):
    (folder / "sort.sql").write_text("""
PRAGMA temp_store=memory;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500000)
	INSERT INTO t SELECT i, printf('%08d%.*c', i * 7919 % 1000003, i % 90, 'x'), i % 1000 FROM c;
SELECT sum(row % 1009 * n), max(length(name)) FROM
	(SELECT n, name, row_number() OVER (ORDER BY name DESC) AS row FROM t);
SELECT count(*) FROM (SELECT DISTINCT substr(name, 4) FROM t);
""")


def run_sort(session):
    """The table is in a file, and what is sorted in memory."""
    return session.measure("sqlite3", session.folder / "t.db",
                           f".read {session.prepared / 'sort.sql'}")


def prepare_git(folder):
    """A repository of 400 commits, each of which changes 10 of 300 files."""
    rng = random.Random(11)
    files = [[f"line {i} {rng.random()}\n" for i in range(rng.randrange(20, 400))]
             for _ in range(300)]
    stream = []
    for number in range(400):
        stream.append("commit refs/heads/main\n"
                      f"committer t <t@example.org> {10**9 + number} +0000\ndata 2\nx\n")
        for which in range(300) if number == 0 else rng.sample(range(300), 10):
            lines = files[which]
            for _ in range(5):
                lines[rng.randrange(len(lines))] = f"changed {number} {rng.random()}\n"
            text = "".join(lines)
            stream.append(f"M 100644 inline d{which % 17}/f{which}\ndata {len(text)}\n{text}\n")
    command("git", "init", "-q", "--bare", folder / "r.git")
    command("git", "-C", folder / "r.git", "fast-import", "--quiet", stdin="".join(stream))


def run_git(session):
    repository = session.folder / "r.git"
    shutil.copytree(session.prepared / "r.git", repository)
    session.measure("git", "-C", repository, "-c", "pack.threads=2", "gc", "--aggressive",
                    "--prune=now", "--quiet")
    command("git", "-C", repository, "fsck", "--full")
    return digest(command("git", "-C", repository, "rev-list", "--objects", "--all"))


def prepare_text(folder):
    """Files of words, to be searched."""
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghij", k=rng.randrange(2, 11))) for _ in range(5000)]
    for number in range(40):
        (folder / f"{number}.txt").write_text("\n".join(
            " ".join(rng.choices(words, k=12)) for _ in range(6000)) + "\n")


def searched(*words):
    """A run of a program that searches the files of prepare_text()."""
    def run(session):
        found = session.measure(*words, *sorted(session.prepared.glob("*.txt")))
        return digest("\n".join(sorted(found.splitlines())))
    return run


def prepare_image(folder):
    command(CONVERT, "-seed", "7", "-size", "1500x1100", "plasma:fractal", "-depth", "8",
            folder / "a.png")


def run_image(session):
    output = session.folder / "b.ppm"
    session.measure(CONVERT, session.prepared / "a.png", "-resize", "130%", "-unsharp", "0x2",
                    "-rotate", "11", "-colors", "64", "-depth", "8", output)
    return file_digest(output)


TABLE = [
    Program("gcc", ("gcc",), compiled("big.c", "gcc", "-O2"), prepare_c),
    Program("g++", ("g++",), compiled("big.cc", "g++", "-std=c++17", "-O1"), prepare_cxx),
    Program("clang++", ("clang++",), compiled("big.cc", "clang++", "-std=c++17", "-O1"),
            prepare_cxx),
    # pymalloc, Python's own cache of small objects, hides the allocator.
    Program("python3", (PYTHON,), functools.partial(run_python, "malloc")),
    Program("python3-pymalloc", (PYTHON,), functools.partial(run_python, "default")),
    script(".js", "node"),
    script(".pl", "perl"),
    script(".lua", "lua5.4"),
    script(".rb", "ruby"),
    Program("sqlite3", ("sqlite3",), run_sqlite),
    Program("sqlite3-sort", ("sqlite3",), run_sort, prepare_sort),
    Program("git-gc", ("git",), run_git, prepare_git),
    Program("grep-P", ("grep",), searched("grep", "-hP", r"(\w)\w*\1\w* (?=a\w+j).*\b(\w+) \2\b"),
            prepare_text),
    Program("ripgrep", ("rg",),
            searched("rg", "-iN", "--no-filename", r"(\w+j [a-e]+\w{2,9} ){2}.*i\b"), prepare_text),
    Program("imagemagick", (CONVERT,), run_image, prepare_image),
    *program_servers.TABLE,
]
