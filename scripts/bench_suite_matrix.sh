#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# The matrix of workloads and allocators: hakmem bench, which says what its options are by --help.
#
#   scripts/bench_suite_matrix.sh [OPTION of hakmem bench …]
#   scripts/bench_suite_matrix.sh --set full -n 15
exec "$(dirname "$0")/../hakmem" bench "$@"
