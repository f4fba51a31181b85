/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_RETAIN_BLOCKS_H
#define HAKMEM_RETAIN_BLOCKS_H
/* What the scenarios of bench_retain are made of: blocks that know their size, with every byte
 * written, an account of what is live, tables for them, and the moments at which RSS is read. */
#include "bench_common.h"

#include <stdatomic.h>

enum { RETAIN_SIZE_LEAST = 16 };

/* Own tables are mapped and written before the first block, so that nothing of theirs is taken for
 * the allocator's. */
struct retain {
	uint64_t own_kib;                 /* RSS before the first block */
	uint64_t freed_kib;               /* and after the last free */
	uint64_t calls;                   /* retain_calls() before the first free */
	_Atomic uint64_t live, live_most; /* bytes, as asked for */
	_Atomic uint64_t blocks;          /* handed out since the start */
};
extern struct retain retain;

unsigned char *retain_take(size_t size);
/* Checks and frees. */
void retain_give(unsigned char *block);
size_t retain_size_of(const unsigned char *block);

void retain_before_blocks(void);
void retain_before_frees(void);
/* After the last free: sleeps. */
void retain_idle(uint64_t seconds);
/* hakmem's system calls since the start; 0 under other allocators. */
uint64_t retain_calls(void);
bool retain_is_hakmem(void);

void *retain_table(uint64_t count);

struct mix {
	unsigned char **block;
	uint64_t count, places;
};

/* Room for twice as many blocks of least to most bytes as make up `bytes`. */
struct mix retain_mix(uint64_t bytes, uint64_t least, uint64_t most);
void retain_add(struct mix *m, size_t size);

struct sizes {
	struct bench_rng rng;
	size_t least, span;
};

struct sizes retain_sizes(uint64_t least, uint64_t most, uint64_t seed, uint64_t stream);
size_t retain_next_size(struct sizes *s);

#endif
