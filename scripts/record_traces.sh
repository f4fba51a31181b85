#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Records the traces of bench/traces/ anew, from Debian's programs: redis-server and redis-benchmark
# (packages redis-server, redis-tools), gcc, sqlite3, node (nodejs) and python3. Takes a minute, and
# needs `make` first. A trace that grows past its limit is cut there; none of them is meant to.
#
#   scripts/record_traces.sh [FOLDER]     default: bench/traces
set -euo pipefail

cd "$(dirname "$0")/.."
folder=${1-bench/traces}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$folder"

# record NAME LIMIT PROCESS -- COMMAND…
record() {
	local name=$1 limit=$2 process=$3

	shift 4
	echo "== $name"
	/usr/bin/python3 hakmem trace -o "$folder/$name.hktrace.xz" --limit "$limit" \
		--process "$process" -- "$@"
}

for tool in redis-server redis-benchmark redis-cli gcc sqlite3 node; do
	if ! command -v "$tool" >/dev/null; then
		echo "record_traces: there is no $tool" >&2
		exit 2
	fi
done

# The compiler proper, over one file of this repository.
record gcc 24M cc1 -- gcc -std=gnu11 -O2 -c -o "$scratch/object.o" bench/bench_common.c

# A table of 30,000 rows: inserted, indexed, sorted, grouped, updated, deleted.
cat >"$scratch/rows.sql" <<'SQL'
create table t (id integer primary key, name text, value real, note blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
insert into t select i, 'name ' || (i * 7919 % 30011), i * 0.37, randomblob(i % 97) from n;
create index by_name on t (name);
create index by_value on t (value desc, name);
select count(*) from (select name, note from t order by note, name desc limit 20000);
select substr(name, 6, 2) as k, count(*), sum(value), group_concat(id) from t group by k
	order by 2 desc limit 3;
update t set name = upper(name) || id where id % 3 = 0;
delete from t where id % 5 = 0;
select count(*), max(length(name)) from t a where exists (select 1 from t b where b.name > a.name);
SQL
record sqlite 24M sqlite3 -- sqlite3 "$scratch/rows.db" ".read $scratch/rows.sql" >"$scratch/out"
sed -n '/calls,/,$p' "$scratch/out"

# Python without its own small-object allocator, over this repository's sources.
cat >"$scratch/words.py" <<'PY'
import collections, json, pathlib, re
words = collections.Counter()
places = collections.defaultdict(list)
for path in sorted(pathlib.Path("src").rglob("*.[ch]")):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for word in re.findall(r"[A-Za-z_]\w+", line):
            words[word] += 1
            places[word].append(f"{path}:{number}")
text = json.dumps({word: places[word] for word, _ in words.most_common(1500)})
back = json.loads(text)
print(len(text), sum(len(lines) for lines in back.values()))
PY
record python 24M python3 -- \
	env PYTHONMALLOC=malloc PYTHONHASHSEED=1 /usr/bin/python3 -S "$scratch/words.py"

# Objects, strings, JSON. V8's own heap is not malloc's; its compiler's memory and buffers are.
cat >"$scratch/strings.js" <<'JS'
const zlib = require('zlib');
const rows = [];
for (let i = 0; i < 20000; i++)
	rows.push({ id: i, name: 'row ' + (i * 7919 % 20011), tags: ['a' + i % 7, 'b' + i % 11] });
let text = JSON.stringify(rows);
let sum = 0;
for (let round = 0; round < 20; round++) {
	const back = JSON.parse(text);
	back.sort((a, b) => a.name < b.name ? -1 : 1);
	text = JSON.stringify(back);
	const packed = zlib.deflateSync(Buffer.from(text));
	sum += zlib.inflateSync(packed).length;
	for (const word of text.split(','))
		sum += Buffer.from(word).length;
}
console.log(sum);
JS
record node 24M node -- node "$scratch/strings.js"

# A server for 80,000 requests of ten kinds, over a socket in the scratch folder.
cat >"$scratch/serve.sh" <<'SH'
set -e
socket=$1/redis.sock
redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no --dir "$1" \
	--loglevel warning &
server=$!
for _ in $(seq 100); do
	[ ! -S "$socket" ] || break
	sleep 0.1
done
unset LD_PRELOAD
redis-benchmark -s "$socket" -q -n 8000 -r 5000 -d 120 -c 20 \
	-t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,mset >"$1/benchmark"
redis-cli -s "$socket" shutdown nosave
wait "$server"
SH
record redis 32M redis-server -- sh "$scratch/serve.sh" "$scratch"

ls -l "$folder"
