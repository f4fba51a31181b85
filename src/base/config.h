/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_CONFIG_H
#define HK_BASE_CONFIG_H
/* BOX config - every constant of the allocator, and the relations between them.
 * Owns:       build-time constants. Not: what a user can set at run time (options.def).
 * Invariants: asserted below.
 * Threads:    constants.
 * Locks:      none.
 * Fails:      at compile time.
 *
 * A build flavour sets HK_CHECK_LEVEL, HK_TELE_LEVEL, HK_MINIMAL and HK_RARE (CMakePresets.json). */
#include "base/base.h"

#ifndef HK_CHECK_LEVEL
#define HK_CHECK_LEVEL 0
#endif
#ifndef HK_TELE_LEVEL
#define HK_TELE_LEVEL 0 /* 0 none, 1 cold paths, 2 all */
#endif
#ifndef HK_MINIMAL
#define HK_MINIMAL 0 /* 1: no options, dumps, statistics or libc fallback */
#endif
#ifndef HK_RARE
#define HK_RARE 0 /* 1: constants shrunk so that rare paths are common */
#endif
#ifndef HK_SHARED
#define HK_SHARED 0 /* 1: this object goes into libhakmem.so on glibc */
#endif

#define HK_BLOCK_ALIGN ((size_t)16)
#define HK_TINY_MAX    ((size_t)1024)

#define HK_CLASS_MAX (256 * HK_KiB)

#define HK_UNIT_SHIFT 16
#define HK_UNIT_BYTES ((size_t)1 << HK_UNIT_SHIFT)
#define HK_SS_UNITS   32u
#define HK_SS_BYTES   (HK_SS_UNITS * HK_UNIT_BYTES)

/* The first arena: 256 GiB of logical address space. Further ones: windows of 4 GiB, numbered
 * after it in the same page map. */
#define HK_ARENA_UNITS  ((uint32_t)1 << 22)
#define HK_WINDOW_SHIFT 32
#define HK_WINDOW_UNITS ((uint32_t)1 << (HK_WINDOW_SHIFT - HK_UNIT_SHIFT))
#define HK_WINDOWS      32u
#define HK_MAP_UNITS    (HK_ARENA_UNITS + HK_WINDOWS * HK_WINDOW_UNITS)

/* A slab: at most 1 MiB and 4,096 blocks, so that a remote word can count and address it. */
#define HK_SLAB_MAX_UNITS  16u
#define HK_SLAB_MAX_BLOCKS 4096u

/* Spans up to 32 MiB come from the arena; larger blocks are mapped one by one. */
#define HK_SPAN_MAX_UNITS (HK_RARE ? 64u : 512u)
#define HK_SPAN_MAX       (HK_SPAN_MAX_UNITS * HK_UNIT_BYTES)

/* Heap ids: 8 … HK_MAX_HEAPS - 1. HK_NOBODY owns nothing: no page-map word ever carries it. */
#define HK_ID_BITS   21
#define HK_MAX_HEAPS ((uint32_t)1 << 16)
#define HK_NOBODY    (((uint32_t)1 << HK_ID_BITS) - 1)

#define HK_WAYS       16u
#define HK_WAY_BLOCKS (HK_RARE ? 3u : 64u)
#define HK_WAY_BYTES  (16 * HK_KiB) /* so that all ways of a heap hold 256 KiB at most */

#define HK_MAX_ALIGN HK_GiB

static_assert(HK_SS_BYTES == 2 * HK_MiB, "docs say 2 MiB");
static_assert(HK_UNIT_BYTES == 64 * HK_KiB, "docs say 64 KiB");
static_assert(HK_SLAB_MAX_UNITS * HK_UNIT_BYTES == HK_MiB, "remote.h counts offsets up to 1 MiB");
static_assert(HK_SLAB_MAX_BLOCKS * HK_BLOCK_ALIGN == HK_UNIT_BYTES, "16-byte blocks fill a unit");
static_assert((uint64_t)HK_ARENA_UNITS * HK_UNIT_BYTES == 256 * HK_GiB, "docs say 256 GiB");
static_assert(HK_ARENA_UNITS % HK_WINDOW_UNITS == 0, "windows begin at window-aligned units");
static_assert(HK_MAX_HEAPS < HK_NOBODY, "nobody is not a heap");
static_assert(HK_WAYS * HK_WAY_BYTES == 256 * HK_KiB, "release.h counts a quarter MiB a heap");
static_assert(HK_SPAN_MAX > HK_CLASS_MAX, "spans begin where classes end");

#endif
