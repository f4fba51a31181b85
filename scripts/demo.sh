#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Builds hakmem and runs two real programs on it, beside glibc and Debian's mimalloc: interleaved,
# five times each, and prints medians. Takes under two minutes. Nothing is installed but packages
# that are missing, and nothing outside build/ is written.
#
#   scripts/demo.sh              all of that
#   scripts/demo.sh --no-build   takes build/release as it is
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/release
hakmem=$build/libhakmem.so
measure=$build/bench/measure
repetitions=5

say() { printf '%s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null; }

# What is missing is installed; what stays missing costs a row of the table, unless it is a build
# tool.
prepare() {
	"$root/scripts/install_deps.sh" build >&2 ||
		say "demo: going on with what there is"
	for tool in gcc cmake make; do
		if ! have "$tool"; then
			say "demo: $tool is needed to build hakmem"
			exit 1
		fi
	done
}

find_mimalloc() {
	local path
	for path in /usr/lib/*-linux-gnu/libmimalloc.so.2; do
		[ ! -e "$path" ] || printf '%s\n' "$path"
	done
}

build_release() {
	say "demo: building into build/release"
	if ! { make -s -C "$root" configure BUILD_FLAVOR=release &&
		cmake --build "$build" -j"$(nproc)" --target hakmem_shared measure; } \
		>"$work/build.log" 2>&1; then
		tail -n 30 "$work/build.log" >&2
		say "demo: the build failed"
		exit 1
	fi
}

# One run: $1 program, $2 allocator, $3 the library to preload or nothing. Adds a line to
# $work/runs.
run_once() {
	local program=$1 allocator=$2 library=$3
	local command=(sqlite3 :memory: ".read $root/scripts/demo/sort.sql")
	if [ "$program" = python3 ]; then
		command=(/usr/bin/python3 "$root/scripts/demo/records.py")
	fi
	# pymalloc, Python's own cache of small objects, would hide the allocator.
	if ! "$measure" -o "$work/report" -e PYTHONMALLOC=malloc -e "LD_PRELOAD=$library" \
		"${command[@]}" >"$work/out" 2>"$work/err" </dev/null || [ -s "$work/err" ]; then
		say "demo: $program on $allocator failed:"
		tail -n 5 "$work/err" >&2
		exit 1
	fi
	if [ "$allocator" = glibc ] && [ ! -e "$work/$program.expected" ]; then
		cp "$work/out" "$work/$program.expected"
	elif ! cmp -s "$work/out" "$work/$program.expected"; then
		say "demo: $program gives another result on $allocator than on glibc"
		exit 1
	fi
	printf 'program=%s allocator=%s %s\n' "$program" "$allocator" "$(cat "$work/report")" \
		>>"$work/runs"
}

run_all() {
	local allocators=(glibc mimalloc hakmem) program repetition i name library mimalloc
	mimalloc=$(find_mimalloc | head -n 1)
	[ -n "$mimalloc" ] || say "demo: libmimalloc2.0 is missing: no mimalloc in the table"
	for program in /usr/bin/python3 sqlite3; do
		if ! have "$program"; then
			say "demo: $program is missing: one program less"
			continue
		fi
		program=${program##*/}
		for repetition in $(seq "$repetitions"); do
			say "demo: $program, run $repetition of $repetitions"
			for i in 0 1 2; do
				# glibc goes first once, for its result; then the order rotates.
				name=${allocators[$(((i + repetition - 1) % 3))]}
				case $name in
				glibc) library= ;;
				mimalloc) library=$mimalloc ;;
				hakmem) library=$hakmem ;;
				esac
				[ "$name" = mimalloc ] && [ -z "$library" ] && continue
				run_once "$program" "$name" "$library"
			done
		done
	done
}

# Medians out of $work/runs, and their ratio to glibc's.
print_table() {
	awk -v n="$repetitions" '
	function median(key,    list, count, i, j, swap) {
		count = split(runs[key], list, " ")
		for (i = 1; i <= count; i++)
			for (j = i + 1; j <= count; j++)
				if (list[j] + 0 < list[i] + 0) {
					swap = list[i]; list[i] = list[j]; list[j] = swap
				}
		i = int((count + 1) / 2)
		return count % 2 ? list[i] : (list[i] + list[i + 1]) / 2
	}
	function cell(id, column, format,    value, base) {
		value = median(id SUBSEP column)
		base = median(program[id] SUBSEP "glibc" SUBSEP column)
		return sprintf(format, value) sprintf(" (%.2f)", base ? value / base : 1)
	}
	{
		split("", field)
		for (i = 1; i <= NF; i++) {
			at = index($i, "=")
			field[substr($i, 1, at - 1)] = substr($i, at + 1)
		}
		id = field["program"] SUBSEP field["allocator"]
		if (!(id in program)) {
			order[++ids] = id
			program[id] = field["program"]
			allocator[id] = field["allocator"]
		}
		runs[id, "wall"] = runs[id, "wall"] " " field["wall_s"]
		runs[id, "cpu"] = runs[id, "cpu"] " " field["user_s"] + field["sys_s"]
		runs[id, "rss"] = runs[id, "rss"] " " field["vmhwm_kib"] / 1024
		runs[id, "faults"] = runs[id, "faults"] " " field["minflt"]
	}
	END {
		printf "\n%-8s %-9s %14s %14s %16s %16s\n", "program", "allocator",
			"wall s", "CPU s", "peak RSS MiB", "page faults"
		for (i = 1; i <= ids; i++) {
			id = order[i]
			if (i > 1 && program[id] != program[order[i - 1]])
				print ""
			printf "%-8s %-9s %14s %14s %16s %16s\n", program[id], allocator[id],
				cell(id, "wall", "%.2f"), cell(id, "cpu", "%.2f"),
				cell(id, "rss", "%.1f"), cell(id, "faults", "%d")
		}
		printf "\nMedians of %d runs, in parentheses as a multiple of glibc;", n
		print " peak RSS is VmHWM."
	}' "$work/runs"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case ${1-} in
"")
	prepare
	build_release
	;;
--no-build) ;;
*)
	say "demo: unknown argument '$1'; see the head of scripts/demo.sh"
	exit 2
	;;
esac
for file in "$hakmem" "$measure"; do
	if [ ! -e "$file" ]; then
		say "demo: $file is missing: run scripts/demo.sh without --no-build"
		exit 1
	fi
done

run_all
print_table
cat <<END

Any program can be run on it:

    LD_PRELOAD=$hakmem program arguments

What its options are: docs/options.md. Where to read on: README.md.
END
