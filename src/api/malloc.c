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
#include "api/mode.h"
#include "slab/huge.h"
#include "superslab/release.h"

/* Below this a calloc clears whatever block comes first; above, one that is zero is looked for. */
#define ZERO_LOOK ((size_t)1024)

HK_INLINE void *pop(struct hk_bin *bin, struct hk_block *p)
{
	bin->head = p->link;
	p->tag = 0;
	bin->room++;
	return p;
}

void *hk_alloc_bin(struct hk_heap *h, unsigned bin, const void *caller)
{
	struct hk_bin *b = &h->face.bin[bin];
	struct hk_offence where = { "malloc", caller };
	void *p;

	if (hk_heap_is_direct(h)) {
		p = hk_direct_take(h, bin, where);
		if (p == NULL) {
			hk_huge_reclaim();
			p = hk_direct_take(h, bin, where);
		}
		hk_limit_check();
		return p;
	}
	if (b->head == HK_END && !hk_heap_refill(h, bin, where)) {
		hk_huge_reclaim();
		if (!hk_heap_refill(h, bin, where))
			return NULL;
	}
	if (HK_UNLIKELY(b->head->tag != HK_TAG))
		hk_heap_die_damaged(where, b->head, hk_class_size(bin));
	p = pop(b, b->head);
	hk_limit_check();
	return p;
}

void *hk_alloc(struct hk_heap *h, size_t size, const void *caller)
{
	size_t tail;

	h = hk_serving_heap(h);
	if (HK_UNLIKELY(h == NULL))
		return NULL;
	tail = hk_heap_tail(h);
	if (HK_UNLIKELY(size > HK_CLASS_MAX - tail) || hk_mode() == HK_MODE_SPANS)
		return hk_large_alloc(h, size, HK_BLOCK_ALIGN, false);
	return hk_alloc_bin(h, hk_class_bin(size + tail), caller);
}

static void *or_enomem(void *p)
{
	if (HK_UNLIKELY(p == NULL))
		errno = ENOMEM;
	return p;
}

void *hk_malloc_slow(size_t size)
{
	if (HK_UNLIKELY(hk_mode() == HK_MODE_LIBC))
		return hk_libc->malloc(size);
	return or_enomem(hk_alloc(hk_heap_here(), hk_max(size, 1), HK_CALLER()));
}

void *hk_malloc_mid(size_t size)
{
	struct hk_front *front = &hk_front;
	struct hk_bin *bin;
	struct hk_block *p;

	if (HK_UNLIKELY(size - 1 >= HK_CLASS_MAX || HK_LOAD_FOLDED(front->tiny_limit) == 0))
		return hk_malloc_slow(size);
	bin = &front->face->bin[hk_class_bin(size)];
	p = bin->head;
	if (HK_UNLIKELY(p->tag != HK_TAG))
		return hk_malloc_slow(size);
	return pop(bin, p);
}

static void *calloc_mid(struct hk_heap *h, size_t bytes, const void *caller)
{
	unsigned bin = hk_class_bin(bytes + hk_heap_tail(h));
	struct hk_block *zero = NULL;
	void *p;

	if (h->face.bin[bin].head == HK_END && !hk_heap_is_direct(h))
		zero = hk_heap_take_zero(h, bin);
	if (zero != NULL) {
		hk_limit_check();
		return zero;
	}
	p = hk_alloc_bin(h, bin, caller);
	if (p != NULL && !h->hardened) /* or it is zero */
		memset(p, 0, bytes);
	return p;
}

static HK_NOINLINE void *calloc_slow(size_t bytes, const void *caller)
{
	struct hk_heap *h;

	if (hk_mode() == HK_MODE_LIBC)
		return hk_libc->calloc(1, bytes);
	h = hk_serving_heap(hk_heap_here());
	if (HK_UNLIKELY(h == NULL))
		return or_enomem(NULL);
	if (bytes > HK_CLASS_MAX - hk_heap_tail(h) || hk_mode() == HK_MODE_SPANS)
		return or_enomem(hk_large_alloc(h, bytes, HK_BLOCK_ALIGN, true));
	return or_enomem(calloc_mid(h, bytes, caller));
}

void *hak_malloc(size_t size) { return hk_malloc(size); }

void *hak_calloc(size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (HK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
		return or_enomem(NULL);
	if (bytes > ZERO_LOOK)
		return calloc_slow(bytes, HK_CALLER());
	p = hk_malloc(bytes);
	if (HK_LIKELY(p != NULL))
		memset(p, 0, bytes);
	return p;
}

void *hak_zalloc(size_t size) { return hak_calloc(1, size); }

size_t hak_malloc_batch(size_t size, size_t count, void **out)
{
	for (size_t i = 0; i < count; i++) {
		out[i] = hk_malloc(size);
		if (out[i] == NULL)
			return i;
	}
	return count;
}
