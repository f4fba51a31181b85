#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# A/B of larson with one thread: by default build/release against the same built with the profile of
# a training run (PGO), in build/pgo.
#
#   scripts/bench_larson_1t_ab.sh [OPTION of hakmem ab …]
#
# A, B           the arms, as for hakmem ab (hakmem ab --help); with B, nothing is built
# SECONDS_EACH   of a run (2)    SEED of the sizes (4141)    RUNS  pairs of runs (10)
# EXTRA_CFLAGS   further compiler flags of the PGO build     JOBS  of the build
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tree=$root/build/pgo
profile=$tree/profile

# build FLAG…: the shared library alone
build() {
	(cd "$root" && cmake --preset release -B "$tree" -DBUILD_TESTS=OFF -DBUILD_BENCHES=OFF \
		"-DEXTRA_CFLAGS=$* ${EXTRA_CFLAGS-}" "-DCMAKE_SHARED_LINKER_FLAGS=$*") >/dev/null
	cmake --build "$tree" --target hakmem_shared -j"${JOBS:-$(nproc)}" >/dev/null
}

# Counters of values would call malloc. The training is what is measured, and what it is not.
build_pgo() {
	rm -rf "$profile"
	echo "build/pgo: instrumented" >&2
	build "-fprofile-generate=$profile" -fno-profile-values -fprofile-update=atomic
	echo "build/pgo: training" >&2
	for run in "larson_system 1 8 1000 5000 100 1 1" "bench_random_mixed_system 2000000 400 2"; do
		# shellcheck disable=SC2086 # a program and its arguments
		LD_PRELOAD=$tree/libhakmem.so $root/build/release/bench/$run >/dev/null
	done
	echo "build/pgo: with the profile" >&2
	build "-fprofile-use=$profile" -fprofile-partial-training -Wno-missing-profile
}

if [ -z "${B-}" ]; then
	build_pgo
	B=build:$tree
fi
exec "$root/hakmem" ab --a "${A-build:$root/build/release}" --b "$B" --build-level -n "${RUNS:-10}" \
	--workload "larson ${SECONDS_EACH:-2} 8 1000 5000 100 ${SEED:-4141} 1" "$@"
