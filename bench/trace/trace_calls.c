/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The recorder's malloc family: each call goes to the next allocator in link order, and to the log.
 * Preloaded in front of another allocator it records that one; alone, libc's.
 *
 * What makes the order of events right: a free is numbered before the block is given back, a malloc
 * after the block was taken. So whenever an address is used again, its free has the lower number,
 * whichever threads they are in. A realloc does both, and writes two events.
 *
 * dlsym may allocate, so it is served from a few static bytes, which are not recorded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace_log.h"

#define EXPORT __attribute__((visibility("default")))

enum { EARLY_BYTES = 65536, ALIGNMENT = 16 };

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	void (*free)(void *);
	void (*free_sized)(void *, size_t);
	void (*free_aligned_sized)(void *, size_t, size_t);
} next;

/* ---- The static bytes ------------------------------------------------------------------------ */

static struct {
	_Alignas(ALIGNMENT) unsigned char bytes[EARLY_BYTES];
	size_t used;
} early;

static bool is_early(const void *p) { return (uintptr_t)p - (uintptr_t)early.bytes < EARLY_BYTES; }

/* Zeroed. Each block has its size in front. */
static void *take_early(size_t size)
{
	size_t bytes = (size + 2 * ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	unsigned char *block = early.bytes + early.used;

	if (size > EARLY_BYTES || bytes > EARLY_BYTES - early.used) {
		errno = ENOMEM;
		return NULL;
	}
	early.used += bytes;
	memcpy(block, &size, sizeof(size));
	return block + ALIGNMENT;
}

/* An early block moves to the allocator; the program sees a malloc. */
static void *move_early(const unsigned char *old, size_t size)
{
	void *block = malloc(size);
	size_t had;

	memcpy(&had, old - ALIGNMENT, sizeof(had));
	if (block)
		memcpy(block, old, had < size ? had : size);
	return block;
}

/* ---- The next allocator ---------------------------------------------------------------------- */

/* volatile: the compiler has been told that dlsym and the like do not come back here. They do. */
static volatile enum { UNKNOWN, LOOKING, FOUND } state;
static volatile bool is_open; /* or will never be */

#define FIND(name) *(void **)&next.name = dlsym(RTLD_NEXT, #name)

static void find_all(void)
{
	state = LOOKING;
	FIND(malloc);
	FIND(calloc);
	FIND(realloc);
	FIND(reallocarray);
	FIND(aligned_alloc);
	FIND(posix_memalign);
	FIND(memalign);
	FIND(valloc);
	FIND(pvalloc);
	FIND(free);
	FIND(free_sized);
	FIND(free_aligned_sized);
	state = FOUND;
}

/* False while dlsym runs. The first call of all comes from a single thread. */
static inline bool is_ready(void)
{
	if (__builtin_expect(state != FOUND, 0)) {
		if (state == LOOKING)
			return false;
		find_all();
	}
	if (__builtin_expect(!is_open, 0)) {
		is_open = true; /* opening may allocate */
		is_open = trace_log_open();
	}
	return true;
}

__attribute__((constructor)) static void start(void) { is_ready(); }

/* Ends a call that gives a block. */
static void *record(void *block, enum trace_op op, unsigned int words, uint64_t a, uint64_t b)
{
	if (block)
		trace_log_put(op, words, (uintptr_t)block, a, b);
	else
		trace_log_failed();
	trace_log_leave();
	return block;
}

/* ---- Calls that give a block ----------------------------------------------------------------- */

EXPORT void *malloc(size_t size)
{
	if (!is_ready())
		return take_early(size);
	if (!trace_log_enter())
		return next.malloc(size);
	return record(next.malloc(size), TRACE_MALLOC, 2, size, 0);
}

EXPORT void *calloc(size_t count, size_t size)
{
	if (!is_ready())
		return size && count > EARLY_BYTES / size ? NULL : take_early(count * size);
	if (!trace_log_enter())
		return next.calloc(count, size);
	return record(next.calloc(count, size), TRACE_CALLOC, 3, count, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	if (!is_ready())
		return NULL;
	if (!trace_log_enter())
		return next.aligned_alloc(alignment, size);
	return record(next.aligned_alloc(alignment, size), TRACE_ALIGNED_ALLOC, 3, alignment, size);
}

EXPORT int posix_memalign(void **where, size_t alignment, size_t size)
{
	int error;

	if (!is_ready())
		return ENOMEM;
	if (!trace_log_enter())
		return next.posix_memalign(where, alignment, size);
	error = next.posix_memalign(where, alignment, size);
	record(error ? NULL : *where, TRACE_POSIX_MEMALIGN, 3, alignment, size);
	return error;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	if (!is_ready())
		return NULL;
	if (!trace_log_enter())
		return next.memalign(alignment, size);
	return record(next.memalign(alignment, size), TRACE_MEMALIGN, 3, alignment, size);
}

EXPORT void *valloc(size_t size)
{
	if (!is_ready())
		return NULL;
	if (!trace_log_enter())
		return next.valloc(size);
	return record(next.valloc(size), TRACE_VALLOC, 2, size, 0);
}

EXPORT void *pvalloc(size_t size)
{
	if (!is_ready())
		return NULL;
	if (!trace_log_enter())
		return next.pvalloc(size);
	return record(next.pvalloc(size), TRACE_PVALLOC, 2, size, 0);
}

/* ---- realloc --------------------------------------------------------------------------------- */

/* The old block may be another's before the call is back. */
static void record_release(void *old)
{
	if (old)
		trace_log_put(TRACE_RELEASE, 1, (uintptr_t)old, 0, 0);
}

/* One that gives no block has freed the old one when it was asked for no bytes; otherwise it has
 * failed, and the reader keeps the old block. */
static void *record_realloc(void *block, enum trace_op op, unsigned int words, uint64_t a,
			    uint64_t b)
{
	trace_log_put(op, words, (uintptr_t)block, a, b);
	if (!block)
		trace_log_failed();
	trace_log_leave();
	return block;
}

EXPORT void *realloc(void *old, size_t size)
{
	if (!is_ready())
		return old ? NULL : take_early(size);
	if (is_early(old))
		return move_early(old, size);
	if (!trace_log_enter())
		return next.realloc(old, size);
	record_release(old);
	return record_realloc(next.realloc(old, size), TRACE_REALLOC, 2, size, 0);
}

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (!is_ready() || is_early(old))
		return __builtin_mul_overflow(count, size, &bytes) ? NULL : realloc(old, bytes);
	if (!trace_log_enter())
		return next.reallocarray(old, count, size);
	record_release(old);
	return record_realloc(next.reallocarray(old, count, size), TRACE_REALLOCARRAY, 3, count,
			      size);
}

/* ---- Calls that take one back ---------------------------------------------------------------- */

EXPORT void free(void *block)
{
	if (!is_ready() || is_early(block))
		return;
	if (trace_log_enter()) {
		trace_log_put(TRACE_FREE, 1, (uintptr_t)block, 0, 0);
		next.free(block);
		trace_log_leave();
	} else {
		next.free(block);
	}
}

static void free_by_size(void *block, size_t size)
{
	if (next.free_sized)
		next.free_sized(block, size);
	else
		next.free(block);
}

EXPORT void free_sized(void *block, size_t size);

EXPORT void free_sized(void *block, size_t size)
{
	if (!is_ready() || is_early(block))
		return;
	if (trace_log_enter()) {
		trace_log_put(TRACE_FREE_SIZED, 2, (uintptr_t)block, size, 0);
		free_by_size(block, size);
		trace_log_leave();
	} else {
		free_by_size(block, size);
	}
}

static void free_by_alignment(void *block, size_t alignment, size_t size)
{
	if (next.free_aligned_sized)
		next.free_aligned_sized(block, alignment, size);
	else
		next.free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size);

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	if (!is_ready() || is_early(block))
		return;
	if (trace_log_enter()) {
		trace_log_put(TRACE_FREE_ALIGNED_SIZED, 3, (uintptr_t)block, alignment, size);
		free_by_alignment(block, alignment, size);
		trace_log_leave();
	} else {
		free_by_alignment(block, alignment, size);
	}
}
