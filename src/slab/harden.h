/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SLAB_HARDEN_H
#define HK_SLAB_HARDEN_H
/* BOX harden - what a hardened block has in addition: a canary, a guard, and zeros when it is free.
 * Owns:       the process's secret; the bytes behind hardened blocks.
 * Invariants: HD1 the 8 bytes behind the usable ones of a live hardened block are its canary
 * Threads:    any; a block's bytes belong to whoever allocates or frees it.
 * Locks:      none.
 * Fails:      aborts on a damaged canary; guards that the kernel refuses are done without.
 *
 *   small   | usable                    | canary |                      in a class of usable + 8
 *   large   | usable                    | canary | guard page |         end of the span or mapping
 *
 * The canary is made of the secret and of the block's address, so one that is read or copied fits no
 * other block; its first byte is never 0, so a string's NUL one byte too far is seen. */
#include "base/base.h"
#include "base/check.h" /* struct hk_offence */

#define HK_CANARY_BYTES ((size_t)8)

/* Makes the secret; before the first hardened block, by any thread, more than once. */
void hk_harden_init(void);
/* The next of a row of random numbers. Not for keys: who sees some of them can tell the next. */
uint64_t hk_harden_random(uint64_t *state);

/* Puts the canary behind `usable` bytes. */
void hk_harden_mark(void *p, size_t usable);
/* Aborts when the canary is not there: `overflow behind block …`. */
void hk_harden_verify(const void *p, size_t usable, struct hk_offence where);

/* What a large block has behind its usable bytes: canary and, where there are guards, a page. The
 * same at every call. */
size_t hk_harden_tail(void);
/* Writes canary and guard at the end of the `bytes` at p, which is page-aligned, as is p. */
void hk_harden_seal(void *p, size_t bytes);
/* Removes both, before the range is resized or used otherwise. */
void hk_harden_unseal(void *p, size_t bytes);

/* Both multiples of 8. Clear does not touch pages that are zero already, if there are many: reading
 * an untouched page costs no memory. */
bool hk_harden_is_zero(const void *p, size_t bytes);
void hk_harden_clear(void *p, size_t bytes);

#endif
