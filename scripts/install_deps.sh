#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Installs, with apt-get, the Debian packages that are missing.
#
#   scripts/install_deps.sh build    what `make` and `make demo` need
#   scripts/install_deps.sh check    that, and what `make check` and `make check-full` need
#   scripts/install_deps.sh bench    what `make bench` needs beside `build`
set -eu

build="gcc libc6-dev make cmake binutils pkg-config python3 git libmimalloc2.0 ghostscript sqlite3"
check="clang-tidy clang-format cppcheck shellcheck universal-ctags mandoc
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user musl-tools
	z3 vim wrk python3-pytest xz-utils procps gdb linux-perf chromium chromium-driver"
bench="libjemalloc2 libtcmalloc-minimal4 libtbbmalloc2 libmimalloc2.0 strace valgrind
	g++ clang perl lua5.4 ruby ripgrep imagemagick curl redis-server redis-tools nginx-light
	postgresql python3-numpy python3-scipy python3-matplotlib python3-jinja2 python3-rich"

case ${1-} in
build) wanted=$build ;;
bench) wanted=$bench ;;
check) wanted="$build $bench $check" ;;
*)
	sed -n '5,9s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac

is_installed() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Packages that another one stands in for.
is_there() {
	case $1 in
	nginx-light) is_installed nginx-light || is_installed nginx ;;
	pkg-config) command -v pkg-config >/dev/null ;;
	*) is_installed "$1" ;;
	esac
}

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	as_root=missing
fi

update() {
	# The lists may be of today, or there may be no network for them: the installation decides.
	[ "$as_root" = missing ] || $as_root apt-get update -qq ||
		echo "install_deps: apt-get update failed, trying without" >&2
}

# Python's own tests: the package has the version in its name, and no name without.
name_testsuite() {
	apt-cache depends python3 2>/dev/null |
		sed -n 's/.*Depends: python3\.\([0-9]*\)$/libpython3.\1-testsuite/p' | head -n 1
}

missing=
for package in $wanted; do
	is_there "$package" || missing="$missing $package"
done
if [ "$1" != build ]; then
	# Node.js may come from elsewhere, whose package then conflicts with Debian's.
	command -v node >/dev/null || missing="$missing nodejs"
fi
if [ "$1" = check ]; then
	testsuite=$(name_testsuite)
	if [ -z "$testsuite" ]; then
		update
		testsuite=$(name_testsuite)
	fi
	is_installed "${testsuite:?install_deps: apt knows no python3}" ||
		missing="$missing $testsuite"
fi
if [ -z "$missing" ]; then
	echo "install_deps: all packages for '$1' are installed"
	exit 0
fi
if [ "$as_root" = missing ]; then
	echo "install_deps: run as root: apt-get install$missing" >&2
	exit 1
fi

echo "install_deps: apt-get install$missing"
update
# shellcheck disable=SC2086 # a list of words
if ! $as_root env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $missing; then
	echo "install_deps: could not install$missing (no network?)" >&2
	exit 1
fi
