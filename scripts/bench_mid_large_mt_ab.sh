#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# A/B of mid_large_mt, many threads: by default, without the cache of freed spans against with it.
#
#   scripts/bench_mid_large_mt_ab.sh [OPTION of hakmem ab …]
#
# A, B      the arms, as for hakmem ab (hakmem ab --help)
# ITERS     operations a thread (5000000)     WS    slots a thread (256)
# THREADS   (2)    SEED of the sizes (1)      RUNS  pairs of runs (10)
exec "$(dirname "$0")/../hakmem" ab --a "${A-}" --b "${B-env:HAKMEM_BIGCACHE_L25=0}" \
	-n "${RUNS:-10}" \
	--workload "mid_large_mt ${THREADS:-2} ${ITERS:-5000000} ${WS:-256} ${SEED:-1}" "$@"
