#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Many processes one after the other: does the RSS at their ends, or their speed, change from one to
# the next? Ends with a verdict (exit status 0: passed). Variables, with what they are when not set;
# further arguments go to hakmem soak.
#
#     DURATION_SEC=3600 (in all) PROCESS_SEC=60 EPOCH_SEC=5 WS=400 PROFILE=balanced
#     BENCH_BIN=<build>/bench/bench_random_mixed_hakmem
exec "$(dirname "$0")/../hakmem" soak --duration "${DURATION_SEC:-3600}" \
	--process-seconds "${PROCESS_SEC:-60}" --epoch "${EPOCH_SEC:-5}" --ws "${WS:-400}" \
	--profile "${PROFILE:-balanced}" ${BENCH_BIN:+--bin "$BENCH_BIN"} "$@"
