#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Ten runs of random mixed on hakmem, with no HAKMEM_ variable but the profile's: every run, then
# mean, median, coefficient of variation, smallest and largest, in millions of operations a second.
#
#   scripts/run_mixed_10_cleanenv.sh
#   RUNS=30 WS=8192 PROFILE=speed scripts/run_mixed_10_cleanenv.sh
#
# PROFILE     hakmem's (balanced)           ITERS  operations a run (20000000)
# WS          slots (400)                   RUNS   how many (10)
# BENCH_BIN   the program (build/release/bench/bench_random_mixed_hakmem)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
bench=${BENCH_BIN:-$root/build/${BUILD_FLAVOR:-release}/bench/bench_random_mixed_hakmem}
runs=${RUNS:-10}

fail() {
	echo "run_mixed_10_cleanenv: $*" >&2
	exit 2
}

case $runs in
'' | *[!0-9]* | 0*) fail "RUNS must be a number above 0, and is '$runs'" ;;
esac
[ -x "$bench" ] ||
	fail "there is no program $bench: build it first (make bench_random_mixed_hakmem)"

# Whatever begins so: options come and go, and a list would miss one.
for name in $(env | sed -n 's/^\(HAKMEM_[A-Za-z0-9_]*\|BENCH_[A-Z]*_SIZE\|LD_PRELOAD\)=.*/\1/p'); do
	unset "$name"
done
export HAKMEM_PROFILE="${PROFILE:-balanced}"

out=$(mktemp)
trap 'exit 130' INT
trap 'exit 143' TERM

# Mean, median, CV, min and max of the runs so far, also when the rest are interrupted.
summary() {
	sort -n "$out" | awk '
	{ x[NR] = $1; sum += $1 }
	END {
		if (NR == 0)
			exit
		mean = sum / NR
		for (i = 1; i <= NR; i++)
			square += (x[i] - mean) ^ 2
		half = int((NR + 1) / 2)
		median = NR % 2 ? x[half] : (x[half] + x[half + 1]) / 2
		cv = NR > 1 ? 100 * sqrt(square / (NR - 1)) / mean : 0
		printf "mean %.2f  median %.2f  CV %.2f%%  min %.2f  max %.2f  M ops/s, %d runs\n",
			mean, median, cv, x[1], x[NR], NR
	}'
}
trap 'summary; rm -f "$out" "$out.err"' EXIT

run=0
while [ "$run" -lt "$runs" ]; do
	run=$((run + 1))
	line=$("$bench" "${ITERS:-20000000}" "${WS:-400}" 1 2>"$out.err") ||
		fail "run $run: $(cat "$out.err")"
	# A profile that the library does not know is named there, and would measure another one.
	[ ! -s "$out.err" ] || fail "run $run: $(cat "$out.err")"
	mega=$(printf '%s\n' "$line" | awk '/^Throughput = / { printf "%.2f", $3 / 1e6 }')
	[ -n "$mega" ] || fail "run $run has no result: $line"
	echo "$mega" >>"$out"
	echo "run $run: $mega M ops/s"
done
