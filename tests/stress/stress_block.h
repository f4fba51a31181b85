/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_STRESS_BLOCK_H
#define HK_TESTS_STRESS_BLOCK_H
/* What the stress test does to one block: allocate by any function, fill, check, resize, free. Each
 * call that finds a block other than it was left ends the process. */
#include <stdatomic.h>

#include "harness.h"

struct hak_heap;

/* Everything known about one block, kept outside of it. */
struct sb {
	unsigned char *p; /* NULL: none */
	size_t size;
	size_t align;          /* 0: as malloc */
	uint64_t key;          /* of the pattern; its upper half is the thread that wrote it */
	struct hak_heap *heap; /* NULL: the thread's */
};

/* A place where a block lies until somebody takes it. */
struct sb_slot {
	atomic_flag busy;
	struct sb block;
};

/* Puts `in` (or none) there and returns what was there. */
struct sb sb_swap(struct sb_slot *slot, struct sb in);

/* Allocates `size` bytes somehow and fills them. */
struct sb sb_new(uint64_t *seed, size_t size, uint64_t owner, struct hak_heap *heap);
void sb_verify(const struct sb *b);
struct sb sb_resize(uint64_t *seed, struct sb b, size_t size, uint64_t owner);
/* Verifies and frees; nothing for an empty one. */
void sb_free(uint64_t *seed, struct sb b);

/* Mostly small, sometimes anything up to `most`. */
size_t sb_size(uint64_t *seed, size_t most);

/* Bytes asked for and not freed. */
extern _Atomic size_t sb_live;

#endif
