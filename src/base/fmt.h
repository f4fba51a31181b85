/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_FMT_H
#define HK_BASE_FMT_H
/* BOX fmt - printf into a buffer without malloc, locale or stdio.
 * Owns:       nothing.
 * Invariants: the buffer always ends with a NUL; what does not fit is cut.
 * Threads:    any.
 * Locks:      none; async-signal-safe.
 * Fails:      never.
 *
 * Understood: %s %c %d %u %ld %lu %zu %zd %lld %llu %x %lx %zx %p %% with an optional width and a
 * leading 0 or -, and %.Ns. %p prints 0x and at least one digit. */
#include <stdarg.h>

#include "base/base.h"

/* Returns the length of the text (without the NUL), never more than size - 1. size > 0. */
size_t hk_vfmt(char *buf, size_t size, const char *fmt, va_list args);
size_t hk_fmt(char *buf, size_t size, const char *fmt, ...) HK_PRINTF(3, 4);

#endif
