/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_TRACE_FORMAT_H
#define HAKMEM_BENCH_TRACE_FORMAT_H
/* The two forms of a trace, as docs/trace-format.md has them: the raw one, which the recorder
 * writes (trace_log.c), and the compact one, which the replay driver reads (bench_replay.c).
 * lab/tracefile.py turns the first into the second. All numbers are little-endian. */
#include <stdatomic.h>
#include <stdint.h>

/* Operations. The numbers are the same in both forms. */
enum trace_op {
	TRACE_END = 0,
	TRACE_THREAD = 1, /* what follows is another thread's */
	TRACE_MALLOC = 2,
	TRACE_CALLOC = 3,
	TRACE_REALLOC = 4,
	TRACE_REALLOCARRAY = 5,
	TRACE_ALIGNED_ALLOC = 6,
	TRACE_POSIX_MEMALIGN = 7,
	TRACE_MEMALIGN = 8,
	TRACE_VALLOC = 9,
	TRACE_PVALLOC = 10,
	TRACE_FREE = 11,
	TRACE_FREE_SIZED = 12,
	TRACE_FREE_ALIGNED_SIZED = 13,
	TRACE_RELEASE = 14, /* raw only: a realloc begins, and may give its old block away */
};

#define TRACE_NAME_BYTES 56

/* ---- Raw: a sparse file of chunks, the first of which holds this header ---------------------- */

#define TRACE_RAW_MAGIC   "hktraw\n" /* with its NUL: 8 bytes */
#define TRACE_RAW_VERSION 1
#define TRACE_CHUNK_BYTES 65536

struct trace_raw_header {
	char magic[8];
	uint32_t version;
	uint32_t page_bytes;
	uint64_t date;        /* seconds since 1970 */
	_Atomic uint64_t cut; /* the first event that found no room; UINT64_MAX: all did */
	_Atomic uint64_t chunks;
	_Atomic uint64_t failed; /* calls that returned no block */
	_Atomic uint64_t
		skipped; /* calls inside of calls, the allocator's own and signal handlers' */
	uint64_t pid;
	char program[TRACE_NAME_BYTES];
};

/* An event is 2 to 4 words: number << 8 | operation, then pointer, then its sizes. A word 0 ends a
 * chunk. */
enum { TRACE_RAW_WORDS = 4 };

/* ---- Compact --------------------------------------------------------------------------------- */

#define TRACE_MAGIC   "hktrace\n" /* without its NUL: 8 bytes */
#define TRACE_VERSION 1

struct trace_header {
	char magic[8];
	uint32_t version;
	uint32_t page_bytes;
	uint64_t date;
	uint64_t events;
	uint64_t blocks;
	uint32_t threads;
	uint32_t flags;
	uint64_t peak_bytes; /* most live bytes, by the sizes asked for */
	uint64_t failed;
	uint64_t unknown; /* frees of blocks that the recording did not see */
	char program[TRACE_NAME_BYTES];
};

enum { TRACE_WAS_CUT = 1 }; /* in `flags` */

#endif
