/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OVERRIDE_OVERRIDE_H
#define HK_OVERRIDE_OVERRIDE_H
/* BOX override - the names that programs know: libc's, the C++ operators, dlopen, fork.
 * Owns:       the exported names; the table hk_libc points at; the process-wide hooks (constructor,
 *             pthread_atfork).          Not: any allocator state, which is api's and below.
 * Invariants: OV1 a hot name (malloc, free, operator new, operator delete) is the text of
 *                 api/fast.h; every other one ends in a tail call, so that the return address in a
 *                 message is the program's
 *             OV2 nothing here is needed for an allocation to work: names may be called before the
 *                 constructor
 * Threads:    any.
 * Locks:      none of its own; the dynamic linker's, in usable, operator new without memory and the
 *             first dlopen (before glibc 2.35, in may_own). No lock of hakmem may be held around
 *             those.
 * Fails:      as the standard of each name says.
 *
 * HK_OVERRIDE 0 leaves the hak_ names and the constructor: for sanitizers, which own libc's. */
#include "base/base.h"
#include "base/config.h" /* HK_SHARED, HK_MINIMAL */

#ifndef HK_OVERRIDE
#define HK_OVERRIDE 1
#endif

/* Points hk_libc at the table of foreign.c; does nothing where there is none (static builds, musl,
 * HK_MINIMAL). Before hk_init, which looks at it. */
void hk_foreign_init(void);

#endif
