/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_EPOCH_H
#define HAKMEM_BENCH_EPOCH_H
/* A soak: slots run by the clock instead of by a count, with a CSV row an epoch on stdout.
 *
 * Columns, of the epoch unless said: epoch (from 1), time_s (since the start), ops, wall_s, cpu_s,
 * ops_per_s, ops_per_cpu_s, rss_kib and vmhwm_kib (at its end), minor_faults, major_faults,
 * system_calls (of the whole process but the driver's own; empty where the kernel's tracepoint
 * cannot be had) and hakmem_system_calls (by its own statistics; empty under other allocators). */
#include "bench_common.h"

/* Runs `s` for `duration_s` seconds in epochs of `epoch_s`; the operations done. */
uint64_t bench_epochs_run(struct bench_slots *s, uint64_t duration_s, uint64_t epoch_s);

#endif
