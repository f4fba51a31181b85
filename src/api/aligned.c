/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include <errno.h>
#include <string.h>

#include "api/alloc.h"
#include "api/api.h"
#include "api/fast.h"
#include "api/hardened.h"
#include "api/large.h"
#include "api/mode.h"

void *hk_alloc_aligned(struct hk_heap *h, size_t alignment, size_t size, const void *caller)
{
	unsigned bin = 0;

	h = hk_serving_heap(h);
	if (HK_UNLIKELY(h == NULL))
		return NULL;
	if (hk_mode() != HK_MODE_SPANS && size <= HK_CLASS_MAX)
		bin = hk_class_bin_aligned(size + hk_heap_tail(h), alignment);
	if (bin != 0)
		return hk_alloc_bin(h, bin, caller);
	return hk_large_alloc(h, size, alignment, false);
}

static void *aligned(size_t alignment, size_t size, const void *caller)
{
	void *p;

	if (alignment <= HK_BLOCK_ALIGN)
		return hk_malloc(size);
	if (hk_mode() == HK_MODE_LIBC)
		return hk_libc->memalign(alignment, size);
	p = hk_alloc_aligned(hk_heap_here(), alignment, hk_max(size, 1), caller);
	if (HK_UNLIKELY(p == NULL))
		errno = ENOMEM;
	return p;
}

void *hk_aligned(size_t alignment, size_t size) { return aligned(alignment, size, HK_CALLER()); }

void *hak_aligned_alloc(size_t alignment, size_t size)
{
	if (HK_UNLIKELY(!hk_is_pow2(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	return aligned(alignment, size, HK_CALLER());
}

void *hak_aligned_zalloc(size_t alignment, size_t size)
{
	void *p = hak_aligned_alloc(alignment, size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

int hak_posix_memalign(void **out, size_t alignment, size_t size)
{
	int saved = errno;
	void *p;

	if (!hk_is_pow2(alignment) || alignment % sizeof(void *) != 0)
		return EINVAL;
	p = aligned(alignment, size, HK_CALLER());
	errno = saved;
	if (p == NULL)
		return ENOMEM;
	*out = p;
	return 0;
}

void *hak_memalign(size_t alignment, size_t size)
{
	if (alignment > HK_MAX_ALIGN) {
		errno = alignment > SIZE_MAX / 2 + 1 ? EINVAL : ENOMEM;
		return NULL;
	}
	if (!hk_is_pow2(alignment))
		alignment = alignment == 0 ? 1 : (size_t)2 << hk_log2(alignment);
	return aligned(alignment, size, HK_CALLER());
}

void *hak_valloc(size_t size) { return aligned(hk_os_page(), size, HK_CALLER()); }

void *hak_pvalloc(size_t size)
{
	size_t page = hk_os_page(), rounded = hk_align_up(size, page);

	if (rounded < size) {
		errno = ENOMEM;
		return NULL;
	}
	return aligned(page, hk_max(rounded, page), HK_CALLER());
}
