/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_API_H
#define HK_API_API_H
/* BOX api - what every door (hak_ names, libc names, C++ operators) is made of.
 * Owns:       the meaning of sizes, alignments, errno; the table of hooks that override fills.
 * Invariants: A1 a refused request leaves the heap as it was
 * Threads:    any.
 * Locks:      none of its own.
 * Fails:      NULL and ENOMEM (or EINVAL where hakmem.h says so).
 *
 * The hot path is api/fast.h: hk_malloc(n) and hk_free(p), inline. */
#include "base/base.h"
#include "base/check.h"
#include "hakmem/hakmem.h" /* IWYU pragma: export - the doors themselves, hak_… */

/* The next allocator in link order, for pointers that are not ours and for FORCE_LIBC_ALLOC. */
struct hk_libc {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *p, size_t size);
	void *(*memalign)(size_t alignment, size_t size);
	void (*free)(void *p);
	size_t (*usable)(void *p);
	/* Could this address be a block of that allocator? Called on a cold path, once a pointer. */
	bool (*may_own)(const void *p);
};
/* Installed by override/foreign.c in shared glibc builds before main; NULL elsewhere. */
extern const struct hk_libc *hk_libc;

/* Called once from the library's constructor, with the environment; earlier calls of malloc work,
 * with the balanced profile. Later calls do nothing. */
void hk_init(char *const *environment);

/* What aligned_alloc, memalign, posix_memalign and operator new come down to. alignment: a power of
 * two; NULL and ENOMEM when it is over HK_MAX_ALIGN. */
void *hk_aligned(size_t alignment, size_t size);

/* For pthread_atfork. */
void hk_fork_prepare(void);
void hk_fork_parent(void);
void hk_fork_child(void);

#endif
