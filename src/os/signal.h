/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OS_SIGNAL_H
#define HK_OS_SIGNAL_H
/* BOX signal - a handler for one signal of the user's choice.
 * Owns:       nothing: a disposition is the process's.
 * Invariants: none.
 * Threads:    any.
 * Locks:      none.
 * Fails:      names and numbers that are no signal: 0; a signal that is in use: false. */
#include "base/base.h"

/* "USR2", "SIGUSR2", "12", "RTMIN+3"; 0 when it is none that can be handled. */
int hk_signal_number(const char *name);
/* Calls fn on it, on the stack that the thread has for handlers, and lets system calls go on. Only
 * where nobody has set a handler, nor has the signal ignored: false, and nothing has changed. A
 * handler that the program sets later takes its place. */
bool hk_signal_handle(int number, void (*fn)(int number));

#endif
