/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_DOOR_H
#define HK_TESTS_DOOR_H
/* One source, tested through each door: T_DOOR_HAK is the hak_ names; otherwise the libc names, from
 * a library that is linked (T_DOOR_LIBC) or preloaded (T_DOOR_PRELOAD: what glibc does not declare is
 * looked up when first used). The results are laundered, so that the compiler takes nothing that
 * malloc promises for granted. */
#include <malloc.h>
#include <stdlib.h>

#include "hakmem/hakmem.h"
#include "harness.h"

#if defined(T_DOOR_HAK)

#define T_DOOR                  "hak"
#define T_MALLOC(n)             t_launder(hak_malloc(n))
#define T_CALLOC(c, n)          t_launder(hak_calloc(c, n))
#define T_REALLOC(p, n)         t_launder(hak_realloc(p, n))
#define T_REALLOCARRAY(p, c, n) t_launder(hak_reallocarray(p, c, n))
#define T_ALIGNED_ALLOC(a, n)   t_launder(hak_aligned_alloc(a, n))
#define T_MEMALIGN(a, n)        t_launder(hak_memalign(a, n))
#define T_POSIX_MEMALIGN        hak_posix_memalign
#define T_VALLOC(n)             t_launder(hak_valloc(n))
#define T_PVALLOC(n)            t_launder(hak_pvalloc(n))
#define T_FREE                  hak_free
#define T_USABLE                hak_malloc_usable_size
#define T_FREE_SIZED            hak_free_sized
#define T_FREE_ALIGNED_SIZED    hak_free_aligned_sized

#else

#if !defined(__GLIBC__)
void *pvalloc(size_t size); /* hakmem has it, musl has not */
#endif
#define T_DOOR                  "libc"
#define T_MALLOC(n)             t_launder(malloc(n))
#define T_CALLOC(c, n)          t_launder(calloc(c, n))
#define T_REALLOC(p, n)         t_launder(realloc(p, n))
#define T_REALLOCARRAY(p, c, n) t_launder(reallocarray(p, c, n))
#define T_ALIGNED_ALLOC(a, n)   t_launder(aligned_alloc(a, n))
#define T_MEMALIGN(a, n)        t_launder(memalign(a, n))
#define T_POSIX_MEMALIGN        posix_memalign
#define T_VALLOC(n)             t_launder(valloc(n))
#define T_PVALLOC(n)            t_launder(pvalloc(n))
#define T_FREE                  free
#define T_USABLE(p)             malloc_usable_size((void *)(uintptr_t)(p))

#if defined(T_DOOR_PRELOAD)
#include <dlfcn.h>
#define T_LOOKED_UP(type, name) ((type)t_symbol(name))
static inline void *t_symbol(const char *name)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	if (symbol == NULL)
		t_say("no symbol %s: is hakmem preloaded?", name);
	t_need(symbol != NULL);
	return symbol;
}
#define T_FREE_SIZED(p, n)      T_LOOKED_UP(void (*)(void *, size_t), "free_sized")(p, n)
#define T_FREE_ALIGNED_SIZED(p, a, n)                                                              \
	T_LOOKED_UP(void (*)(void *, size_t, size_t), "free_aligned_sized")(p, a, n)
#define T_STATS_GET(s) T_LOOKED_UP(void (*)(struct hak_stats *), "hak_stats_get")(s)
#define T_TRIM()       T_LOOKED_UP(size_t (*)(void), "hak_trim")()
#define T_OPTION_SET(name, value)                                                                  \
	T_LOOKED_UP(int (*)(const char *, const char *), "hak_option_set")(name, value)
#else
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
#define T_FREE_SIZED         free_sized
#define T_FREE_ALIGNED_SIZED free_aligned_sized
#endif

#endif

#ifndef T_STATS_GET
#define T_STATS_GET  hak_stats_get
#define T_TRIM       hak_trim
#define T_OPTION_SET hak_option_set
#endif

/* Bytes in blocks handed out. */
static inline size_t t_live(void)
{
	struct hak_stats s;

	T_STATS_GET(&s);
	return s.live;
}

#endif
