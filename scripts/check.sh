#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# The checks and tests of a commit; stops at the first that fails. ctest's summary comes last.
#
#   scripts/check.sh         format, lint; every flavour through the hak_ door; release through all
#   scripts/check.sh full    every flavour through all doors, and the long tests
set -euo pipefail

cd "$(dirname "$0")/.."
full=${1-}
jobs=$(nproc)
started=$(date +%s)

say() { printf '== %4d s  %s\n' "$(($(date +%s) - started))" "$*"; }

# Tracked files and new ones, but neither ignored nor deleted ones.
list() {
	git ls-files -co --exclude-standard -- "$@" | while read -r file; do
		if [ -e "$file" ]; then
			printf '%s\n' "$file"
		fi
	done
}

check_format() {
	say "format, scripts, man pages"
	list '*.c' '*.h' | xargs -r clang-format --dry-run --Werror
	list '*.sh' .ci/run | xargs -r shellcheck
	list 'docs/man/*.[1-9]' | xargs -r mandoc -T lint -W warning >&2
	tools/options_doc.py --check
}

# The library's commands alone: unit tests compile its sources again, each in its own way.
write_commands() {
	mkdir -p "$2"
	/usr/bin/python3 - "$1/compile_commands.json" "$2/compile_commands.json" <<-'END'
		import json, sys
		with open(sys.argv[1]) as file:
		    commands = [c for c in json.load(file) if "/hakmem_objects_" in c["command"]]
		assert commands
		with open(sys.argv[2], "w") as file:
		    json.dump(commands, file)
	END
}

# The sources of the library, as this flavour compiles them.
check_sources() {
	say "cppcheck"
	write_commands "build/$1" "build/$1/lint"
	cppcheck --quiet --project="build/$1/lint/compile_commands.json" --file-filter='*src/*' \
		--cppcheck-build-dir="build/$1" --enable=warning,performance,portability \
		--inline-suppr --suppress=missingIncludeSystem --error-exitcode=2 -j"$jobs"
	say "clang-tidy"
	list 'src/*.c' | xargs -r -n 2 -P "$jobs" clang-tidy --quiet -p "build/$1/lint" 2>/dev/null
}

# build_flavour NAME CMAKE_OPTION…
build_flavour() {
	local flavour=$1

	shift
	say "$flavour: build"
	cmake --preset "$flavour" -DHK_WERROR=ON "$@" >/dev/null
	cmake --build --preset "$flavour" -j"$jobs" >/dev/null
	say "$flavour: test"
}

# test_flavour NAME CTEST_OPTION…: quiet unless something fails
test_flavour() {
	local flavour=$1

	shift
	ctest --test-dir "build/$flavour" -j"$jobs" --output-on-failure --quiet \
		--output-log "build/$flavour/check.log" "$@" || {
		tail -n 60 "build/$flavour/check.log"
		exit 1
	}
	tail -n 1 <(grep 'tests passed' "build/$flavour/check.log")
}

scripts/install_deps.sh check
check_format

few=(-DHK_TEST_DOORS=hak -DBUILD_BENCHES=OFF -DHK_TEST_UNIT=OFF)
if [ "$full" = full ]; then
	few=(-DHK_TEST_DOORS= -DBUILD_BENCHES=ON -DHK_TEST_UNIT=ON)
fi
build_flavour debug "${few[@]}"
test_flavour debug
check_sources debug
for flavour in rare tsan ubsan; do
	build_flavour "$flavour" "${few[@]}"
	test_flavour "$flavour" -LE check
done
build_flavour asan "${few[@]}" -DHK_TEST_UNIT=ON
test_flavour asan -LE check
# benches need headers of the kernel's, and libraries, that these two compilers lack
build_flavour musl "${few[@]}" -DHK_TEST_DOORS=static -DBUILD_BENCHES=OFF
test_flavour musl -LE check
build_flavour aarch64 "${few[@]}" -DBUILD_BENCHES=OFF
for page in 4096 ${full:+16384} 65536; do
	say "aarch64: pages of $page bytes"
	QEMU_PAGESIZE=$page test_flavour aarch64 -LE check
done
if [ "$full" = full ]; then
	for flavour in observe minimal clang; do
		build_flavour "$flavour" "${few[@]}"
		test_flavour "$flavour"
	done
fi
build_flavour release -DHK_TEST_DOORS= -DBUILD_BENCHES=ON -DHK_TEST_UNIT=ON
if [ "$full" = full ]; then
	test_flavour release -C long -L long
fi
say "release: every test"
ctest --preset release -j"$jobs"
