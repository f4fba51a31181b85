/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include <errno.h>
#include <string.h>

#include "api/alloc.h"
#include "api/api.h"
#include "api/hardened.h"
#include "api/large.h"
#include "slab/huge.h"
#include "superslab/release.h"

/* The public name is opaque: a hak_heap is a direct heap. */
static struct hk_heap *inner(hak_heap *heap) { return (struct hk_heap *)(void *)heap; }

static void *or_enomem(void *p)
{
	if (HK_UNLIKELY(p == NULL))
		errno = ENOMEM;
	return p;
}

hak_heap *hak_heap_new(void)
{
	if (hk_mode() == HK_MODE_HARDENED)
		return or_enomem(hk_heap_make_hardened(true));
	return or_enomem(hk_heap_make_direct());
}

void hak_heap_destroy(hak_heap *heap)
{
	struct hk_heap *h = inner(heap);

	if (h == NULL)
		return;
	hk_huge_free_all(h->id);
	hk_heap_unmake_direct(h);
	hk_release_check(HK_SS_BYTES);
}

void *hak_heap_malloc(hak_heap *heap, size_t size)
{
	return or_enomem(hk_alloc(inner(heap), hk_max(size, 1), HK_CALLER()));
}

void *hak_heap_calloc(hak_heap *heap, size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (HK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
		return or_enomem(NULL);
	if (bytes > HK_CLASS_MAX)
		return or_enomem(hk_large_alloc(inner(heap), bytes, HK_BLOCK_ALIGN, true));
	p = hak_heap_malloc(heap, bytes);
	if (p != NULL)
		memset(p, 0, bytes);
	return p;
}

void *hak_heap_aligned_alloc(hak_heap *heap, size_t alignment, size_t size)
{
	if (HK_UNLIKELY(!hk_is_pow2(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	if (alignment <= HK_BLOCK_ALIGN)
		return hak_heap_malloc(heap, size);
	return or_enomem(hk_alloc_aligned(inner(heap), alignment, hk_max(size, 1), HK_CALLER()));
}

void *hak_heap_realloc(hak_heap *heap, void *p, size_t size)
{
	return p == NULL ? hak_heap_malloc(heap, size) : hak_realloc(p, size);
}

void hak_heap_free(hak_heap *heap, void *p)
{
	(void)heap; /* the block knows */
	if (p != NULL)
		hk_free_at(p, (struct hk_offence){ "hak_heap_free", HK_CALLER() });
}
