/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_BENCH_REPLAY_LOAD_H
#define HAKMEM_BENCH_REPLAY_LOAD_H
/* Reads a compact trace (docs/trace-format.md) into one list of events a thread, in mapped memory.
 * Every event is checked on the way: a list that came out of here can be replayed. */
#include <stddef.h>
#include <stdint.h>

#include "trace/trace_format.h"

/* Operations that the loader adds to those of enum trace_op. */
enum {
	REPLAY_START = 32, /* start thread `block` */
	REPLAY_EPOCH = 33, /* tell the others that epoch `block` begins, and wait for them */
};

/* The trace in global order is cut into epochs. No thread is more than one ahead of another, so
 * that about as much is live at a time as it was in the program. */
enum { REPLAY_EPOCH_EVENTS = 8192 };

struct replay_event {
	uint32_t block; /* what it gives */
	uint32_t old;   /* what it takes, 0 = NULL; the count of a calloc */
	uint64_t size : 48;
	uint64_t align : 8; /* log2 */
	uint64_t op : 8;
};

struct replay_list {
	struct replay_event *event;
	size_t count;
	uint64_t first_epoch;
	uint64_t epoch; /* of the last event, while loading */
};

struct replay_trace {
	struct trace_header header;
	struct replay_list *list; /* header.threads of them; the first is the main thread's */
};

/* `path` may be "-": stdin. What is no trace, or a damaged one, ends the program with a sentence
 * and exit status 2. */
void replay_load(struct replay_trace *trace, const char *path);

#endif
