/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_BASE_H
#define HK_BASE_BASE_H
/* BOX base - the words that every file uses: attributes, sizes, rounding.
 * Owns:       nothing.
 * Invariants: none.
 * Threads:    any.
 * Locks:      none.
 * Fails:      never. */
#include <assert.h> /* static_assert */
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HK_COLD              __attribute__((cold, noinline))
#define HK_NOINLINE          __attribute__((noinline))
#define HK_INLINE            static inline __attribute__((always_inline))
#define HK_NORETURN          __attribute__((noreturn))
#define HK_UNUSED            __attribute__((unused))
#define HK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HK_HIDDEN            __attribute__((visibility("hidden")))
#define HK_EXPORT            __attribute__((visibility("default")))
/* Small state that every process touches at its start: in the page of initialised data, which the
 * loader has written to already, and not in one of the zero-fill pages between the large tables. */
#define HK_NEAR __attribute__((section(".data.near")))
/* The same, and in the order of the source, which gcc would turn around. clang has an order of its
 * own, and no word for this. */
#if defined(__clang__)
#define HK_NEAR_IN_ORDER HK_NEAR
#else
#define HK_NEAR_IN_ORDER HK_NEAR __attribute__((no_reorder))
#endif
#define HK_LIKELY(x)   __builtin_expect(!!(x), 1)
#define HK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HK_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define HK_KiB ((size_t)1 << 10)
#define HK_MiB ((size_t)1 << 20)
#define HK_GiB ((size_t)1 << 30)

/* The struct of which `member` is part. */
#define HK_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A word that another thread may change at rare moments, where either value is right. A plain load,
 * so that the compiler folds it into the instruction that uses it, which it does not do with an
 * atomic one; under ThreadSanitizer the atomic load that it stands for. */
#if defined(__SANITIZE_THREAD__)
#define HK_LOAD_FOLDED(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#else
#define HK_LOAD_FOLDED(x) (x)
#endif
/* Hides where a value came from, so that the compiler keeps the one that is there. */
#define HK_OPAQUE(x) __asm__("" : "+r"(x))

/* The caller of the exported function it is used in, for messages. */
#define HK_CALLER() __builtin_return_address(0)

/* a: a power of two. Wraps to 0 when n is within a of SIZE_MAX. */
HK_INLINE size_t hk_align_up(size_t n, size_t a) { return (n + a - 1) & ~(a - 1); }
HK_INLINE size_t hk_align_down(size_t n, size_t a) { return n & ~(a - 1); }
HK_INLINE size_t hk_div_up(size_t n, size_t d) { return n / d + (n % d != 0); }
HK_INLINE size_t hk_min(size_t a, size_t b) { return a < b ? a : b; }
HK_INLINE size_t hk_max(size_t a, size_t b) { return a > b ? a : b; }
HK_INLINE bool hk_is_pow2(size_t n) { return n != 0 && (n & (n - 1)) == 0; }
/* Index of the highest set bit; n is not 0. */
HK_INLINE unsigned hk_log2(size_t n) { return 63u ^ (unsigned)__builtin_clzl(n); }

static_assert(sizeof(size_t) == 8 && sizeof(void *) == 8, "64-bit systems only");

#endif
