#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# A/B of random_mixed, one thread: by default, bins of 256 KiB a thread against the default.
#
#   scripts/bench_random_mixed_ab.sh [OPTION of hakmem ab …]
#   A=build:build/before B=build:build/release scripts/bench_random_mixed_ab.sh --build-level
#
# A, B    the arms, as for hakmem ab (hakmem ab --help)
# ITERS   operations a run (20000000)      WS    slots (400)
# SEED    of the sizes (1)                 RUNS  pairs of runs (10)
exec "$(dirname "$0")/../hakmem" ab --a "${A-}" --b "${B-env:HAKMEM_BIN_BYTES=256K}" \
	-n "${RUNS:-10}" --workload "random_mixed ${ITERS:-20000000} ${WS:-400} ${SEED:-1}" "$@"
