/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HAKMEM_HAKMEM_H
#define HAKMEM_HAKMEM_H
/* hakmem - a general-purpose memory allocator for Linux.
 *
 * Every function may be called from any thread, at any time between the loading of the library and
 * the end of the process, also before constructors and after exit handlers; none may be called from
 * a signal handler. Sizes and alignments are bytes. Blocks are aligned to 16 bytes at every size. A
 * block obtained by any function here (or by malloc and its family, when hakmem replaces them) may
 * be given to any other one, by any thread. Where a function returns NULL for want of memory, errno
 * is ENOMEM and nothing has changed. Free functions keep errno.
 *
 * Misuse that is recognised (a pointer that is not a block, a block freed twice, a write after free)
 * ends the process: one line on stderr, then abort(3). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HAKMEM_VERSION_MAJOR 0
#define HAKMEM_VERSION_MINOR 1
#define HAKMEM_VERSION_PATCH 0

#if defined(__GNUC__)
#define HAK_API       __attribute__((visibility("default")))
#define HAK_MALLOC    __attribute__((malloc))
#define HAK_SIZE(...) __attribute__((alloc_size(__VA_ARGS__)))
#define HAK_ALIGN(n)  __attribute__((alloc_align(n)))
#define HAK_NODISCARD __attribute__((warn_unused_result))
#else
#define HAK_API
#define HAK_MALLOC
#define HAK_SIZE(...)
#define HAK_ALIGN(n)
#define HAK_NODISCARD
#endif
#if defined(__cplusplus)
#define HAK_NOEXCEPT noexcept
extern "C" {
#else
#define HAK_NOEXCEPT
#endif

/* ---- The standard family ------------------------------------------------------------------- */

/* ISO C malloc. size 0 gives a unique block of 16 bytes. NULL, ENOMEM: no memory, or size over
 * PTRDIFF_MAX. */
