/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_API_LIMIT_H
#define HK_API_LIMIT_H
/* BOX limit - the program's own limit: what happens when more than LIMIT is committed.
 * Owns:       the program's callback; when it is called again.
 * Invariants: LI1 one thread at a time is inside
 *             LI2 it is called when all that can be given back has been, and more than LIMIT is
 *             committed; then not before a thirty-second part of LIMIT, at least 1 MiB, has come on top,
 *             or committed was below LIMIT
 * Threads:    any: the one whose request has passed the limit, with its block in its hand.
 * Locks:      META, to read the callback; none while it runs.
 * Fails:      never: the limit is soft. */
#include "base/base.h"
#include "superslab/release.h"

HK_COLD void hk_limit_check_now(void);
/* After a slow allocation, with no lock held. */
HK_INLINE void hk_limit_check(void)
{
	if (HK_UNLIKELY(hk_release_has_limit()))
		hk_limit_check_now();
}

/* For fork, with every other lock taken. */
void hk_limit_lock(void);
void hk_limit_unlock(void);
void hk_limit_reset(void);

#endif
