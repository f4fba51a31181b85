/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_HEAP_FACE_H
#define HK_HEAP_FACE_H
/* BOX face - what the fast path sees of a heap: its bins, and the thread's front words.
 * Owns:       struct hk_face; the four thread-local words.
 * Invariants: H1 a bin's list is private to the thread that runs the heap
 *             H2 count == limit - room, room <= limit or room == -1
 *             H3 front.match is 0 or the running heap's id << 11, or nobody's
 * Threads:    bins: the running thread only. front.tiny_limit and front.match: written by the thread,
 *             and by others under the registry lock when they starve it (relaxed).
 * Locks:      none.
 * Fails:      never.
 *
 * Zero is the right start for every word: a thread that has no heap yet, or whose TLS the loader has
 * not initialised, has tiny_limit 0 and match 0, so each malloc and free of it takes the slow path.
 *
 * The starve switch: with tiny_limit 0 every malloc goes slow, with match = nobody every free does.
 * Statistics, sampling, hardening and "use libc instead" are slow functions behind this one switch:
 * no instruction on the fast path when off. The bins stay private, so a running operation of the
 * victim stays consistent. */
#include "base/base.h"
#include "base/config.h"
#include "slab/block.h"

/* Blocks of one class, ready to hand out: an intrusive LIFO. */
struct hk_bin {
	struct hk_block *head;
	uint32_t room;  /* blocks that still fit; UINT32_MAX: one too many, about to be flushed */
	uint32_t limit; /* blocks that fit in all */
};

#define HK_FACE_BINS  128u
#define HK_FACE_BYTES ((uint32_t)(HK_FACE_BINS * sizeof(struct hk_bin)))
static_assert(sizeof(struct hk_bin) == HK_BLOCK_ALIGN, "a size rounded to 16 is its bin's offset");
static_assert(HK_FACE_BYTES == 2048, "a page-map word less its id is a bin's offset");

struct hk_face {
	struct hk_bin bin[HK_FACE_BINS]; /* bin 0 is never used */
};

struct hk_heap;

/* The thread's words, 32 bytes of static TLS. */
struct hk_front {
	struct hk_face *face; /* bins of the heap that this thread runs; NULL: none */
	size_t tiny_limit;    /* HK_TINY_MAX, or 0: every malloc goes slow */
	uint32_t match;       /* id << 11, or one that matches nothing */
	struct hk_heap *heap; /* the whole heap; survives starving */
};
static_assert(sizeof(struct hk_front) <= 64, "64 bytes of static TLS");

extern HK_HIDDEN _Thread_local struct hk_front hk_front __attribute__((tls_model("initial-exec")));

HK_INLINE struct hk_bin *hk_bin_at(struct hk_face *face, size_t offset)
{
	return (struct hk_bin *)(void *)((char *)face + offset);
}

#endif
