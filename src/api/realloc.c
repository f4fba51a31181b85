/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include <errno.h>
#include <string.h>

#include "api/alloc.h"
#include "api/api.h"
#include "api/fast.h"
#include "api/hardened.h"
#include "api/large.h"
#include "api/limit.h"
#include "api/locate.h"
#include "api/mode.h"
#include "slab/huge.h"

/* The heap that a block's successor is made in: its own, if that is first-class. */
static struct hk_heap *heap_for(const struct hk_located *at)
{
	struct hk_heap *owner = at->owner != 0 ? hk_heap_by_id(at->owner) : NULL;

	if (owner != NULL && hk_heap_is_first_class(owner))
		return owner;
	return hk_heap_here();
}

/* In place: when it fits, and would not waste more than half; spans by units; huge blocks by moving
 * their pages. Returns where the block is now, or NULL: it has to be copied. */
static void *resize(void *p, const struct hk_located *at, size_t alignment, size_t size,
		    struct hk_offence where)
{
	switch (at->place) {
	case HK_AT_SLAB:
		return size <= at->bytes && size > at->bytes / 2 ? p : NULL;
	case HK_AT_SPAN:
		if (hk_large_resize_span(at->span, size))
			return p;
		/* pages that move are aligned to pages, no more */
		if (size <= HK_SPAN_MAX || alignment > hk_os_page() ||
		    hk_span_is_hardened(at->span))
			return NULL;
		p = hk_large_promote(at->span, size);
		hk_limit_check();
		return p;
	case HK_AT_HUGE:
		if (size <= HK_SPAN_MAX / 2)
			return NULL;
		if (alignment > hk_os_page() && size > at->bytes)
			return NULL;
		p = hk_huge_resize(p, size, where);
		hk_limit_check();
		return p;
	case HK_AT_FOREIGN:
		break;
	}
	return NULL;
}

/* Spans that grow get an eighth more, so that growth by small steps is not quadratic. */
static size_t with_slack(const struct hk_located *at, size_t size)
{
	if (size > HK_CLASS_MAX && size > at->bytes && size <= HK_SPAN_MAX)
		return hk_min(size + size / 8, HK_SPAN_MAX);
	return size;
}

static void *move(void *p, const struct hk_located *at, size_t alignment, size_t size,
		  struct hk_offence where)
{
	struct hk_heap *h = heap_for(at);
	size_t want = with_slack(at, size);
	void *q = alignment > HK_BLOCK_ALIGN ? hk_alloc_aligned(h, alignment, want, where.caller)
					     : hk_alloc(h, want, where.caller);

	if (q == NULL)
		return NULL;
	memcpy(q, p, hk_min(at->bytes, size));
	hk_free_at(p, where);
	return q;
}

/* p from libc, under FORCE_LIBC_ALLOC or by a library that bound to it. */
static void *realloc_foreign(void *p, size_t size, struct hk_offence where)
{
	hk_locate_foreign(p, where);
	return hk_libc->realloc(p, size);
}

static void *reallocate(void *p, size_t alignment, size_t size, struct hk_offence where)
{
	struct hk_located at = hk_locate(p, where);
	void *q;

	if (at.place == HK_AT_FOREIGN)
		return realloc_foreign(p, size, where);
	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	if (at.hardened)
		hk_harden_verify(p, at.bytes, where);
	q = resize(p, &at, alignment, size, where);
	if (q == NULL || ((uintptr_t)q & (alignment - 1)) != 0)
		q = move(q != NULL ? q : p, &at, alignment, size, where);
	if (q == NULL)
		errno = ENOMEM;
	return q;
}

static void *realloc_from(void *p, size_t size, struct hk_offence where)
{
	if (p == NULL)
		return hk_malloc(size);
	if (size == 0) {
		hk_free_at(p, where);
		return NULL;
	}
	return reallocate(p, 1, size, where);
}

void *hak_realloc(void *p, size_t size)
{
	return realloc_from(p, size, (struct hk_offence){ "realloc", HK_CALLER() });
}

void *hak_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (HK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_from(p, bytes, (struct hk_offence){ "reallocarray", HK_CALLER() });
}

void *hak_aligned_realloc(void *p, size_t alignment, size_t size)
{
	struct hk_offence where = { "hak_aligned_realloc", HK_CALLER() };

	if (!hk_is_pow2(alignment) || alignment > HK_MAX_ALIGN) {
		errno = hk_is_pow2(alignment) ? ENOMEM : EINVAL;
		return NULL;
	}
	if (p == NULL)
		return hak_aligned_alloc(alignment, size);
	if (size == 0) {
		hk_free_at(p, where);
		return NULL;
	}
	return reallocate(p, alignment, size, where);
}

size_t hak_malloc_usable_size(const void *p)
{
	struct hk_offence where = { "malloc_usable_size", HK_CALLER() };
	struct hk_located at;

	if (p == NULL)
		return 0;
	at = hk_locate(p, where);
	if (at.place != HK_AT_FOREIGN)
		return at.bytes;
	hk_locate_foreign(p, where);
	return hk_libc->usable((void *)(uintptr_t)p);
}

size_t hak_good_size(size_t size)
{
	size_t tail = hk_mode() == HK_MODE_HARDENED ? HK_CANARY_BYTES : 0;
	size_t whole;

	if (size <= HK_CLASS_MAX - tail)
		return hk_class_size(hk_class_bin(hk_max(size, 1) + tail)) - tail;
	if (size > PTRDIFF_MAX)
		return 0;
	if (tail != 0)
		tail = hk_harden_tail();
	whole = size + tail;
	return hk_align_up(whole, whole <= HK_SPAN_MAX ? HK_UNIT_BYTES : hk_os_page()) - tail;
}

struct hak_sized_ptr hak_malloc_at_least(size_t size)
{
	struct hak_sized_ptr out = { hk_malloc(size), 0 };

	if (out.ptr != NULL)
		out.size = hak_malloc_usable_size(out.ptr);
	return out;
}
