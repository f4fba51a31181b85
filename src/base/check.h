/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_CHECK_H
#define HK_BASE_CHECK_H
/* BOX check - assertions in four strengths, and the last words of a process.
 * Owns:       the text of every fatal message (die.c); what stderr was at the start (stderr.c).
 * Invariants: none.
 * Threads:    any; hk_die may be called anywhere, with any lock held, with a broken heap.
 * Locks:      none; never allocates.
 * Fails:      hk_die does not return.
 *
 * HK_CHECK_LEVEL  0 release   1 + hk_assert (a caller inside hakmem broke a contract)
 *                 2 + hk_invariant (O(1))   3 + hk_walk (O(n))
 * hk_verify is on at every level: cheap tests on slow paths against damage by the program. */
#include "base/base.h"
#include "base/config.h" /* HK_CHECK_LEVEL */

#define HK_CHECK_(level, cond, text)                                                               \
	do {                                                                                       \
		if (HK_CHECK_LEVEL >= (level) && HK_UNLIKELY(!(cond)))                             \
			hk_die_check(__FILE__, __LINE__, text);                                    \
	} while (0)

#define hk_verify(cond)        HK_CHECK_(0, cond, #cond)
#define hk_assert(cond)        HK_CHECK_(1, cond, #cond)
#define hk_invariant(id, cond) HK_CHECK_(2, cond, #id ": " #cond)
#define hk_walk(id, cond)      HK_CHECK_(3, cond, #id ": " #cond)

/* What a fatal message is about. */
struct hk_offence {
	const char *call; /* "free", "malloc", "realloc" … without "()"; NULL: message has none */
	const void *caller; /* return address of the exported function, or NULL when unknown */
};

/* One line on stderr, `hakmem: call(): message from module+0xoffset`, in one write(2), then abort.
 * The format is hk_fmt's. Async-signal-safe, allocates nothing. */
HK_COLD HK_NORETURN void hk_die(struct hk_offence where, const char *fmt, ...) HK_PRINTF(2, 3);

/* A failed assertion: `hakmem: file:line: text`, then abort. */
HK_COLD HK_NORETURN void hk_die_check(const char *file, int line, const char *text);

/* One line on stderr, `hakmem: message`. Preserves errno. */
HK_COLD void hk_warn(const char *fmt, ...) HK_PRINTF(1, 2);

/* The descriptor for what is no last word: 2, or -1 when that is not the program's stderr, but a file
 * of its own which got the number after stderr was closed. Preserves errno. */
HK_COLD int hk_stderr(void);
/* Remembers what 2 is at the start of the process. */
HK_COLD void hk_stderr_note(void);

/* The file of the module that `address` is in, "" for the program itself, and where it is mapped from;
 * NULL: in none. Without a lock where glibc has _dl_find_object, since whoever dies may hold the
 * loader's, or have interrupted it; else by dladdr. */
HK_COLD const char *hk_find_module(const void *address, uintptr_t *start);

#endif
