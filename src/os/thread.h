/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OS_THREAD_H
#define HK_OS_THREAD_H
/* BOX thread - threads of hakmem's own, and being told that a thread ends.
 * Owns:       one thread-specific data key.
 * Invariants: none.
 * Threads:    any.
 * Locks:      none held by callers: the C library may call malloc inside.
 * Fails:      hk_thread_at_exit: false when the system has no key or no memory left. */
#include "base/base.h"

/* `fn(arg)` runs when the calling thread ends, among its other destructors. One fn for the whole
 * process. */
bool hk_thread_at_exit(void (*fn)(void *arg), void *arg);
/* Starts a detached thread with a small stack and every signal blocked; false: refused. */
bool hk_thread_start(void *(*fn)(void *arg));

#endif