HAK_API void *hak_malloc(size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(1) HAK_NODISCARD;
/* ISO C free. NULL is ignored. */
HAK_API void hak_free(void *p) HAK_NOEXCEPT;
/* ISO C calloc: `count` times `size` bytes of zeros. NULL, ENOMEM also when the product overflows. */
HAK_API void *hak_calloc(size_t count, size_t size) HAK_NOEXCEPT HAK_MALLOC
	HAK_SIZE(1, 2) HAK_NODISCARD;
/* ISO C realloc, with glibc's choices: p NULL is malloc; size 0 frees p and returns NULL. On
 * failure p is untouched and still the caller's. */
HAK_API void *hak_realloc(void *p, size_t size) HAK_NOEXCEPT HAK_SIZE(2) HAK_NODISCARD;
/* OpenBSD, POSIX 2024: realloc to `count` times `size`; NULL, ENOMEM when the product overflows. */
HAK_API void *hak_reallocarray(void *p, size_t count, size_t size) HAK_NOEXCEPT
	HAK_SIZE(2, 3) HAK_NODISCARD;
/* ISO C11 aligned_alloc. NULL, EINVAL: alignment is no power of two; NULL, ENOMEM: over 1 GiB. The
 * size need not be a multiple of the alignment (C17 DR 460). */
HAK_API void *hak_aligned_alloc(size_t alignment, size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(2)
	HAK_ALIGN(1) HAK_NODISCARD;
/* POSIX posix_memalign: 0, or EINVAL (alignment is no power of two times sizeof(void *)), or ENOMEM;
 * *out is written on success only, and errno never. */
HAK_API int hak_posix_memalign(void **out, size_t alignment,
			       size_t size) HAK_NOEXCEPT HAK_NODISCARD;
/* memalign(3): like aligned_alloc, but an alignment that is no power of two is rounded up to one, as
 * glibc does. */
HAK_API void *hak_memalign(size_t alignment, size_t size) HAK_NOEXCEPT HAK_MALLOC
	HAK_SIZE(2) HAK_NODISCARD;
/* valloc(3), pvalloc(3): page-aligned; pvalloc rounds the size up to whole pages. */
HAK_API void *hak_valloc(size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(1) HAK_NODISCARD;
HAK_API void *hak_pvalloc(size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_NODISCARD;
/* Bytes that the caller may write, at least what it asked for; 0 for NULL. The same at every call
 * until the block is freed or reallocated. */
HAK_API size_t hak_malloc_usable_size(const void *p) HAK_NOEXCEPT;

/* ---- Sized and aligned variants -------------------------------------------------------------- */

/* C23 free_sized, free_aligned_sized: `size` and `alignment` must be those of the allocation. A size
 * that the block cannot have been asked for with ends the process. */
HAK_API void hak_free_sized(void *p, size_t size) HAK_NOEXCEPT;
HAK_API void hak_free_aligned_sized(void *p, size_t alignment, size_t size) HAK_NOEXCEPT;
/* malloc, and aligned_alloc, with every byte zero. */
HAK_API void *hak_zalloc(size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(1) HAK_NODISCARD;
HAK_API void *hak_aligned_zalloc(size_t alignment, size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(2)
	HAK_ALIGN(1) HAK_NODISCARD;
/* realloc that keeps the block aligned: `alignment` as in aligned_alloc, and p must have been
 * allocated with it (or be NULL). size 0 frees. */
HAK_API void *hak_aligned_realloc(void *p, size_t alignment, size_t size) HAK_NOEXCEPT
	HAK_SIZE(3) HAK_NODISCARD;
/* The usable size that malloc(size) would give; 0 when malloc(size) could never succeed. */
HAK_API size_t hak_good_size(size_t size) HAK_NOEXCEPT;
/* A block and its usable size in one call, as C++23's allocate_at_least wants it. ptr NULL: size 0. */
struct hak_sized_ptr {
	void *ptr;
	size_t size;
};
HAK_API struct hak_sized_ptr hak_malloc_at_least(size_t size) HAK_NOEXCEPT HAK_NODISCARD;

/* ---- Batches --------------------------------------------------------------------------------- */

/* Allocates up to `count` blocks of `size` bytes into out[]; returns how many. Fewer than `count`
 * (errno ENOMEM) only when memory is short; what was allocated is the caller's. */
HAK_API size_t hak_malloc_batch(size_t size, size_t count, void **out) HAK_NOEXCEPT HAK_NODISCARD;
/* Frees ptrs[0 … count - 1]; NULL entries are ignored. */
HAK_API void hak_free_batch(size_t count, void *const *ptrs) HAK_NOEXCEPT;

/* ---- First-class heaps ----------------------------------------------------------------------- */

/* A heap of one's own. Any thread may allocate from it, and free its blocks, by hak_heap_free or by
 * hak_free and hak_realloc (which stays in the heap). Every operation takes the heap's lock. */
typedef struct hak_heap hak_heap;
/* NULL, ENOMEM: no memory, or over 65,000 heaps and threads at once. */
HAK_API hak_heap *hak_heap_new(void) HAK_NOEXCEPT HAK_NODISCARD;
/* Frees the heap and every block in it at once. No other thread may be inside the heap, or hold on
 * to its blocks. NULL is ignored. */
HAK_API void hak_heap_destroy(hak_heap *heap) HAK_NOEXCEPT;
HAK_API void *hak_heap_malloc(hak_heap *heap, size_t size) HAK_NOEXCEPT HAK_MALLOC
	HAK_SIZE(2) HAK_NODISCARD;
HAK_API void *hak_heap_calloc(hak_heap *heap, size_t count, size_t size) HAK_NOEXCEPT HAK_MALLOC
	HAK_SIZE(2, 3) HAK_NODISCARD;
HAK_API void *hak_heap_aligned_alloc(hak_heap *heap, size_t alignment,
				     size_t size) HAK_NOEXCEPT HAK_MALLOC HAK_SIZE(3)
	HAK_ALIGN(2) HAK_NODISCARD;
HAK_API void *hak_heap_realloc(hak_heap *heap, void *p, size_t size) HAK_NOEXCEPT
	HAK_SIZE(3) HAK_NODISCARD;
/* The same as hak_free(p); p must be a block of `heap`, or NULL. */
HAK_API void hak_heap_free(hak_heap *heap, void *p) HAK_NOEXCEPT;

/* ---- Looking around -------------------------------------------------------------------------- */

/* One live block. */
struct hak_block_info {
	void *ptr;
	size_t usable;    /* bytes */
	uint32_t heap_id; /* of its owner; 0 for blocks that no heap owns (large ones of threads) */
};
/* Called for each block; returning false ends the walk. It runs with all of hakmem locked: it must
 * not allocate, free, or wait for a thread that does. */
typedef bool (*hak_walk_fn)(const struct hak_block_info *block, void *arg);
/* Visits the live blocks of `heap`, or of the process when heap is NULL. Exact for a first-class
 * heap, and for the blocks of the calling thread; free blocks in the caches of other running threads
 * are counted as live. Returns false when fn ended it. */
HAK_API bool hak_heap_walk(hak_heap *heap, hak_walk_fn fn, void *arg) HAK_NOEXCEPT;

/* Where the memory is, in bytes. Sums over all threads, each part read once: exact when no other
 * thread is allocating. A call walks over every slab: a few milliseconds a GiB.
 *
 * resident is the sum of `live` and of the parts that are marked (r): what hakmem's own accounts say
 * that the process has in memory because of it. They know what was handed out, not what the program
 * wrote: a block counts whole, though the system gives a page only when it is written to. */
struct hak_stats {
	size_t mapped; /* address space that hakmem has mapped for blocks; nothing else is reserved */
	size_t committed; /* of that: in use, or freed and not yet given back; whole units of 64 KiB */
	size_t resident;

	size_t live;        /* in blocks handed out, by their usable size */
	size_t spans;       /* of live: in blocks over 256 KiB */
	size_t huge;        /* of live: in blocks mapped one by one */
	size_t span_blocks; /* the numbers of both */
	size_t huge_blocks;
	size_t slack_most; /* of live: what rounding up has added, at most. Requested sizes are not kept */

	size_t bins;        /* (r) in the bins of threads, ready to be handed out */
	size_t ways;        /* (r) freed by other threads, not yet sent to their owners */
	size_t mail;        /* (r) sent, not yet collected by their owners */
	size_t quarantine;  /* (r) freed hardened blocks that wait */
	size_t free_blocks; /* (r) free in slabs that have other blocks out */
	size_t idle;        /* (r) in slabs that have none */
	size_t tails;       /* (r) pages of slabs behind the blocks that were ever handed out */
	size_t warm;        /* (r) in the ready units of threads */
	size_t bigcache;    /* (r) in recently freed spans */
	size_t huge_cached; /* (r) in recently freed huge blocks */
	size_t dirty;       /* (r) in free units of the shared pool */
	size_t lazy;        /* (r) given back, but the system takes the pages only when it wants */
	size_t prefaulted;  /* (r) faulted in ahead, and never used */
	size_t metadata;    /* (r) hakmem's own structures */

	size_t uncarved; /* in slabs, never handed out; most of it without pages */
	size_t held; /* what the release policy bounds: dirty free units, warm units, cached huge blocks,
			 and what bins and span caches may hold by their limits */
	size_t bound;  /* what held may be now, by the profile */
	size_t purged; /* given back to the system since the start */

	uint64_t
		blocks_out; /* blocks that left slabs and spans since the start: a lower bound of the
				allocations served (bins recycle blocks without counting) */
	uint64_t system_calls;
	uint32_t heaps, heaps_running, heaps_parked;
	uint32_t
		squeezed; /* 0; lean memory for the time being, since 1 the container's limit is near,
				2 the system is short of memory */
	uint32_t squeezes; /* how often that has begun */
};
HAK_API void hak_stats_get(struct hak_stats *out) HAK_NOEXCEPT;

/* One size class. Blocks, but for size and resident. */
struct hak_class_stats {
	size_t size;           /* bytes of a block */
	size_t slabs;          /* runs of memory that are cut into such blocks */
	size_t blocks, carved; /* that fit in them; of these, ever handed out */
	size_t live, bins, ways, mail, quarantine, free_blocks; /* carved is their sum */
	size_t resident; /* bytes of the slabs that have pages, at most */
};
/* Fills in out[0 … count - 1], smallest class first; returns how many classes there are. */
HAK_API size_t hak_stats_classes(struct hak_class_stats *out, size_t count) HAK_NOEXCEPT;

/* Writes statistics: format "text", or "json" (docs/statistics.md). They are taken first; then fn
 * gets them in pieces, without a lock of hakmem's held, so it may allocate. fn NULL: stderr. 0;
 * EINVAL: no such format. */
typedef void (*hak_write_fn)(const char *text, size_t bytes, void *arg);
HAK_API int hak_stats_print(const char *format, hak_write_fn fn, void *arg) HAK_NOEXCEPT;

/* ---- Control --------------------------------------------------------------------------------- */

/* Gives back to the system all free memory that can be, of every thread's heap but for the small
 * bins and recent spans of other running threads; also pages that only free blocks lie in. Returns the
 * bytes given back. */
HAK_API size_t hak_trim(void) HAK_NOEXCEPT;
/* An option by its environment name, with or without HAKMEM_, and values spelt as there. 0; ENOENT:
 * no such option; EINVAL: bad value, or one that can be set at start only. */
HAK_API int hak_option_set(const char *name, const char *value) HAK_NOEXCEPT;
/* The value in force as text, cut to `size` bytes with a NUL; returns its full length, -1 when there
 * is no such option. */
HAK_API int hak_option_get(const char *name, char *buf, size_t size) HAK_NOEXCEPT;
/* Visits every option: name, value in force, where it came from ("profile", "environment",
 * "program") and one sentence. */
typedef void (*hak_option_fn)(const char *name, const char *value, const char *source,
			      const char *sentence, void *arg);
HAK_API void hak_option_each(hak_option_fn fn, void *arg) HAK_NOEXCEPT;
/* The option LIMIT is a soft limit for committed memory (hak_stats). What is free goes back as far as it
 * must for that. When more is committed all the same, with everything given back that can be, fn is
 * called: on the thread whose request has passed the limit, before that request returns; one call at a
 * time in the process. It may allocate and free, and is meant to free; it must return. The request
 * succeeds in any case. fn is called again when a thirty-second part of the limit, at least 1 MiB, has
 * come on top, or when committed was below the limit in between. NULL: nobody is told. */
typedef void (*hak_limit_fn)(size_t committed, size_t limit, void *arg);
HAK_API void hak_limit_callback(hak_limit_fn fn, void *arg) HAK_NOEXCEPT;
/* "0.1.0"; static storage. */
HAK_API const char *hak_version(void) HAK_NOEXCEPT;

#if defined(__cplusplus)
}
#endif
#endif
