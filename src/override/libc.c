/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The allocation names of libc. -fno-builtin-{malloc,calloc,realloc,free} is needed here as
 * everywhere: gcc would make malloc call itself. The names carry no symbol version, so that they
 * answer references to every version of libc's. */
#include "override/override.h"

#if HK_OVERRIDE
#include <malloc.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/fast.h" /* hk_malloc, hk_free */

/* Not declared by every libc that runs hakmem: C23's, SVID's, and what glibc took back. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
void *reallocarray(void *p, size_t count, size_t size);
void *valloc(size_t size);
void *pvalloc(size_t size);
void cfree(void *p);

HK_EXPORT void *malloc(size_t size) { return hk_malloc(size); }

HK_EXPORT void free(void *p) { hk_free(p); }

HK_EXPORT void cfree(void *p) { hk_free(p); }

HK_EXPORT void *calloc(size_t count, size_t size) { return hak_calloc(count, size); }

HK_EXPORT void *realloc(void *p, size_t size) { return hak_realloc(p, size); }

HK_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
	return hak_reallocarray(p, count, size);
}

HK_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return hak_aligned_alloc(alignment, size);
}

HK_EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
	return hak_posix_memalign(out, alignment, size);
}

HK_EXPORT void *memalign(size_t alignment, size_t size) { return hak_memalign(alignment, size); }

HK_EXPORT void *valloc(size_t size) { return hak_valloc(size); }

HK_EXPORT void *pvalloc(size_t size) { return hak_pvalloc(size); }

HK_EXPORT void free_sized(void *p, size_t size) { hak_free_sized(p, size); }

HK_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size)
{
	hak_free_aligned_sized(p, alignment, size);
}

HK_EXPORT size_t malloc_usable_size(void *p) { return hak_malloc_usable_size(p); }

#endif
