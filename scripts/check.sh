#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# The checks and tests of a commit; stops at the first that fails. ctest's summary comes last.
#
#   scripts/check.sh         format and lint, then the flavours debug and release
#   scripts/check.sh full    then all flavours
set -euo pipefail

cd "$(dirname "$0")/.."
flavours="debug release"
if [ "${1-}" = full ]; then
	flavours="debug rare observe minimal tsan asan ubsan clang aarch64 musl release"
fi
jobs=$(nproc)

say() { printf '== %s\n' "$*"; }

# Tracked files and new ones, but neither ignored nor deleted ones.
list() {
	git ls-files -co --exclude-standard -- "$@" | while read -r file; do
		if [ -e "$file" ]; then
			printf '%s\n' "$file"
		fi
	done
}

check_format() {
	say "format"
	list '*.c' '*.h' | xargs -r clang-format --dry-run --Werror
}

check_scripts() {
	say "shellcheck"
	list '*.sh' .ci/run | xargs -r shellcheck
	say "man pages"
	list 'docs/man/*.[1-9]' | xargs -r mandoc -T lint -W warning >&2
}

# The sources of the library, as this flavour compiles them.
check_sources() {
	say "cppcheck"
	cppcheck --quiet --project="build/$1/compile_commands.json" --file-filter='*src/*' \
		--cppcheck-build-dir="build/$1" --enable=warning,performance,portability \
		--inline-suppr --suppress=missingIncludeSystem --error-exitcode=2 -j"$jobs"
	say "clang-tidy"
	list 'src/*.c' | xargs -r -n 2 -P "$jobs" clang-tidy --quiet -p "build/$1" 2>/dev/null
}

scripts/install_deps.sh check
check_format
check_scripts
for flavour in $flavours; do
	say "$flavour"
	cmake --preset "$flavour" -DHK_WERROR=ON >/dev/null
	cmake --build --preset "$flavour" -j"$jobs" >/dev/null
	if [ "$flavour" = debug ]; then
		check_sources debug
	fi
	ctest --preset "$flavour" -j"$jobs"
done
