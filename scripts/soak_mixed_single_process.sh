#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# One process for long: does its memory grow, does it slow down? Ends with a verdict (exit status 0:
# passed). Variables, with what they are when not set; further arguments go to hakmem soak.
#
#     DURATION_SEC=3600 EPOCH_SEC=5 WS=400 PROFILE=balanced
#     BENCH_BIN=<build>/bench/bench_random_mixed_hakmem
exec "$(dirname "$0")/../hakmem" soak --duration "${DURATION_SEC:-3600}" \
	--epoch "${EPOCH_SEC:-5}" --ws "${WS:-400}" --profile "${PROFILE:-balanced}" \
	${BENCH_BIN:+--bin "$BENCH_BIN"} "$@"
