/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_TRACE_LOG_H
#define HAKMEM_BENCH_TRACE_LOG_H
/* Where the recorder's events go: a file that is mapped whole, shared, and written in place. So
 * nothing is lost when the process ends, however it ends. A thread owns a chunk of the file at a
 * time, and writes to it without a lock; the one word that all threads share is the counter that
 * numbers the events.
 *
 * A child of fork does not record: the gate that every event passes lies in a page that the kernel
 * wipes in it. A child of vfork does, since its calls change its parent's memory. */
#include <stdbool.h>
#include <stdint.h>

#include "trace_format.h" /* enum trace_op */

/* Opens the file if HAKMEM_TRACE_FILE asks for one. False: there is no environment yet. */
bool trace_log_open(void);

/* Between these two, a thread's calls are part of one that is being recorded, and are not recorded
 * themselves. enter is false when nothing is to be recorded; then there is no leave. */
bool trace_log_enter(void);
void trace_log_leave(void);

/* Writes an event with the next number; `words` counts the values, 1 to 3. */
void trace_log_put(enum trace_op op, unsigned int words, uint64_t a, uint64_t b, uint64_t c);
/* Counts a call that returned no block. */
void trace_log_failed(void);

#endif
